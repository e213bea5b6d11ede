"""Readers of lines: what they say while they read, and how often they err in lines of each length.

The arrays of a model are named `MODEL/…`: `error_by_length` `[n, seeds]`, the label error rate of lines of 1 to n
digits; and of some lines `line_image` `[k, h, w, 1]`, `line_width` `[k]`, `line_probability` `[k, t, classes + 1]`, the
blank last, and `line_aligned` `[k, m, 2]`, digits read beside true ones, -1 where one has none and -2 behind the line.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rowrnn.lab.report.style import COLORS, Arrays, band
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record

WRONG = "crimson"


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Lines as each model reads them, and the error by length."""
    read = {f"reading_{file_name(row['model'])}": reading(row["model"], arrays) for row in record.summary}
    return {**read, "error_by_length": error_by_length(record, arrays)}


def error_by_length(record: Record, arrays: Arrays) -> Figure:
    """Label error rate of lines of each length: mean and 95 % interval over seeds."""
    figure, axes = plt.subplots(figsize=(7.5, 4.4))
    protocol = record.protocol
    for color, row in zip(COLORS, record.summary, strict=False):
        errors = arrays[f"{row['model']}/error_by_length"]
        band(axes, np.arange(1, len(errors) + 1), 100 * errors, color, row["model"])
        long = 100 * np.array([row["label_error_rate_long"]["values"]])
        band(axes, np.array([protocol["long"]]), long, color, "_")
    axes.axvline(protocol["digits"] + 0.5, color="grey", linestyle=":", linewidth=1)
    axes.text(protocol["digits"] + 0.7, axes.get_ylim()[1], "longer than any in training", fontsize=8, va="top")
    axes.set(title="How often does a reader err?", xlabel="digits of a line", ylabel="label error rate (%)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def reading(model: str, arrays: Arrays) -> Figure:
    """Lines, the probability of each digit at each step beneath them, what was read and what is true."""
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
    """Spikes of the classes, and under each other what was read and what is true."""
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
    """Where to write: a label that was read at its spike, one that was left out between its neighbours."""
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
