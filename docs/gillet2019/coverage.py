"""How often the truth lies within the uncertainty, with and without the factor of the other parameters.

    python docs/gillet2019/coverage.py RUN [--above 5.8]

Reads predictions.csv and calibration.json of an evaluated run and prints, for single images and for means over those of
a light-cone, the percentage of truths within one uncertainty among all predictions and among those with log10 Tvir
above a value. `dawn21 evaluate` prints the first one with the factor; this is an independent computation of it.
"""

import argparse
import csv
import itertools
import json
import math
import pathlib
from collections import defaultdict

RANGES = {"log10_tvir": (4, 6), "zeta": (10, 250), "log10_lx_sfr": (38, 42), "e0_kev": (0.1, 1.5)}


def between(bins, field, prediction):
    """Linear between the bins of a recovery curve, constant beyond them."""
    for low, high in itertools.pairwise(bins):
        if low["prediction"] <= prediction <= high["prediction"]:
            width = high["prediction"] - low["prediction"]
            share = (prediction - low["prediction"]) / width if width else 0
            return low[field] + share * (high[field] - low[field])
    return (bins[0] if prediction < bins[0]["prediction"] else bins[-1])[field]


def factor(coefficients, predictions):
    """exp(q / 2) with q of second degree in the predictions, scaled to [-1, 1]."""
    scaled = [1.0]
    for prediction, (low, high) in zip(predictions, RANGES.values()):
        scaled.append(min(max(2 * (prediction - low) / (high - low) - 1, -1), 1))
    terms = [a * b for a, b in itertools.combinations_with_replacement(scaled, 2)]
    return math.exp(sum(c * t for c, t in zip(coefficients, terms)) / 2)


def print_shares(answers, curve, labels, index, above):
    """One line with its labels: percentages without and with the factor, of all answers and of those above."""
    within = defaultdict(list)
    for truths, predictions in answers:
        prediction = predictions[index]
        distance = abs(prediction - between(curve["recovery"], "bias", prediction) - truths[index])
        uncertainty = between(curve["recovery"], "uncertainty", prediction)
        wider = uncertainty * factor(curve.get("spread", []), predictions)
        for rows in ("all", "above")[: 1 + (predictions[0] > above)]:
            within[rows].append((distance <= uncertainty, distance <= wider))
    shares = []
    for rows in ("all", "above"):
        for number in range(2):
            count = len(within[rows])
            shares.append(100 * sum(pair[number] for pair in within[rows]) / count if count else math.nan)
    print("{:14} {:12} {:8.0f} {:6.0f} {:14.0f} {:6.0f}".format(*labels, *shares))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--above", type=float, default=5.8, help="log10 Tvir, default 5.8")
    arguments = parser.parse_args()
    for name in ("calibration.json", "predictions.csv"):
        if not (arguments.run / name).exists():
            parser.error(f"{arguments.run / name} is missing; `dawn21 evaluate RUN DATA` writes it")
    calibration = json.loads((arguments.run / "calibration.json").read_text())
    light_cones = defaultdict(list)
    with (arguments.run / "predictions.csv").open() as file:
        for row in csv.DictReader(file):
            columns = [[float(row[f"{name}_{kind}"]) for name in RANGES] for kind in ("true", "predicted")]
            if row["axis"] == "y":
                light_cones[row["id"]].append(columns)
    images = [image for of_one in light_cones.values() for image in of_one]
    means = []
    for of_one in light_cones.values():
        predictions = zip(*(predictions for _, predictions in of_one))
        means.append((of_one[0][0], [sum(values) / len(of_one) for values in predictions]))

    print(f"truths within one uncertainty, %        of all       log10 Tvir > {arguments.above}")
    print(f"{'':14} {'':12} {'without':>8} {'with':>6} {'without':>14} {'with':>6}  the factor")
    for index, parameter in enumerate(calibration["parameters"]):
        name = parameter["name"]
        print_shares(images, parameter, (name, "image"), index, arguments.above)
        print_shares(means, parameter["mean_recoveries"][0], (name, "mean"), index, arguments.above)


if __name__ == "__main__":
    main()
