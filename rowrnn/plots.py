"""Pictures of a run, drawn from its results and arrays alone.

The arrays of a model are named `MODEL/…`: `correct_by_row` `[seeds, h]`; `confusion` `[seeds, classes, classes]`, label
by prediction; `mistake_image` `[n, h, w, c]` with `mistake_label`, `mistake_prediction` and `mistake_probability`
`[n]`; and for a recurrent model `gate/NAME` `[h, hidden]` and `probability` `[h, classes]` of reading `example`
`[h, w, c]`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rowrnn.report import Results, interval, load

Arrays = Mapping[str, np.ndarray]

COLORS = matplotlib.color_sequences["tab10"]
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def draw(directory: Path) -> list[Path]:
    """Draws every picture of the run in `directory` beside its results, as PNG; returns their paths.

    Raises:
        InputError: if the directory holds no run.
    """
    results, arrays = load(directory)
    models = [row["model"] for row in results["summary"]]
    figures = {}
    with plt.rc_context(STYLE), plt.ioff():
        figures["learning_curves"] = learning_curves(results)
        figures["accuracy_by_row"] = accuracy_by_row(results, arrays)
        figures["confusion"] = confusion(results, arrays)
        figures["mistakes"] = mistakes(results, arrays)
        for model in models:
            if f"{model}/probability" in arrays:
                figures[f"gates_{model.lower().replace(' ', '_')}"] = gates(model, results, arrays)
        paths = []
        for name, figure in figures.items():
            paths.append(directory / f"{name}.png")
            figure.savefig(paths[-1])
            plt.close(figure)
    return paths


def learning_curves(results: Results) -> Figure:
    """Training loss and validation error after each epoch: mean and 95 % interval over seeds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for color, (model, curve) in zip(COLORS, results["curves"].items(), strict=False):
        epochs = np.arange(1, len(curve["loss"]) + 1)
        _band(left, epochs, np.asarray(curve["loss"]), color, model)
        _band(right, epochs, 100 * (1 - np.asarray(curve["validation_accuracy"])), color, model)
    left.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
    right.set(title="Validation error", xlabel="epoch", ylabel="error (%)", yscale="log")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter("{x:g}")
    # The error falls by less than a decade or two, the loss by more: only the error has room for labels in between.
    left.yaxis.set_minor_formatter("")
    right.yaxis.set_minor_formatter("{x:g}")
    right.tick_params(axis="y", which="minor", labelsize=7)
    right.legend()
    return figure


def accuracy_by_row(results: Results, arrays: Arrays) -> Figure:
    """Test accuracy after each row seen from the top: when does the network know?"""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    rows = results["data"]["shape"][0]
    for color, row in zip(COLORS, results["summary"], strict=False):
        seen = 100 * arrays[f"{row['model']}/correct_by_row"]
        label = row["model"] if f"{row['model']}/probability" in arrays else f"{row['model']} (rows below left blank)"
        _band(axes, np.arange(1, rows + 1), seen.T, color, label)
    axes.axhline(100 / results["data"]["classes"], color="grey", linestyle=":", linewidth=1)
    axes.text(rows, 100 / results["data"]["classes"] + 1, "chance", color="grey", fontsize=8, ha="right")
    axes.set(
        title="When does the network know?",
        xlabel="rows seen, from the top",
        ylabel="test accuracy (%)",
        ylim=(0, 102),
    )
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.95))
    return figure


def gates(model: str, results: Results, arrays: Arrays) -> Figure:
    """What each gate of each unit does at each row, beside the image that is read and what the model answers."""
    names = [name for name in arrays if name.startswith(f"{model}/gate/")]
    image = arrays["example"]
    height = len(image)
    figure, panels = plt.subplots(
        1,
        len(names) + 2,
        figsize=(2.4 * len(names) + 4.2, 3.6),
        sharey=True,
        width_ratios=[1, *[1.2] * len(names), 0.8],
    )
    _show_image(panels[0], image)
    panels[0].set(title=f"read from the top:\n{results['data']['class_names'][int(arrays['example_label'])]}")
    panels[0].set_ylabel("row (time step)")
    panels[0].tick_params(bottom=False, labelbottom=False)
    # Units in the order of their mean activation in the second gate, so that alike ones lie together.
    order = np.argsort(arrays[names[min(1, len(names) - 1)]].mean(axis=0))
    for axes, name in zip(panels[1:-1], names, strict=True):
        activation = arrays[name][:, order]
        signed = activation.min() < 0
        shown = axes.imshow(
            activation,
            aspect="auto",
            cmap="RdBu_r" if signed else "magma",
            vmin=-1 if signed else 0,
            vmax=1,
            extent=(0, activation.shape[1], height - 0.5, -0.5),
            interpolation="nearest",
        )
        axes.set(title=f"{name.rsplit('/', 1)[1]}", xlabel="unit")
        axes.grid(visible=False)
        figure.colorbar(shown, ax=axes, location="bottom", shrink=0.8, ticks=[-1, 0, 1] if signed else [0, 0.5, 1])
    probability = arrays[f"{model}/probability"]
    panels[-1].imshow(probability, aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    panels[-1].set(title="answer so far", xlabel="class")
    classes = range(0, probability.shape[1], max(1, probability.shape[1] // 10))
    panels[-1].set_xticks(list(classes), [results["data"]["class_names"][k] for k in classes], fontsize=7)
    panels[-1].grid(visible=False)
    figure.suptitle(f"{model}: activation of every gate, row by row")
    return figure


def confusion(results: Results, arrays: Arrays) -> Figure:
    """Test images of each class taken for each other class, mean over seeds."""
    models = [row["model"] for row in results["summary"]]
    names = results["data"]["class_names"]
    figure, panels = plt.subplots(1, len(models), figsize=(4.4 * len(models), 5), squeeze=False)
    for axes, model in zip(panels[0], models, strict=True):
        mean = arrays[f"{model}/confusion"].mean(axis=0)
        wrong = np.where(np.eye(len(names), dtype=bool), np.nan, mean)
        worst = max(np.nanmax(wrong), 1)
        axes.imshow(wrong, cmap="Reds", vmin=0, vmax=worst)
        if len(names) <= 20:
            _write_counts(axes, mean, worst)
            axes.set_xticks(range(len(names)), names, fontsize=8)
            axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.grid(visible=False)
        axes.set(title=model, xlabel="predicted", ylabel="label")
    figure.suptitle("Test images by label and prediction, mean over seeds")
    return figure


def mistakes(results: Results, arrays: Arrays) -> Figure:
    """The wrong answers of the first seed's models that they were surest of."""
    models = [row["model"] for row in results["summary"]]
    names = results["data"]["class_names"]
    columns = max(1, *(len(arrays[f"{model}/mistake_label"]) for model in models))
    figure, panels = plt.subplots(len(models), columns, figsize=(1.25 * columns, 1.75 * len(models)), squeeze=False)
    for line, model in zip(panels, models, strict=True):
        label, predicted, probability = (
            arrays[f"{model}/mistake_{of}"] for of in ("label", "prediction", "probability")
        )
        for k, axes in enumerate(line):
            axes.axis("off")
            if k < len(label):
                _show_image(axes, arrays[f"{model}/mistake_image"][k])
                axes.set_title(f"{names[label[k]]} → {names[predicted[k]]}\n{probability[k]:.1%}", fontsize=8)
        line[0].text(-0.25, 0.5, model, rotation=90, va="center", ha="right", transform=line[0].transAxes)
    figure.suptitle("Most confident mistakes: label → answer, with its probability")
    return figure


def _band(axes: Axes, x: np.ndarray, values: np.ndarray, color: Any, label: str) -> None:
    """Mean and 95 % interval over the seeds, the last axis of `values`."""
    over_seeds = [interval(point) for point in values]
    mean = np.array([point["mean"] for point in over_seeds])
    ci95 = np.array([point["ci95"] or 0.0 for point in over_seeds])
    axes.plot(x, mean, color=color, label=label, marker="o", markersize=3)
    axes.fill_between(x, mean - ci95, mean + ci95, color=color, alpha=0.2, linewidth=0)


def _show_image(axes: Axes, image: np.ndarray) -> None:
    if np.issubdtype(image.dtype, np.floating):
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-9)
    if image.shape[-1] == 3:
        axes.imshow(image, aspect="auto")
    else:
        # Neither grey nor colour, as from a satellite: the mean of the channels.
        axes.imshow(image.mean(axis=-1), cmap="gray", aspect="auto")
    axes.grid(visible=False)


def _write_counts(axes: Axes, mean: np.ndarray, worst: float) -> None:
    for (label, predicted), count in np.ndenumerate(mean):
        if label == predicted or count >= 0.05:
            text = f"{count:.0f}" if label == predicted else f"{count:.1f}"
            dark = label != predicted and count > 0.6 * worst
            axes.text(predicted, label, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
