"""Figures of the gestures experiment: probabilities and accuracy by frame, and confusion matrices.

The arrays `film/frames` `[k, t, h, w, c]` and `film/labels` `[k]` are one test video of each gesture; the record's
entry `gestures` has their names. The arrays of each model are named `MODEL/…`:

- `probability` `[k, t, classes]`: class probabilities of these videos after each frame, of the first seed.
- `accuracy_by_frame` `[seeds, t]`: test accuracy after each frame.
- `confusion` `[seeds, classes, classes]`: confusion matrix, label by prediction.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rowrnn.lab.report.style import COLORS, PERCENT, Arrays, band, legend
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.classification import confusion_picture
from rowrnn.lab.tasks.classification.confusion_picture import confusion

SENTENCES = {
    "film": "After how many frames the gesture is named (thick line), and what it was taken for before.",
    "accuracy_by_frame": "Whether a model gains from frame to frame: one of single frames stays at the dotted line.",
    "confusion": confusion_picture.SENTENCE + " Gestures that differ only in time, such as clockwise and "
    "counter-clockwise, are the ones that a model without memory confuses.",
}
NAMED = 0.25  # probability above which a wrong gesture is named


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the film strips of each model, accuracy by frame, and confusion matrices."""
    figures = {f"film_{file_name(row['model'])}": film(row["model"], record, arrays) for row in record.summary}
    matrices = {row["model"]: arrays[f"{row['model']}/confusion"] for row in record.summary}
    return {
        **figures,
        "accuracy_by_frame": accuracy_by_frame(record, arrays),
        "confusion": confusion(matrices, record.entries["gestures"], "videos"),
    }


def film(model: str, record: Record, arrays: Arrays) -> Figure:
    """Draws a video of each gesture as a film strip, and below it a model's class probabilities after each frame."""
    names, frames, labels = record.entries["gestures"], arrays["film/frames"], arrays["film/labels"]
    probability = arrays[f"{model}/probability"]
    videos, steps = frames.shape[:2]
    columns = 2 if videos > 1 else 1
    lines = -(-videos // columns)
    figure = plt.figure(figsize=(7.2 * columns, 1.75 * lines + 0.9))
    figure.suptitle(f"{model}: how probable each gesture is after each frame")
    for number, cell in enumerate(figure.subfigures(lines, columns, squeeze=False).T.flat):
        if number >= videos:
            continue
        strip, curve = cell.subplots(2, 1, sharex=True, height_ratios=[0.55, 0.8])
        strip.imshow(
            # Small digits are dim: the square root brightens them.
            np.sqrt(np.concatenate(frames[number].mean(axis=-1), axis=1)),
            cmap="gray",
            extent=(0.5, steps + 0.5, 1, 0),
            aspect="auto",
            vmin=0,
            vmax=16,
        )
        strip.vlines(np.arange(1, steps) + 0.5, 0, 1, color="white", linewidth=0.5)
        strip.set(yticks=[], title=names[labels[number]])
        strip.tick_params(bottom=False)
        strip.title.set(fontsize=9, fontweight="bold", color=COLORS[labels[number] % len(COLORS)])
        strip.grid(visible=False)
        for of, color in enumerate(COLORS[: len(names)]):
            values = probability[number, :, of]
            right = of == labels[number]
            curve.plot(np.arange(1, steps + 1), values, color=color, linewidth=2.5 if right else 1, marker=".")
        _name_the_wrong(curve, probability[number], int(labels[number]), names)
        curve.set(ylim=(-0.05, 1.1), xlim=(0.5, steps + 0.5), xticks=range(1, steps + 1), yticks=[0, 0.5, 1])
        curve.tick_params(labelsize=7)
    return figure


def _name_the_wrong(axes: Axes, probability: np.ndarray, label: int, names: Sequence[str]) -> None:
    """Writes the name of each wrong gesture beside its highest point, those of one frame below each other."""
    steps, classes = probability.shape
    highest = [(probability[:, of].argmax(), probability[:, of].max(), of) for of in range(classes) if of != label]
    free = np.full(steps, np.inf)  # of each frame, the height up to which no name stands yet
    for frame, value, of in sorted(highest, key=lambda high: -high[1]):
        if value <= NAMED:
            break
        height = min(value, free[frame])
        free[frame] = height - 0.2
        last = frame > 0.8 * steps - 1  # there is no room to the right
        axes.annotate(
            names[of],
            (frame + 1, height),
            (-6 if last else 6, 0),
            textcoords="offset points",
            color=COLORS[of % len(COLORS)],
            fontsize=7,
            ha="right" if last else "left",
            va="center",
            bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.5, "linewidth": 0},
        )


def accuracy_by_frame(record: Record, arrays: Arrays) -> Figure:
    """Draws the test accuracy after each frame; for a model of single frames, that of each frame alone."""
    figure, axes = plt.subplots(figsize=(9, 4.4))
    for color, row in zip(COLORS, record.summary, strict=False):
        values = 100 * arrays[f"{row['model']}/accuracy_by_frame"].T
        band(axes, np.arange(1, len(values) + 1), values, color, row["model"], limits=PERCENT)
    gestures, pairs = len(record.entries["gestures"]), record.entries["paired"]
    limits = {"one frame": 1 / gestures, "frames without order": 1 - pairs / gestures / 2}
    for name, limit in limits.items():
        axes.axhline(100 * limit, color="grey", linestyle=":", linewidth=1)
        axes.text(len(values), 100 * limit + 1, f"expected at most from {name}", color="grey", fontsize=8, ha="right")
    axes.set(title="When does the network know?", xlabel="frames seen", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.set_xticks(range(1, len(values) + 1))
    legend(axes, figure, loc="outside right upper")
    return figure
