"""Figures that say how far a classifier of images can be trusted: its calibration, and the rows that mattered.

Arrays: `mean_image` `[h, w, c]`, as the pictures are; `MODEL/calibration` `[seeds, bins, 3]`, of
`rowrnn.lab.tasks.classification.measures.calibration`; and `MODEL/row_influence` `[seeds, h]`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.style import COLORS, Arrays, legend
from rowrnn.lab.runs.record import Record

SENTENCES = {
    "calibration": "Whether a model that is sure is also right: on the diagonal, of a hundred answers at 80 % eighty "
    "are right; below it, the model is too sure of itself.",
    "rows": "Which rows matter: by how much the log-probability of the right class falls where one row is replaced by "
    "that of the mean image.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws what there is: runs of earlier versions have none of these arrays."""
    models = [row["model"] for row in record.summary]
    figures = {}
    if all(f"{model}/calibration" in arrays for model in models):
        figures["calibration"] = calibration(models, arrays)
    if all(f"{model}/row_influence" in arrays for model in models):
        figures["rows"] = rows(models, arrays)
    return figures


def calibration(models: list[str], arrays: Arrays) -> Figure:
    """Draws the share of right answers by how sure the model is, all seeds together."""
    figure, axes = plt.subplots(figsize=(5.4, 5))
    axes.plot([0, 100], [0, 100], color="grey", linestyle=":", linewidth=1)
    for color, model in zip(COLORS, models, strict=False):
        sure, right, share = np.moveaxis(arrays[f"{model}/calibration"], -1, 0)
        total = share.sum(axis=0)
        told = total > 0
        x, y = (100 * (of * share).sum(axis=0)[told] / total[told] for of in (sure, right))
        axes.plot(x, y, color=color, linewidth=1, label=model)
        axes.scatter(x, y, s=10 + 200 * total[told] / total.sum(), color=color)
    axes.set(
        title="How far can one believe how sure it is?",
        xlabel="mean probability of its answers (%); a larger dot has more of them",
        ylabel="of them right (%)",
        xlim=(0, 102),
        ylim=(0, 102),
    )
    legend(axes, fontsize=8)
    return figure


def rows(models: list[str], arrays: Arrays) -> Figure:
    """Draws the influence of each row beside the mean image: mean and 95 % interval over seeds."""
    image = arrays["mean_image"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.2), sharey=True, width_ratios=(1, 1.6))
    left.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    left.grid(False)
    left.set(title="mean of the test images", xticks=[], ylabel="row")
    height = np.arange(len(image))
    for color, model in zip(COLORS, models, strict=False):
        of_rows = [interval(of_row) for of_row in arrays[f"{model}/row_influence"].T]
        mean = np.array([one["mean"] for one in of_rows])
        right.plot(mean, height, color=color, label=model)
        if of_rows[0]["ci95"] is not None:
            width = np.array([one["ci95"] for one in of_rows])
            right.fill_betweenx(height, mean - width, mean + width, color=color, alpha=0.2, linewidth=0)
    right.xaxis.set_major_formatter("{x:g}")  # no factor beside the axis, where its label is
    right.axvline(0, color="grey", linewidth=1, linestyle=":")
    right.set(title="Which rows matter?", xlabel="loss of log-probability of the right class without the row (nats)")
    legend(right, fontsize=8)
    return figure
