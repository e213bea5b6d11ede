"""Figures of the gestures experiment: probabilities and accuracy by frame, and confusion matrices.

The arrays `film/frames` `[k, t, h, w, c]` and `film/labels` `[k]` are one test video of each gesture; the record's
entry `gestures` has their names. The arrays of each model are named `MODEL/…`:

- `probability` `[k, t, classes]`: class probabilities of these videos after each frame, of the first seed.
- `accuracy_by_frame` `[seeds, t]`: test accuracy after each frame.
- `confusion` `[seeds, classes, classes]`: confusion matrix, label by prediction.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import COLORS, Arrays, band
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.classification import row_pictures as rows


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the film strips of each model, accuracy by frame, and confusion matrices."""
    figures = {f"film_{file_name(row['model'])}": film(row["model"], record, arrays) for row in record.summary}
    named = record.replace(data={**record.data, "class_names": record.entries["gestures"]})
    return {**figures, "accuracy_by_frame": accuracy_by_frame(record, arrays), "confusion": confusion(named, arrays)}


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
        for of, (name, color) in enumerate(zip(names, COLORS, strict=False)):
            values = probability[number, :, of]
            right = of == labels[number]
            curve.plot(np.arange(1, steps + 1), values, color=color, linewidth=2.5 if right else 1, marker=".")
            if not right and values.max() > 0.25:
                at = values.argmax()
                curve.annotate(name, (at + 1, values[at]), color=color, fontsize=7, ha="center", va="bottom")
        curve.set(ylim=(-0.05, 1.1), xlim=(0.5, steps + 0.5), xticks=range(1, steps + 1), yticks=[0, 0.5, 1])
        curve.tick_params(labelsize=7)
    return figure


def accuracy_by_frame(record: Record, arrays: Arrays) -> Figure:
    """Draws the test accuracy after each frame; for a model of single frames, that of each frame alone."""
    figure, axes = plt.subplots(figsize=(9, 4.4))
    for color, row in zip(COLORS, record.summary, strict=False):
        values = 100 * arrays[f"{row['model']}/accuracy_by_frame"].T
        band(axes, np.arange(1, len(values) + 1), values, color, row["model"])
    gestures, pairs = len(record.entries["gestures"]), record.entries["paired"]
    limits = {"one frame": 1 / gestures, "frames without order": 1 - pairs / gestures / 2}
    for name, limit in limits.items():
        axes.axhline(100 * limit, color="grey", linestyle=":", linewidth=1)
        axes.text(len(values), 100 * limit + 1, f"expected at most from {name}", color="grey", fontsize=8, ha="right")
    axes.set(title="When does the network know?", xlabel="frames seen", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.set_xticks(range(1, len(values) + 1))
    figure.legend(loc="outside right upper")
    return figure


def confusion(record: Record, arrays: Arrays) -> Figure:
    """Draws the confusion matrix of each model on the test videos, mean over seeds."""
    figure = rows.confusion(record, arrays)
    for axes in figure.axes:
        axes.tick_params(axis="x", rotation=90)
    for axes in figure.axes[1:]:
        axes.set_yticklabels([])
        axes.set_ylabel("")
    figure.suptitle("Test videos by label and prediction, mean over seeds")
    figure.set_size_inches(max(6.5, 4 * len(record.summary)), 6.4)
    return figure
