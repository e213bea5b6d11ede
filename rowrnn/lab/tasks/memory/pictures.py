"""Figures of the memory experiment: accuracy by delay, and gradient norms by row.

The record's entry `delays` has the delays of the test. The arrays of each model are `MODEL/gradient/start` and
`MODEL/gradient/end`, `[rows]`: the norm of the gradient of the loss with respect to each row, at the start and at the
end of training.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import COLORS, PERCENT, Arrays, band, legend
from rowrnn.lab.runs.record import Record

SENTENCES = {
    "accuracy": "After how many rows a cell forgets the digit: look right of the dotted line, where delays are longer "
    "than any in training.",
    "gradients": "How far back the answer's gradient reaches: a straight fall to the left on this logarithmic axis is "
    "the vanishing gradient.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws accuracy by delay and gradient norms by row."""
    return {"accuracy": accuracy(record), "gradients": gradients(record, arrays)}


def accuracy(record: Record) -> Figure:
    """Draws the test accuracy after each delay: mean and 95 % interval over seeds."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    protocol = record.protocol
    for color, row in zip(COLORS, record.summary, strict=False):
        values = 100 * np.array([score["values"] for score in row["test_accuracy"]])
        band(axes, np.array(record.entries["delays"]), values, color, row["model"], limits=PERCENT)
    axes.axvline(protocol["delay"], color="grey", linestyle=":", linewidth=1, label="longest in training")
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        title="How long does a cell remember?",
        xlabel=f"{protocol['filler']} rows between the digit and the question",
        ylabel="test accuracy (%)",
        xlim=(-0.1, 1.05 * record.entries["delays"][-1]),
        ylim=(0, 102),
    )
    legend(axes, fontsize=8, loc="lower left")
    return figure


def gradients(record: Record, arrays: Arrays) -> Figure:
    """Draws the norm of the gradient of the loss with respect to each row, before and after training."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axes, when in zip(panels, ("start", "end"), strict=True):
        for color, row in zip(COLORS, record.summary, strict=False):
            norms = np.maximum(arrays[f"{row['model']}/gradient/{when}"], 1e-30)
            axes.plot(np.arange(1, len(norms) + 1), norms, color=color, label=row["model"], linewidth=1)
        axes.set(title=f"at the {when} of training", xlabel="row", yscale="log", ylim=(1e-20, None))
        axes.axvline(record.data["shape"][0], color="grey", linestyle=":", label="the digit ends")
    panels[0].set_ylabel("norm of the loss's gradient")
    panels[1].legend(fontsize=8)
    figure.suptitle("The vanishing gradient: how much does each row still matter to the answer at the end?")
    return figure
