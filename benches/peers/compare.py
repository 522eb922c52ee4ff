#!/usr/bin/env python3
"""Times dawn21, PyTorch and Keras in turn on the network of Table 1 and prints tables of ratios.

Needs `pip install -r benches/peers/requirements.txt` and `cargo build --release`.

    python benches/peers/compare.py [--rounds 5] [--threads 2] [--batch 200] [--image 100,2200] [--out FILE]

Each round runs all contestants once, every one in a process of its own, in alternating order; ratios are
taken within a round, so that what disturbs the machine disturbs both sides. All read the same cubes: random
ones made for the purpose, or `--data DATA`. FILE holds every measurement; when it exists, the rounds that it
lacks are added, so a comparison can be made in parts.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import light_cones

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
DAWN21 = "dawn21"
# What a peer runs: script and options, with the chunk of inference at which it was fastest. Ways that were
# slower are in docs/performance.md.
LAST = ["--layout", "channels_last"]
PEERS = {
    "PyTorch, NCHW": ["pytorch.py", "--layout", "nchw", "--chunk", 25],
    "PyTorch, channels_last": ["pytorch.py", *LAST, "--chunk", 25],
    "PyTorch, channels_last, compiled": ["pytorch.py", *LAST, "--compile", "--chunk", 25],
    "Keras": ["keras_tensorflow.py", "--chunk", 50],
}
# Memory is kept between steps and in huge pages: without, the peers spend up to half of a step on page faults.
GLIBC_TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        f"glibc.malloc.mmap_threshold={1 << 34}",
        f"glibc.malloc.trim_threshold={1 << 34}",
        f"glibc.malloc.top_pad={1 << 28}",
    )
)
# Settings of OpenBLAS that slow numpy down.
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dawn21", type=Path, default=REPOSITORY / "target/release/dawn21", help="program")
    parser.add_argument("--data", type=Path, help="data directory; absent: random cubes")
    parser.add_argument("--image", default="100,2200", help="rows,columns")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--modes", default="training,inference")
    parser.add_argument("--steps", type=int, default=15, help="timed steps of dawn21 in a measurement")
    parser.add_argument("--peer-steps", type=int, default=2, help="timed steps of a peer")
    parser.add_argument("--out", type=Path, default=Path("peers.json"), help="file of all measurements")
    return parser.parse_args()


def environment(threads):
    """The environment of all contestants."""
    result = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    result["OMP_NUM_THREADS"] = str(threads)
    result["GLIBC_TUNABLES"] = GLIBC_TUNABLES
    return result


def run(command, threads):
    """Standard output's last line, which is JSON."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment(threads)
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, mode, options, data):
    """One measurement of one contestant."""
    common = ["--data", data, "--mode", mode, "--batch", options.batch, "--threads", options.threads]
    if name == DAWN21:
        halves = f"slices.halves={light_cones.HALVES}" if options.data is None else None
        sets = ["--set", halves] if halves else []
        return run(
            [options.dawn21, "bench", *common, *sets, "--steps", options.steps, "--json"], options.threads
        )
    script, *rest = PEERS[name]
    # The second step is still slower than the third.
    peer = ["--image", options.image, "--steps", options.peer_steps, "--warmup", 2]
    return run([sys.executable, HERE / script, *rest, *common, *peer], options.threads)


def processor():
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


def table(mode, rounds):
    """Markdown: medians, and medians of the ratios within the rounds."""
    lines = [
        f"| {mode} | images/s | lowest to highest | dawn21 is faster by | memory, GiB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in [DAWN21, *PEERS]:
        rates = [r[name]["images_per_second"] for r in rounds]
        ratio = statistics.median(r[DAWN21]["images_per_second"] / r[name]["images_per_second"] for r in rounds)
        memory = statistics.median(r[name]["peak_memory_bytes"] for r in rounds) / 2**30
        version = rounds[0][name].get("peer")
        label = f"{name} ({version})" if version else name
        lines.append(
            f"| {label} | {statistics.median(rates):.1f} | {min(rates):.1f} to {max(rates):.1f} "
            f"| {ratio:.1f} | {memory:.2f} |"
        )
    best = statistics.median(
        r[DAWN21]["images_per_second"] / max(r[name]["images_per_second"] for name in PEERS) for r in rounds
    )
    lines.append(f"\n{len(rounds)} rounds; against the best peer of each round: {best:.1f} times faster.")
    return "\n".join(lines)


def main():
    options = parse()
    rows, columns = map(int, options.image.split(","))
    settings = {
        "image": [rows, columns],
        "batch": options.batch,
        "threads": options.threads,
        "steps": options.steps,
        "peer_steps": options.peer_steps,
        "data": str(options.data) if options.data else "random",
        "processor": processor(),
    }
    results = {"settings": settings, "rounds": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text())
        if results["settings"] != settings:
            sys.exit(f"{options.out} was made with {results['settings']}, not with {settings}: name another --out")
    with tempfile.TemporaryDirectory() as temporary:
        data = options.data
        if data is None:
            data = Path(temporary) / "data"
            light_cones.make_random(data, rows, columns, options.batch)
        modes = options.modes.split(",")
        for number in range(options.rounds):
            for mode in modes:
                rounds = results["rounds"].setdefault(mode, [])
                if len(rounds) > number:
                    continue
                names = [DAWN21, *PEERS] if number % 2 == 0 else [*reversed(PEERS), DAWN21]
                done = {}
                for name in names:
                    done[name] = measure(name, mode, options, data)
                    rate = done[name]["images_per_second"]
                    print(f"round {number + 1}, {mode}, {name}: {rate:.1f} images/s", file=sys.stderr)
                rounds.append(done)
                partial = options.out.with_suffix(".partial")
                partial.write_text(json.dumps(results, indent=1))
                partial.replace(options.out)
    for mode in modes:
        print("\n" + table(mode, results["rounds"][mode]))


if __name__ == "__main__":
    main()
