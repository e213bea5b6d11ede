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
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.captions.language import decode

PARTS = {"seen": "combinations as in training", "unseen": "with combinations that training never had"}
COLUMNS, LINE = 4, 38  # scenes in a row of the figure, characters in a line of text
WORDS_IN_A_ROW = 11  # attention maps in a row of the figure

SENTENCES = {
    "captions": "What each model says of a scene; the combinations of the second picture were in no training scene.",
    "attention": "Whether the model looks at the digit that it names: the bright squares should lie on it.",
}


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
    """Draws the attention map of a model for each word of its captions of some test scenes of both parts.

    All maps share one colour scale; above each scene it says whether the caption is right, else what would be.
    """
    scenes = [
        (f"{PARTS[part]}, scene {number + 1}", image, decode(said[None])[0], decode(true[None])[0], shares)
        for part in PARTS
        for number, (image, said, true, shares) in enumerate(
            zip(
                arrays[f"scene/{part}/image"],
                arrays[f"{model}/{part}/said"],
                arrays[f"scene/{part}/caption"],
                arrays[f"{model}/{part}/attention"],
                strict=False,
            )
        )
    ]
    rows = [-(-max(len(said.split()), 1) // WORDS_IN_A_ROW) for _, _, said, _, _ in scenes]
    most = max(float(shares[: len(said.split())].max(initial=1e-9)) for _, _, said, _, shares in scenes)
    norm = PowerNorm(0.5, 0, most)  # Most words look at many positions a little: the square root shows them.
    figure = plt.figure(figsize=(1.45 * WORDS_IN_A_ROW + 1.2, 1.75 * sum(rows) + 0.45 * len(scenes)))
    heights = [1.75 * count + 0.45 for count in rows]
    parts = figure.subfigures(len(scenes), 1, height_ratios=heights, squeeze=False)
    for part, count, (name, image, said, true, shares) in zip(parts.flat, rows, scenes, strict=True):
        panels = part.subplots(count, WORDS_IN_A_ROW, squeeze=False)
        for axes in panels.flat:
            axes.axis("off")
        words = marked(said, true).split()
        for axes, word, share in zip(panels.flat, words, shares, strict=False):
            if word != "*…*":
                _look(axes, image, share, norm)
            axes.set_title(word, fontsize=9, color="tab:red" if word.startswith("*") else "black")
        verdict = "right" if said == true else f"wrong; right would be: {true}"
        part.suptitle(
            f"{name}: {verdict}", color="tab:green" if said == true else "tab:red", fontsize=10, x=0.01, ha="left"
        )
        bar = part.colorbar(ScalarMappable(norm, "inferno"), ax=panels, aspect=8 * count, label="share of attention")
        bar.set_ticks([0, float(f"{most / 4:.1g}"), float(f"{most:.1g}")])
    figure.suptitle(f"{model}: where it looked for each word that it said")
    return figure


def _look(axes: Axes, image: np.ndarray, share: np.ndarray, norm: PowerNorm) -> None:
    height, width, _ = image.shape
    axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    # A position of the map covers 8x8 pixels; the last ones may extend beyond the image.
    extent = (-0.5, 8 * share.shape[1] - 0.5, 8 * share.shape[0] - 0.5, -0.5)
    axes.imshow(share, cmap="inferno", alpha=0.6, norm=norm, extent=extent)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, LINE))
