"""Figures of the directions experiment: the reading orders, and the accuracy of each.

The arrays of each direction of a model are `MODEL/when/N` `[h, w]`, the step that reads each pixel, and `MODEL/way/N`
`[t, 2]`, row and column of the centre of the pixels of every step.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays
from rowrnn.lab.runs.record import Record

COLUMNS = 6  # directions in a row of the figure
LETTERS = 22  # letters in a line of a panel's title
SENTENCES = {
    "orders": "Each panel is one direction of a model: the bright pixels are those that it has just read at the end.",
    "accuracy": "Orders whose intervals overlap cannot be told apart with these seeds.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws all orders, and the accuracy of each."""
    return {"orders": orders(record, arrays), "accuracy": accuracy(record)}


def orders(record: Record, arrays: Arrays) -> Figure:
    """Draws each direction of each order: the step that reads each pixel as brightness, and a line through the
    centres of the steps."""
    drawn = [(row["model"], number) for row in record.summary for number in range(_directions(row["model"], arrays))]
    columns = min(COLUMNS, len(drawn))
    lines = -(-len(drawn) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(2.2 * columns, 2.75 * lines + 0.3), squeeze=False)
    height, width, _ = record.data["shape"]
    for axes in panels.flat:
        axes.axis("off")
    for axes, (model, number) in zip(panels.flat, drawn, strict=False):
        way, directions = arrays[f"{model}/way/{number}"], _directions(model, arrays)
        axes.imshow(_when(model, number, arrays), cmap="viridis")
        y, x = way.T
        axes.plot(x, y, color="white", linewidth=1)
        if len(way) > 1:
            # Half a step beyond the last centre, so that the point is at the end of what is read.
            end = way[-1] + (way[-1] - way[-2]) / 2
            arrow = {"arrowstyle": "-|>", "color": "white", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14}
            axes.annotate("", end[::-1], way[-2][::-1], arrowprops=arrow, annotation_clip=False)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        which = f"\n{number + 1} of {directions}: {_heading(way)}" if directions > 1 else "\n"
        axes.set_title("\n".join(textwrap.wrap(model, LETTERS)) + which, fontsize=9)
    figure.suptitle("When each pixel is read: dark first, bright last", fontsize=10)
    return figure


def _directions(model: str, arrays: Arrays) -> int:
    return sum(name.startswith(f"{model}/way/") for name in arrays)


def _when(model: str, number: int, arrays: Arrays) -> np.ndarray:
    """Returns the step that reads each pixel; earlier versions wrote that of the first direction only."""
    if f"{model}/when/{number}" in arrays:
        return arrays[f"{model}/when/{number}"]
    first, way = arrays[f"{model}/when"], arrays[f"{model}/way/{number}"]
    if number == 0 or len(way) < 2:
        return first
    # Each pixel is read at the step whose centre is nearest along the direction.
    along = np.abs(way[-1] - way[0]).argmax()
    position = np.arange(first.shape[along])
    step = np.abs(position[:, None] - way[:, along][None, :]).argmin(axis=1)
    return np.broadcast_to(step[:, None] if along == 0 else step[None, :], first.shape)


def _heading(way: np.ndarray) -> str:
    """Returns where a direction leads."""
    down, right = way[-1] - way[0]
    if abs(down) >= abs(right):
        return "down" if down > 0 else "up"
    return "right" if right > 0 else "left"


def accuracy(record: Record) -> Figure:
    """Draws the test accuracy of every order: mean, 95 % interval and the value of every seed."""
    rows = sorted(record.summary, key=lambda row: row["test_accuracy"]["mean"])
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(rows) + 1.4))
    for line, row in enumerate(rows):
        score = row["test_accuracy"]
        axes.plot(100 * np.array(score["values"]), [line] * row["seeds"], "|", color="grey", markersize=8)
        if score["ci95"] is not None:
            low, high = np.clip([score["mean"] - score["ci95"], score["mean"] + score["ci95"]], 0, 1)
            axes.plot([100 * low, 100 * high], [line, line], "|-", color="C0", markersize=7)
        axes.plot(100 * score["mean"], line, "o", color="C0")
    axes.set_yticks(range(len(rows)), [row["model"] for row in rows])
    several = any(row["test_accuracy"]["ci95"] is not None for row in rows)
    what = "test accuracy (%): mean, 95 % interval and each seed (grey)" if several else "test accuracy (%), one seed"
    axes.set(xlabel=what, title="Does the order matter?")
    return figure
