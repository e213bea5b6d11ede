"""Figures of the directions experiment: the reading orders, and the accuracy of each.

The arrays of each model are `MODEL/when` `[h, w]`, the step that reads each pixel (negative where the model reads
backward), and for each of its directions `MODEL/way/N` `[t, 2]`, row and column of the centre of the pixels of every
step.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays
from rowrnn.lab.runs.record import Record


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws all orders, and the accuracy of each."""
    return {"orders": orders(record, arrays), "accuracy": accuracy(record)}


def orders(record: Record, arrays: Arrays) -> Figure:
    """Draws each order: the step that reads each pixel as brightness, and a line through the centres of the steps."""
    models = [row["model"] for row in record.summary]
    columns = min(5, len(models))
    lines = -(-len(models) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(2.4 * columns, 2.7 * lines), squeeze=False)
    height, width, _ = record.data["shape"]
    for axes in panels.flat:
        axes.axis("off")
    for axes, model in zip(panels.flat, models, strict=False):
        axes.imshow(arrays[f"{model}/when"], cmap="viridis")
        ways = [array for name, array in arrays.items() if name.startswith(f"{model}/way/")]
        for number, way in enumerate(ways):
            # The lines of several directions are shifted apart.
            y, x = way.T + 1.4 * (number - (len(ways) - 1) / 2)
            axes.plot(x, y, color="white", linewidth=1)
            if len(way) > 1:
                axes.annotate("", (x[-1], y[-1]), (x[-2], y[-2]), arrowprops={"arrowstyle": "-|>", "color": "white"})
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_title(model, fontsize=9)
    figure.suptitle("When each pixel is read: dark first, bright last", fontsize=10)
    return figure


def accuracy(record: Record) -> Figure:
    """Draws the test accuracy of every order: mean, 95 % interval and the value of every seed."""
    rows = sorted(record.summary, key=lambda row: row["test_accuracy"]["mean"])
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(rows) + 1.4))
    for line, row in enumerate(rows):
        score = row["test_accuracy"]
        axes.plot(100 * np.array(score["values"]), [line] * row["seeds"], "|", color="grey", markersize=8)
        axes.errorbar(100 * score["mean"], line, xerr=100 * (score["ci95"] or 0), fmt="o", color="C0", capsize=3)
    axes.set_yticks(range(len(rows)), [row["model"] for row in rows])
    axes.set(xlabel="test accuracy (%)", title="Does the order matter?")
    return figure
