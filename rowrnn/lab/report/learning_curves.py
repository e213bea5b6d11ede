"""Learning curves, drawn from `record.curves`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from rowrnn.lab.report.style import COLORS, band
from rowrnn.lab.runs.record import Record


def pictures(record: Record) -> dict[str, Figure]:
    """Returns the figure of the learning curves, if the record has curves."""
    return {"learning_curves": learning_curves(record)} if record.curves else {}


def learning_curves(record: Record) -> Figure:
    """Draws training loss and validation error, or another score, by epoch: mean and 95 % interval over seeds."""
    curves = record.curves
    measure = next(name for name in next(iter(curves.values())) if name.startswith("validation_"))
    is_accuracy = measure == "validation_accuracy"
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for color, (model, curve) in zip(COLORS, curves.items(), strict=False):
        epochs = np.arange(1, len(curve["loss"]) + 1)
        scores = np.asarray(curve[measure])
        band(left, epochs, np.asarray(curve["loss"]), color, model)
        band(right, epochs, 100 * (1 - scores) if is_accuracy else scores, color, model)
    left.set(title="Training loss", xlabel="epoch", ylabel="loss", yscale="log")
    if is_accuracy:
        right.set(title="Validation error", xlabel="epoch", ylabel="error (%)", yscale="log")
    else:
        right.set(title="Validation", xlabel="epoch", ylabel=measure.removeprefix("validation_").replace("_", " "))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter("{x:g}")
        if axes.get_yscale() == "log":
            _label_between_decades(axes)
    right.legend(loc="upper left", bbox_to_anchor=(1.02, 1))  # beside the axes: there may be many curves
    return figure


def _label_between_decades(axes: Axes) -> None:
    """Labels ticks between powers of ten, where there is room: few epochs may lie between two of these."""
    bottom, top = axes.get_ylim()
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5), numticks=20))
    axes.yaxis.set_minor_formatter("{x:g}" if top < 1000 * bottom else "")
    axes.tick_params(axis="y", which="minor", labelsize=7)
