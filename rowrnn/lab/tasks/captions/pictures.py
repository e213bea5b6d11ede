"""Figures of the captions experiment: scenes with generated captions, and attention maps.

The test set has the parts `seen` and `unseen`, without and with held-out combinations. The arrays for each part are
`scene/PART/image` `[n, h, w, 1]` and `scene/PART/caption` `[n, longest]`; for each model `MODEL/PART/said`
`[n, longest]`, its captions, and, if it has attention, `MODEL/PART/attention` `[m, longest, gh, gw]`, the attention
weights for each word of the first m scenes.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.captions.language import decode

PARTS = {"seen": "combinations as in training", "unseen": "with combinations that training never had"}
COLUMNS, LINE = 4, 38  # scenes in a row of the figure, characters in a line of text
WORDS_IN_A_ROW = 11  # attention maps in a row of the figure


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the captions of both parts, and the attention maps of each model that has attention."""
    figures = {f"captions_{part}": captions(part, record, arrays) for part in PARTS}
    for row in record.summary:
        if f"{row['model']}/unseen/attention" in arrays:
            figures[f"attention_{file_name(row['model'])}"] = attention(row["model"], arrays)
    return figures


def captions(part: str, record: Record, arrays: Arrays) -> Figure:
    """Draws test scenes of a part with their captions and those of each model, wrong words between asterisks."""
    images, truth = arrays[f"scene/{part}/image"], decode(arrays[f"scene/{part}/caption"])
    models = [row["model"] for row in record.summary if f"{row['model']}/{part}/said" in arrays]
    said = {model: decode(arrays[f"{model}/{part}/said"]) for model in models}
    rows = -(-len(images) // COLUMNS)
    lines = 3 * (1 + len(models))
    figure, panels = plt.subplots(rows, COLUMNS, figsize=(3.4 * COLUMNS, (2.2 + 0.15 * lines) * rows), squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for axes, image, true, *of_models in zip(panels.flat, images, truth, *said.values(), strict=False):
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
        axes.set_title(_wrapped(true), fontsize=8, family="monospace", loc="left", fontweight="bold")
        for number, (model, ours) in enumerate(zip(models, of_models, strict=True)):
            text = f"{model}: " + ("right" if ours == true else marked(ours, true))
            axes.text(
                0,
                -0.04 - 0.2 * number,
                _wrapped(text),
                transform=axes.transAxes,
                color="tab:green" if ours == true else "tab:red",
                fontsize=7.5,
                family="monospace",
                verticalalignment="top",
            )
    figure.suptitle(f"Test scenes, {PARTS[part]}: caption, and what was said (*wrong words*)")
    return figure


def marked(said: str, true: str) -> str:
    """Returns a caption with asterisks around each word that differs from the word at its position in `true`.

    A caption that is too short ends with `*…*`.
    """
    right = true.split()
    words = [word if [word] == right[n : n + 1] else f"*{word}*" for n, word in enumerate(said.split())]
    return " ".join(words + ["*…*"] * (len(words) < len(right)))


def attention(model: str, arrays: Arrays) -> Figure:
    """Draws the attention map of a model for each word of its captions of some test scenes of both parts."""
    scenes = [
        (image, decode(said[None])[0].split(), shares)
        for part in PARTS
        for image, said, shares in zip(
            arrays[f"scene/{part}/image"],
            arrays[f"{model}/{part}/said"],
            arrays[f"{model}/{part}/attention"],
            strict=False,
        )
    ]
    rows = [-(-max(len(words), 1) // WORDS_IN_A_ROW) for _, words, _ in scenes]
    figure, panels = plt.subplots(
        sum(rows), WORDS_IN_A_ROW, figsize=(1.45 * WORDS_IN_A_ROW, 1.7 * sum(rows)), squeeze=False
    )
    for axes in panels.flat:
        axes.axis("off")
    top = 0
    for (image, words, shares), height in zip(scenes, rows, strict=True):
        for axes, word, share in zip(panels[top : top + height].flat, words, shares, strict=False):
            _look(axes, image, share)
            axes.set_title(word, fontsize=9)
        top += height
    figure.suptitle(f"{model}: where it looked for each word that it said")
    return figure


def _look(axes: Axes, image: np.ndarray, share: np.ndarray) -> None:
    height, width, _ = image.shape
    axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    # A position of the map covers 8x8 pixels; the last ones may extend beyond the image.
    extent = (-0.5, 8 * share.shape[1] - 0.5, 8 * share.shape[0] - 0.5, -0.5)
    axes.imshow(share, cmap="inferno", alpha=0.6, vmin=0, vmax=max(share.max(), 1e-9), extent=extent)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, LINE))
