#!/usr/bin/env python3
"""Light-cones of the public package 21cmFAST in the geometry of this experiment, as a data directory of dawn21.

Needs `pip install 21cmFAST==4.1.1` (and the libraries fftw3, with single precision, and gsl to build it).

    python docs/gillet2019/21cmfast.py DATA --like SIMULATED [--count 20] [--seed 1]
    dawn21 evaluate RUN DATA

SIMULATED is a directory that `dawn21 simulate` made: box, depth, redshifts, cosmology and ranges are taken from its
`dataset.toml`, so that a run trained on it accepts DATA. Parameters are drawn uniformly over the ranges. The physics
is that of the experiment: no heating by Lyman-alpha photons and the CMB. The same command goes on where it stopped.
"""

import argparse
import os
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benches" / "peers"))
import configuration_21cmfast as configuration  # noqa: E402
import py21cmfast as p21c  # noqa: E402

NAMES = ["log10_tvir", "zeta", "log10_lx_sfr", "e0_kev"]


def brightness_temperature_mk(manifest: dict, parameters: dict, seed: int) -> np.ndarray:
    """Axes x, y, line of sight with the lowest redshift first."""
    cells, _, depth = manifest["shape"]
    nearest, farthest = manifest["redshift_range"]
    inputs = configuration.inputs(
        cells,
        manifest["cell_mpc"],
        manifest["simulation"]["fine_factor"],
        seed,
        parameters,
        manifest["cosmology"],
        nearest,
        extra_heating=manifest["simulation"]["lyman_alpha_heating"],
    )
    with tempfile.TemporaryDirectory() as directory:
        # Some cells more than needed, whichever way 21cmFAST rounds.
        cone = configuration.light_cone(inputs, (nearest, farthest + 0.1), directory)
    temperature = np.asarray(cone.lightcones["brightness_temp"], dtype="<f4")
    if temperature.shape[2] < depth:
        sys.exit(f"21cmFAST made {temperature.shape[2]} cells along the line of sight, expected at least {depth}")
    return np.ascontiguousarray(temperature[:, :, :depth])


def manifest_text(text: str, shape: list[int]) -> str:
    """`dataset.toml` of full cubes by 21cmFAST; the table [simulation] is dawn21's alone."""
    replaced = {"shape": f"shape = {shape}", "source": f'source = "21cmFAST {p21c.__version__}"'}
    lines = text.partition("[simulation]")[0].splitlines()
    lines = [line for line in lines if not line.startswith("y_planes")]
    return "\n".join(replaced.get(line.split(" ")[0], line) for line in lines) + "\n"


def write_or_check(path: Path, text: str) -> None:
    """Cubes that are there belong to the table that is there; a longer table goes on with it."""
    present = path.read_text() if path.exists() else ""
    if not text.startswith(present):
        sys.exit(f"{path}: holds something else; repeat --like and --seed of the first run or give another directory")
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--like", type=Path, required=True, help="data directory whose geometry and ranges are taken")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    text = (arguments.like / "dataset.toml").read_text()
    manifest = tomllib.loads(text)
    cells, _, depth = manifest["shape"]
    ranges = {parameter["name"]: (parameter["min"], parameter["max"]) for parameter in manifest["parameters"]}
    if list(ranges) != NAMES:
        sys.exit(f"{arguments.like}/dataset.toml: parameters {list(ranges)}, expected {NAMES}")
    random = np.random.default_rng(arguments.seed)
    light_cones = []
    for index in range(arguments.count):
        parameters = {name: round(float(random.uniform(*ranges[name])), 6) for name in NAMES}
        light_cones.append((f"{index:05}", parameters, 1_000_000 * arguments.seed + index + 1))

    (arguments.data / "cubes").mkdir(parents=True, exist_ok=True)
    write_or_check(arguments.data / "dataset.toml", manifest_text(text, [cells, cells, depth]))
    rows = [f"{name},{','.join(f'{p[n]:.6f}' for n in NAMES)},{seed}\n" for name, p, seed in light_cones]
    write_or_check(arguments.data / "parameters.csv", "id," + ",".join(NAMES) + ",seed\n" + "".join(rows))
    for name, parameters, seed in light_cones:
        path = arguments.data / "cubes" / f"{name}.f32"
        if path.exists():
            continue
        part = path.with_suffix(".tmp")
        brightness_temperature_mk(manifest, parameters, seed).tofile(part)
        os.replace(part, path)
        print(name, parameters, flush=True)


if __name__ == "__main__":
    main()
