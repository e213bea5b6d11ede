"""Figures of classified clips: film strips with the probabilities after each frame.

The arrays `film/frames` `[k, t, h, w, c]`, uint8, `film/lengths` and `film/labels` `[k]` are some test clips; the
record's data has the `class_names`. For each model `MODEL/probability` `[k, t, classes]` are its class probabilities
after each frame, of the first seed.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure, SubFigure

from rowrnn.lab.report.style import COLORS, Arrays
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.clips.examples import Clip

SENTENCES = {
    "film": "How sure the model is of each class after each frame of a test clip: a line that rises early needs few "
    "frames."
}
SHOWN = 3  # classes whose probabilities are drawn, beside the true one
COLUMNS = 2  # clips side by side
NARROWEST = 6  # frames that have room, so that those of a shorter clip are not enlarged
WIDTH, LEGEND, CURVES = 7.2, 1.6, 1.6  # inches: of a strip with its legend, of the legend, and the curves' height
TICKS = 12


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the film strips of each model."""
    return {
        f"film_{file_name(row['model'])}": films(row["model"], record, arrays)
        for row in record.summary
        if f"{row['model']}/probability" in arrays
    }


def films(model: str, record: Record, arrays: Arrays) -> Figure:
    """Draws test clips as film strips, each with a model's class probabilities after each frame."""
    frames, lengths, labels = (arrays[f"film/{name}"] for name in ("frames", "lengths", "labels"))
    lines = -(-len(frames) // COLUMNS)
    figure = plt.figure(figsize=(WIDTH * COLUMNS, (_height(frames[0][: lengths.max()]) + CURVES) * lines + 0.6))
    figure.suptitle(f"{model}: how probable it finds each class after each frame of a test clip")
    cells = figure.subfigures(lines, COLUMNS, squeeze=False).flat
    for cell, clip, length, label, probability in zip(
        cells, frames, lengths, labels, arrays[f"{model}/probability"], strict=False
    ):
        _draw(cell, clip[:length], probability[:length], record.data["class_names"], int(label))
    return figure


def film(
    clip: Clip, probability: Float[np.ndarray, "t classes"], names: Sequence[str], label: int | None = None
) -> Figure:
    """Draws one clip as a film strip, with the class probabilities after each frame.

    Args:
        clip: its frames, without padding.
        probability: class probabilities after each frame.
        names: names of the classes.
        label: the true class, where it is known: the title then has a tick, or an arrow to the wrong answer.
    """
    figure = plt.figure(figsize=(WIDTH, _height(clip) + CURVES))
    _draw(figure, clip, probability, names, label)
    return figure


def _height(clip: Clip) -> float:
    """Returns inches that a film strip takes with its title, a little more than its frames need beside the legend."""
    steps, height, width, _ = clip.shape
    return 0.4 + (WIDTH - LEGEND) / max(steps, NARROWEST) * height / width


def _draw(
    figure: Figure | SubFigure,
    clip: Clip,
    probability: Float[np.ndarray, "t classes"],
    names: Sequence[str],
    label: int | None,
) -> None:
    steps, height, width, _ = clip.shape
    answer = int(probability[-1].argmax())
    strip, curve = figure.subplots(2, 1, sharex=True, height_ratios=[_height(clip), CURVES])
    whole = np.concatenate(clip, axis=1)
    strip.imshow(
        whole if whole.shape[-1] == 3 else whole[..., 0],
        cmap="gray",
        extent=(0.5, steps + 0.5, height / width, 0),
        vmin=0,
        vmax=255,
    )
    strip.vlines(np.arange(1, steps) + 0.5, 0, height / width, color="white", linewidth=0.5)
    strip.set_yticks([])
    strip.tick_params(bottom=False)
    strip.grid(visible=False)
    strip.spines[:].set_visible(False)
    title, color = f"{names[answer]} ({probability[-1, answer]:.0%})", "black"
    if label is not None:
        right = answer == label
        title = f"{names[label]} ✓ ({probability[-1, answer]:.0%})" if right else f"{names[label]} → {title}"
        color = "tab:green" if right else "tab:red"
    strip.set_title(title, fontsize=9, fontweight="bold", color=color)
    likeliest = [int(of) for of in np.argsort(-probability.max(axis=0))[:SHOWN]]
    drawn = list(dict.fromkeys([*([] if label is None else [label]), answer, *likeliest]))
    for of, line_color in zip(drawn, COLORS, strict=False):
        curve.plot(
            np.arange(1, steps + 1),
            probability[:, of],
            color=line_color,
            linewidth=2.5 if of == label else 1,
            marker=".",
            label=f"{names[of]} (true)" if of == label else names[of],
        )
    curve.set(
        ylim=(-0.05, 1.05),
        xlim=(0.5, max(steps, NARROWEST) + 0.5),
        yticks=[0, 0.5, 1],
        xlabel="frame",
        ylabel="probability",
    )
    curve.set_xticks(range(1, steps + 1, -(-steps // TICKS)))
    curve.tick_params(labelsize=7)
    curve.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
