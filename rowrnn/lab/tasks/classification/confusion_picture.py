"""The figure of confusion matrices."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Num
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

COLUMNS = 4  # matrices in a row of the figure
WRITTEN = 20  # most classes whose counts and names are written
DARK = 0.6  # share of a colour scale above which text is white
SENTENCE = (
    "Which classes are taken for which: all panels share one colour scale, so that a darker square off the diagonal "
    "is a more frequent error in any of them; the diagonal is the share that is right."
)


def confusion(
    matrices: Mapping[str, Num[np.ndarray, "seeds classes classes"]], names: Sequence[str], what: str = "images"
) -> Figure:
    """Draws the confusion matrix of each model, mean over seeds, all with the same two colour scales.

    Errors are coloured by their number, the diagonal by the share of a label's examples that it holds.

    Args:
        matrices: counts by seed, label and prediction of each model.
        names: names of the classes.
        what: what is counted, in the plural.
    """
    mean = {model: counts.mean(axis=0) for model, counts in matrices.items()}
    diagonal = np.eye(len(names), dtype=bool)
    worst = max(1.0, *(float(counts[~diagonal].max(initial=0)) for counts in mean.values()))
    # Errors differ by orders of magnitude: the square root keeps the rare ones in sight.
    errors, right = PowerNorm(0.5, 0, worst), plt.Normalize(0, 100)
    columns = min(COLUMNS, len(mean))
    lines = -(-len(mean) // columns)
    written = len(names) <= WRITTEN
    space = 0.075 * max(map(len, names)) if written else 0.0
    figure, panels = plt.subplots(
        lines, columns, figsize=(4.2 * columns + space + 1.6, (4.3 + space) * lines + 0.4), squeeze=False
    )
    shown = []
    for number, (axes, (model, counts)) in enumerate(zip(panels.flat, mean.items(), strict=False)):
        share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
        shown = [
            axes.imshow(np.where(diagonal, np.nan, counts), cmap="Reds", norm=errors),
            axes.imshow(np.where(diagonal, share, np.nan), cmap="Greens", norm=right),
        ]
        axes.grid(visible=False)
        axes.set(title=model, xlabel="predicted", ylabel="label" if number % columns == 0 else "")
        if written:
            _write(axes, counts, diagonal, np.where(diagonal, right(share), errors(counts)))
            axes.set_xticks(range(len(names)), names, fontsize=8, rotation=90 if max(map(len, names)) > 2 else 0)
            axes.set_yticks(range(len(names)), names if number % columns == 0 else [""] * len(names), fontsize=8)
    for axes in panels.flat[len(mean) :]:
        axes.axis("off")
    bar = figure.colorbar(
        shown[0], ax=panels, shrink=0.8, aspect=30, pad=0.01, label=f"errors: {what} of a seed, on average"
    )
    bar.ax.set_yticks(np.unique([0.0, *(float(f"{worst * part:.1g}") for part in (0.05, 0.25, 0.5)), np.floor(worst)]))
    figure.colorbar(
        shown[1], ax=panels, shrink=0.8, aspect=30, pad=0.01, label=f"diagonal: % of the label's {what}, right"
    )
    figure.suptitle(f"Test {what} by label and prediction, mean over seeds")
    return figure


def _write(axes: plt.Axes, counts: np.ndarray, diagonal: np.ndarray, darkness: np.ndarray) -> None:
    for (label, predicted), count in np.ndenumerate(counts):
        right = diagonal[label, predicted]
        if right or count >= 0.05:
            text = f"{count:.0f}" if right or count >= 100 else f"{count:.1f}"
            color = "white" if darkness[label, predicted] > DARK else "black"
            axes.text(predicted, label, text, ha="center", va="center", fontsize=6, color=color)
