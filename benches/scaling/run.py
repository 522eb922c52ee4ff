#!/usr/bin/env python3
"""How the cost of the network of Table 1 grows with batch, width, threads and kernel.

Needs `pip install -r benches/scaling/requirements.txt` and `cargo build --release`.

    python benches/scaling/run.py [--rounds 3] [--csv benches/scaling/results.csv] [--plot docs/images/scaling.svg]

Runs `dawn21 bench` at every point, each time in a process of its own, round after round through all points,
and takes medians over the rounds. The table of all measurements is written after each of them; points that
it holds already are not measured again, so the sweep can be made in parts. `--rounds 0` draws and prints
what is there.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Side of a cell: kernels are given in Mpc.
CELL_MPC = 1.5
ROWS = 100
# The point that all sweeps share.
USUAL = {"batch": 200, "width": 2200, "threads": os.cpu_count(), "kernel": 10}
SWEEPS = {
    "batch": [1, 2, 5, 10, 20, 50, 100, 200],
    "width": [550, 1100, 2200, 4400, 8800],
    "threads": list(range(1, os.cpu_count() + 1)),
    "kernel": [3, 5, 7, 10, 13, 16],
}
MODES = ("training", "inference")
KEYS = ("mode", *USUAL)
FIELDS = (*KEYS, "round", "images_per_second", "peak_memory_mib", "algorithms", "command")
# Blue and vermilion of Okabe & Ito: distinct for all kinds of colour vision; markers differ as well.
STYLES = {"training": ("#0072B2", "o"), "inference": ("#D55E00", "s")}
GREY = "#777777"
UNITS = {
    "batch": "images of a batch",
    "width": "columns of an image",
    "threads": "threads",
    "kernel": "rows and columns of the kernels",
}


def points():
    """All combinations, each once."""
    seen = []
    for sweep, values in SWEEPS.items():
        for value in values:
            for mode in MODES:
                point = {"mode": mode, **USUAL, sweep: value}
                # Statistics of a single image are none: training needs two.
                if point not in seen and not (mode == "training" and point["batch"] == 1):
                    seen.append(point)
    return seen


def command(point, program, steps):
    """What measures a point."""
    kernel = point["kernel"] * CELL_MPC
    return [
        str(program), "bench", "--mode", point["mode"], "--batch", str(point["batch"]),
        "--image", f"{ROWS},{point['width']}", "--threads", str(point["threads"]),
        "--set", f"layer.0.kernel_mpc={kernel}", "--set", f"layer.3.kernel_mpc={kernel}",
        "--steps", str(steps), "--warmup", "2", "--json", "--quiet",
    ]  # fmt: skip


def algorithm(plan):
    """`fft` of "conv2d 1->8 @ 10x10 on 100x2200: fft at level avx512; ..."."""
    return plan.split(": ", 1)[1].split(" ", 1)[0]


def read(path):
    """Measurements of an earlier run."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key in (*USUAL, "round"):
            row[key] = int(row[key])
        for key in ("images_per_second", "peak_memory_mib"):
            row[key] = float(row[key])
    return rows


def write(path, rows):
    """Replaces the table."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def measure(point, number, program, steps):
    """One line of the table."""
    # Short steps are repeated more often.
    small = point["batch"] * point["width"] < 20 * 2200
    arguments = command(point, program, 10 * steps if small else steps)
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    return {
        **point,
        "round": number,
        "images_per_second": round(point["batch"] / statistics.median(result["seconds_per_step"]), 3),
        "peak_memory_mib": round((result["peak_memory_bytes"] or 0) / 2**20, 1),
        "algorithms": "+".join(algorithm(plan) for plan in result["plans"]),
        "command": " ".join(["dawn21", *arguments[1:]]),
    }


def medians(rows):
    """One line a point."""
    result = []
    for point in points():
        same = [row for row in rows if all(row[key] == point[key] for key in KEYS)]
        if same:
            rate = statistics.median(row["images_per_second"] for row in same)
            memory = statistics.median(row["peak_memory_mib"] for row in same)
            result.append({**same[0], "images_per_second": rate, "peak_memory_mib": memory})
    return result


def sweep_of(rows, sweep, mode):
    """The points along one sweep."""
    others = {key: value for key, value in USUAL.items() if key != sweep}
    return [
        row
        for row in sorted(rows, key=lambda row: row[sweep])
        if row["mode"] == mode and all(row[key] == value for key, value in others.items())
    ]


def table(rows):
    """Markdown."""
    lines = [
        "| batch | columns | threads | kernel | convolutions by | training, images/s | ms/image | MiB "
        "| inference, images/s | ms/image | MiB |",
        "| ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for sweep, values in SWEEPS.items():
        for value in values:
            cells = []
            named = None
            for mode in MODES:
                row = next((row for row in sweep_of(rows, sweep, mode) if row[sweep] == value), None)
                if row is None:
                    cells += ["-", "-", "-"]
                    continue
                named = row
                rate = row["images_per_second"]
                cells += [f"{rate:.0f}", f"{1e3 / rate:.3f}", f"{row['peak_memory_mib']:.0f}"]
            if named:
                point = {**USUAL, sweep: value}
                first = [f"**{point[key]}**" if key == sweep else str(point[key]) for key in USUAL]
                lines.append("| " + " | ".join([*first, named["algorithms"], *cells]) + " |")
    return "\n".join(lines)


def plot(rows, path):
    """Four panels: time of an image along each sweep."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dawn21", "font.size": 10})
    figure, panels = plt.subplots(2, 2, figsize=(9, 6.6), constrained_layout=True)
    for panel, sweep in zip(panels.flat, SWEEPS):
        for mode in MODES:
            along = sweep_of(rows, sweep, mode)
            if not along:
                continue
            colour, marker = STYLES[mode]
            x = [row[sweep] for row in along]
            y = [1e3 / row["images_per_second"] for row in along]
            panel.plot(x, y, color=colour, marker=marker, markersize=5, label=mode)
            if sweep in ("width", "threads"):
                # In proportion, from the first point.
                power = 1 if sweep == "width" else -1
                ideal = [y[0] * (value / x[0]) ** power for value in x]
                label = "in proportion" if mode == MODES[-1] else None
                panel.plot(x, ideal, color=GREY, linestyle=":", linewidth=1, label=label, zorder=0)
        if sweep in ("batch", "width"):
            panel.set_xscale("log")
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
        panel.set_xticks(SWEEPS[sweep], [str(value) for value in SWEEPS[sweep]])
        panel.minorticks_off()
        if sweep in ("batch", "width"):
            panel.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        panel.set_xlabel(UNITS[sweep])
        panel.set_ylabel("ms per image")
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 1].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dawn21", type=Path, default=REPOSITORY / "target/release/dawn21", help="program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a measurement")
    parser.add_argument("--csv", type=Path, default=REPOSITORY / "benches/scaling/results.csv")
    parser.add_argument("--plot", type=Path, default=REPOSITORY / "docs/images/scaling.svg")
    options = parser.parse_args()
    rows = read(options.csv)
    for number in range(1, options.rounds + 1):
        for point in points():
            if any(row["round"] == number and all(row[k] == point[k] for k in KEYS) for row in rows):
                continue
            row = measure(point, number, options.dawn21, options.steps)
            rows.append(row)
            write(options.csv, rows)
            print(f"round {number}: {row['images_per_second']:.1f} images/s, {row['command']}", file=sys.stderr)
    rows = medians(rows)
    print(table(rows))
    plot(rows, options.plot)


if __name__ == "__main__":
    main()
