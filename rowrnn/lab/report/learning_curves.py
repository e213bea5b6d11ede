"""Learning curves, drawn from `record.curves`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rowrnn.lab.report.style import PERCENT, band, legend, line_styles, log_ticks
from rowrnn.lab.runs.record import Record

SENTENCES = {
    "learning_curves": "Does the validation score still get better at the last epoch (train longer), or worse while "
    "the training loss falls (the model learns its examples by heart)?"
}
CHOSEN = "epoch whose weights a seed keeps"


def pictures(record: Record) -> dict[str, Figure]:
    """Returns the figure of the learning curves, if the record has curves."""
    return {"learning_curves": learning_curves(record)} if record.curves else {}


def learning_curves(record: Record) -> Figure:
    """Draws training loss and validation error, or another score, by epoch: mean and 95 % interval over seeds.

    Diamonds mark the epochs with the best validation score of a seed, on the mean over seeds.
    """
    curves = record.curves
    measure = measure_of(record)
    is_accuracy = measure == "validation_accuracy"
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for style, (model, curve) in zip(line_styles(), curves.items(), strict=False):
        loss, scores = np.asarray(curve["loss"]), np.asarray(curve[measure])
        epochs = np.arange(1, len(loss) + 1)
        shown = 100 * (1 - scores) if is_accuracy else scores
        positive = 0.0 if loss.min() >= 0 else -np.inf
        band(left, epochs, loss, style["color"], model, limits=(positive, np.inf), linestyle=style["linestyle"])
        limits = PERCENT if is_accuracy else (-np.inf, np.inf)
        band(right, epochs, shown, style["color"], model, limits=limits, linestyle=style["linestyle"])
        chosen = np.unique(chosen_epochs(scores))
        right.plot(chosen, shown.mean(axis=1)[chosen - 1], "D", markerfacecolor="white", color=style["color"], zorder=3)
    left.set(title="Training loss", xlabel="epoch", ylabel="loss")
    if is_accuracy:
        right.set(title="Validation error", xlabel="epoch", ylabel="error (%)")
    else:
        right.set(title="Validation", xlabel="epoch", ylabel=measure.removeprefix("validation_").replace("_", " "))
    for axes, wants_log in ((left, True), (right, is_accuracy)):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
        # Where no error is left, a logarithm shows nothing.
        if wants_log and np.nanmin(values) > 0:
            log_ticks(axes)
    right.plot([], [], "D", markerfacecolor="white", color="grey", label=CHOSEN)
    legend(right, loc="upper left", bbox_to_anchor=(1.02, 1))  # beside the axes: there may be many curves
    return figure


def measure_of(record: Record) -> str:
    """Returns the name of the validation score in the curves of a record."""
    return next(name for name in next(iter(record.curves.values())) if name.startswith("validation_"))


def chosen_epochs(scores: np.ndarray) -> np.ndarray:
    """Returns the epoch, from 1, with each seed's best score, the later of equals.

    Args:
        scores: validation scores by epoch and seed; higher is better.
    """
    return len(scores) - np.argmax(scores[::-1], axis=0)
