#!/usr/bin/env python3
"""Light-cones of the public package 21cmFAST in the geometry of this experiment, as a data directory of dawn21.

Needs `pip install 21cmFAST==4.1.1` (and the libraries fftw3, with single precision, and gsl to build it).

    python docs/gillet2019/21cmfast.py DATA --like SIMULATED [--count 20] [--seed 1]
    dawn21 evaluate RUN DATA

SIMULATED is a directory that `dawn21 simulate` made: box, depth, redshifts and ranges are taken from its
`dataset.toml`, so that a run trained on it accepts DATA. Parameters are drawn uniformly over the ranges. The
physics is that of the experiment: no Lyman-alpha and CMB heating, no recombinations, bubbles up to 15 Mpc. Light-cones
that are there already are not made again.
"""

import argparse
import os
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import py21cmfast as p21c

NAMES = ["log10_tvir", "zeta", "log10_lx_sfr", "e0_kev"]


def light_cone(manifest: dict, values: dict, seed: int) -> np.ndarray:
    """Brightness temperature in mK, `[x, y, z]`, lowest redshift first."""
    cells, _, depth = manifest["shape"]
    cosmology = manifest["cosmology"]
    inputs = p21c.InputParameters(
        random_seed=seed,
        cosmo_params=p21c.CosmoParams(
            OMm=cosmology["omega_m"],
            OMb=cosmology["omega_b"],
            hlittle=cosmology["h"],
            SIGMA_8=cosmology["sigma_8"],
            POWER_INDEX=cosmology["n_s"],
        ),
        simulation_options=p21c.SimulationOptions(
            HII_DIM=cells, DIM=3 * cells, BOX_LEN=cells * manifest["cell_mpc"], N_THREADS=1
        ),
        matter_options=p21c.MatterOptions(SOURCE_MODEL="CONST-ION-EFF", USE_RELATIVE_VELOCITIES=False),
        astro_options=p21c.AstroOptions(
            USE_TS_FLUCT=True,
            USE_LYA_HEATING=False,
            USE_CMB_HEATING=False,
            INHOMO_RECO=False,
            USE_EXP_FILTER=False,
            CELL_RECOMB=False,
            HII_FILTER="sharp-k",
            USE_UPPER_STELLAR_TURNOVER=False,
        ),
        astro_params=p21c.AstroParams(
            HII_EFF_FACTOR=values["zeta"],
            ION_Tvir_MIN=values["log10_tvir"],
            L_X=values["log10_lx_sfr"],
            NU_X_THRESH=1000.0 * values["e0_kev"],
            X_RAY_SPEC_INDEX=1.0,
            R_BUBBLE_MAX=15.0,
        ),
        node_redshifts=p21c.get_logspaced_redshifts(min_redshift=6.0, z_step_factor=1.02, max_redshift=35.0),
    )
    lightconer = p21c.RectilinearLightconer.between_redshifts(
        min_redshift=manifest["redshift_range"][0],
        # One cell more than needed, whichever way 21cmFAST rounds.
        max_redshift=manifest["redshift_range"][1] + 0.1,
        quantities=("brightness_temp",),
        resolution=inputs.simulation_options.cell_size,
    )
    with tempfile.TemporaryDirectory() as directory:
        cone = p21c.run_lightcone(
            lightconer=lightconer,
            inputs=inputs,
            cache=p21c.OutputCache(directory),
            write=False,
            progressbar=False,
            regenerate=True,
        )
    temperature = np.asarray(cone.lightcones["brightness_temp"], dtype="<f4")
    assert temperature.shape[2] >= depth, f"{temperature.shape[2]} cells deep, expected {depth}"
    return np.ascontiguousarray(temperature[:, :, :depth])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--like", type=Path, required=True, help="data directory whose geometry and ranges are taken")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    text = (arguments.like / "dataset.toml").read_text()
    manifest = tomllib.loads(text)
    # Full cubes of 21cmFAST; the table [simulation] is dawn21's alone.
    head, _, _ = text.partition("[simulation]")
    lines = [line for line in head.splitlines() if not line.startswith("y_planes")]
    lines = [f'source = "21cmFAST {p21c.__version__}"' if line.startswith("source") else line for line in lines]
    cells = manifest["shape"][0]
    shape = [cells, cells, manifest["shape"][2]]
    lines = [f"shape = {shape}" if line.startswith("shape") else line for line in lines]
    manifest["shape"] = shape

    ranges = {parameter["name"]: (parameter["min"], parameter["max"]) for parameter in manifest["parameters"]}
    random = np.random.default_rng(arguments.seed)
    rows = []
    for index in range(arguments.count):
        values = {name: round(float(random.uniform(*ranges[name])), 6) for name in NAMES}
        rows.append((f"{index:05}", values, 1_000_000 * arguments.seed + index + 1))

    (arguments.data / "cubes").mkdir(parents=True, exist_ok=True)
    (arguments.data / "dataset.toml").write_text("\n".join(lines) + "\n")
    table = ["id," + ",".join(NAMES) + ",seed"]
    table += [f"{name},{','.join(f'{values[n]:.6f}' for n in NAMES)},{seed}" for name, values, seed in rows]
    (arguments.data / "parameters.csv").write_text("\n".join(table) + "\n")
    for name, values, seed in rows:
        path = arguments.data / "cubes" / f"{name}.f32"
        if path.exists():
            continue
        part = path.with_suffix(".tmp")
        light_cone(manifest, values, seed).tofile(part)
        os.replace(part, path)
        print(name, values, flush=True)


if __name__ == "__main__":
    main()
