"""Images of a data directory (docs/data-directory.md) for the peers, and a directory of random cubes.

An image is a plane of constant y of a memory-mapped cube, or a part of it along x: what dawn21 reads.
"""

import argparse
import json
import resource
import statistics
import sys
import time
import tomllib
from pathlib import Path

import numpy as np

# Planes of a cube, and parts of a plane: ten images a cube, as the paper has them.
PLANES = 5
HALVES = 2
CELL_MPC = 1.5
# Clipped to this range in mK and mapped to [0, 1].
CLIP_MK = (-250.0, 50.0)
PARAMETERS = (
    ("log10_tvir", 4.0, 6.0),
    ("zeta", 10.0, 250.0),
    ("log10_lx_sfr", 38.0, 42.0),
    ("e0_kev", 0.1, 1.5),
)


def make_random(directory, rows, columns, images, seed=21):
    """Writes cubes of random cells with `images` images of `rows` x `columns` in all, rounded up."""
    directory = Path(directory)
    (directory / "cubes").mkdir(parents=True)
    shape = (HALVES * rows, PLANES, columns)
    manifest = [
        'format = "dawn21-light-cones"',
        "version = 1",
        f"shape = {list(shape)}",
        f"cell_mpc = {CELL_MPC}",
        f"y_planes = {list(range(PLANES))}",
        'quantity = "brightness_temperature"',
        'unit = "mK"',
        "redshift_range = [6.0, 30.0]",
        f'source = "random numbers, seed {seed}"',
    ]
    for name, low, high in PARAMETERS:
        manifest += ["[[parameters]]", f'name = "{name}"', 'unit = ""', f"min = {low}", f"max = {high}"]
    (directory / "dataset.toml").write_text("\n".join(manifest) + "\n")
    generator = np.random.default_rng(seed)
    table = ["id," + ",".join(name for name, _, _ in PARAMETERS)]
    for cube in range(-(-images // (PLANES * HALVES))):
        cells = generator.random(shape, dtype=np.float32)
        cells = cells * np.float32(CLIP_MK[1] - CLIP_MK[0]) + np.float32(CLIP_MK[0])
        cells.astype("<f4").tofile(directory / "cubes" / f"{cube:05}.f32")
        values = (generator.uniform(low, high) for _, low, high in PARAMETERS)
        table.append(f"{cube:05}," + ",".join(f"{value:.9g}" for value in values))
    (directory / "parameters.csv").write_text("\n".join(table) + "\n")


class LightCones:
    """All images of a data directory, in the order of the table, again and again."""

    def __init__(self, directory, rows, columns):
        directory = Path(directory)
        manifest = tomllib.loads((directory / "dataset.toml").read_text())
        nx, ny, nz = manifest["shape"]
        if nz != columns or nx < rows:
            sys.exit(f"{directory}: cubes of {nx} x {ny} x {nz} hold no images of {rows} x {columns}")
        header, *lines = (directory / "parameters.csv").read_text().split()
        names = header.split(",")
        self.rows, self.columns = rows, columns
        self.images, self.targets = [], []
        for line in lines:
            values = dict(zip(names, line.split(",")))
            cube = np.memmap(directory / "cubes" / f"{values['id']}.f32", "<f4", "r", shape=(nx, ny, nz))
            target = [
                (float(values[p["name"]]) - p["min"]) / (p["max"] - p["min"]) for p in manifest["parameters"]
            ]
            for plane in range(ny):
                for half in range(nx // rows):
                    self.images.append(cube[half * rows : (half + 1) * rows, plane])
                    self.targets.append(target)
        self.targets = np.array(self.targets, np.float32)
        self.next = 0

    def read(self, cells, targets):
        """Copies the next images, in mK, and their targets, in [0, 1]: (N, rows, columns) and (N, P)."""
        for i in range(len(cells)):
            image = self.next % len(self.images)
            np.copyto(cells[i], self.images[image])
            targets[i] = self.targets[image]
            self.next += 1


def arguments(description):
    """Options that all peers have, for them to add theirs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--mode", choices=("training", "inference"), default="training")
    parser.add_argument("--image", default="100,2200", help="rows,columns")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=1, help="steps before them")
    parser.add_argument("--chunk", type=int, help="images that inference computes at once; absent: the batch")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def image_shape(options):
    """Rows and columns."""
    rows, columns = options.image.split(",")
    return int(rows), int(columns)


def measure(options, step, **about):
    """Runs `step` and prints what it took as JSON."""
    times = []
    for i in range(options.warmup + options.steps):
        start = time.perf_counter()
        step()
        if i >= options.warmup:
            times.append(time.perf_counter() - start)
    result = {
        **about,
        "mode": options.mode,
        "images_per_second": options.batch / statistics.median(times),
        "seconds_per_step": times,
        "batch": options.batch,
        "chunk": options.chunk,
        "image": image_shape(options),
        "threads": options.threads,
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(result))
