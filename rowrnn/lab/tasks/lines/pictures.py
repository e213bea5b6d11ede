"""Figures of the lines experiment: lines with class probabilities, and label error rate by length.

The arrays of each model are named `MODEL/…`; those from the second on are of some test lines and the first seed:

- `error_by_length` `[n, seeds]`: label error rate of lines of 1 to n digits.
- `line_image` `[k, h, w, 1]` and `line_width` `[k]`: the lines.
- `line_probability` `[k, t, classes + 1]`: probabilities at each step; the blank is last.
- `line_aligned` `[k, m, 2]`: pairs of recognized and true digit, -1 where one is missing, padded with -2.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rowrnn.lab.report.style import COLORS, Arrays, band, legend
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record

WRONG = "crimson"
POSSIBLE = (0.0, np.inf)  # a label error rate may exceed 100 %: a reader can add more labels than there are
SENTENCES = {
    "reading": "Where along the line each digit is emitted (a spike), between blanks (grey); errors are red.",
    "error_by_length": "Whether errors grow with the length of a line, and beyond the longest of the training.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws some lines as each model reads them, and the label error rate by length."""
    read = {f"reading_{file_name(row['model'])}": reading(row["model"], arrays) for row in record.summary}
    return {**read, "error_by_length": error_by_length(record, arrays)}


def error_by_length(record: Record, arrays: Arrays) -> Figure:
    """Draws the label error rate of lines of each length: mean and 95 % interval over seeds."""
    figure, axes = plt.subplots(figsize=(7.5, 4.4))
    protocol = record.protocol
    for color, row in zip(COLORS, record.summary, strict=False):
        errors = arrays[f"{row['model']}/error_by_length"]
        band(axes, np.arange(1, len(errors) + 1), 100 * errors, color, row["model"], limits=POSSIBLE)
        long = 100 * np.array([row["label_error_rate_long"]["values"]])
        band(axes, np.array([protocol["long"]]), long, color, "_", limits=POSSIBLE)
    axes.axvline(protocol["digits"] + 0.5, color="grey", linestyle=":", linewidth=1)
    axes.text(protocol["digits"] + 0.7, axes.get_ylim()[1], "longer than any in training", fontsize=8, va="top")
    axes.set(title="How often does a reader err?", xlabel="digits of a line", ylabel="label error rate (%)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)
    return figure


def reading(model: str, arrays: Arrays) -> Figure:
    """Draws some lines, and below each the class probabilities at each step, the recognized and the true digits."""
    images, widths, probabilities, sides = (
        arrays[f"{model}/line_{what}"] for what in ("image", "width", "probability", "aligned")
    )
    count, height, columns, _ = images.shape
    shown = int(widths.max())
    figure, panels = plt.subplots(
        2 * count, 1, figsize=(11, 1.95 * count), height_ratios=[1, 1.1] * count, sharex=True, squeeze=False
    )
    for number in range(count):
        above, below = panels[2 * number : 2 * number + 2, 0]
        image = images[number, :, : widths[number], 0]
        above.imshow(image, cmap="gray", extent=(0, image.shape[1], height, 0), aspect="auto", interpolation="nearest")
        above.axis("off")
        steps = -(-int(widths[number]) // (columns // probabilities.shape[1]))
        _speak(below, probabilities[number, :steps], sides[number], columns / probabilities.shape[1])
        above.set_xlim(0, shown)
    panels[-1, 0].set_xlabel("column")
    figure.suptitle(f"{model}: what it says at each step, and the string that follows; errors in red")
    return figure


def _speak(axes: Axes, probability: np.ndarray, sides: np.ndarray, columns: float) -> None:
    """Draws the probabilities of the classes, and above them the recognized and the true digits."""
    steps, scores = probability.shape
    middle = columns * (np.arange(steps) + 0.5)
    axes.fill_between(middle, probability[:, -1], color="0.9", linewidth=0, step="mid")
    for label in range(scores - 1):
        axes.plot(
            middle, probability[:, label], color=COLORS[label % len(COLORS)], linewidth=1.2, drawstyle="steps-mid"
        )
    path = probability.argmax(axis=1)
    said = np.flatnonzero((path != scores - 1) & (path != np.concatenate([[scores - 1], path[:-1]])))
    sides = sides[(sides > -2).all(axis=1)]
    for (read, true), x in zip(sides.tolist(), _places(sides[:, 0], middle[said], columns), strict=True):
        color = "black" if read == true else WRONG
        weight = "normal" if read == true else "bold"
        for label, y in ((read, 1.5), (true, 1.2)):
            axes.text(x, y, str(label) if label >= 0 else "-", color=color, weight=weight, ha="center", fontsize=9)
    for name, y in (("read", 1.5), ("true", 1.2)):
        axes.text(-0.005, y, name, ha="right", fontsize=8, color="0.4", transform=axes.get_yaxis_transform())
    axes.set(ylim=(0, 1.8), yticks=[0, 1])
    axes.spines["left"].set_bounds(0, 1)
    axes.tick_params(labelsize=7)


def _places(read: np.ndarray, spoken: np.ndarray, columns: float) -> list[float]:
    """Returns the horizontal positions of aligned labels.

    A recognized label stands where the reader emits it, a missing one between its neighbours.

    Args:
        read: aligned labels, negative where one is missing.
        spoken: columns at which the labels are emitted.
        columns: columns of a step.
    """
    places, following = [], 0
    for label in read:
        if label >= 0:
            places.append(float(spoken[following]))
            following += 1
        else:
            before = places[-1] if places else 0.0
            after = float(spoken[following]) if following < len(spoken) else before + 4 * columns
            places.append((before + after) / 2)
    return places
