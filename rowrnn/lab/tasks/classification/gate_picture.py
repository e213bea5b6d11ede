"""Gates and states of a row classifier, a map each: a row of the map is a row of the image."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from rowrnn.lab.report.style import Arrays, shortened

NAMES = {"cell": "candidate"}  # LSTM calls its candidate "cell", as torch and Keras do
KINDS = ("gate", "state")
HEIGHT = 3.9  # inches
SHORT = 2  # characters of a class's name that have room beside the next


def size(seen: Arrays) -> tuple[float, float]:
    """Returns width and height of the picture in inches."""
    return 2.4 * sum(len(_of_kind(seen, kind)) for kind in KINDS) + 4.2, HEIGHT


def draw(figure: Figure | SubFigure, image: np.ndarray, seen: Arrays, classes: Sequence[str], heading: str) -> str:
    """Draws every gate and state of every unit at each row, beside the image and the class probabilities.

    Args:
        figure: what is drawn on.
        image: the image that was read, `[h, w, c]`.
        seen: what `read_along` returned.
        classes: names of the classes.
        heading: title of the image.

    Returns:
        The name of the gate by which units are sorted.
    """
    of_gates, of_states = (_of_kind(seen, kind) for kind in KINDS)
    names, height = [*of_gates, *of_states], len(image)
    panels = figure.subplots(1, len(names) + 2, sharey=True, width_ratios=[1, *[1.2] * len(names), 0.8])
    show_image(panels[0], image)
    panels[0].set(title=heading)
    panels[0].set_ylabel("row (time step)")
    panels[0].tick_params(bottom=False, labelbottom=False)
    # Similar units become neighbours.
    sorted_by = of_gates[min(1, len(of_gates) - 1)]
    order = np.argsort(seen[sorted_by].mean(axis=0))
    for axes, name in zip(panels[1:-1], names, strict=True):
        activation = seen[name][:, order]
        signed = activation.min() < 0 or name in of_states
        # Gates and candidates are bounded by 1, a cell state is not.
        limit = max(1.0, float(np.abs(activation).max())) if name in of_states else 1.0
        shown = axes.imshow(
            activation,
            aspect="auto",
            cmap="RdBu_r" if signed else "magma",
            vmin=-limit if signed else 0,
            vmax=limit,
            extent=(0, activation.shape[1], height - 0.5, -0.5),
            interpolation="nearest",
        )
        axes.set(title=_title(name), xlabel="unit, sorted")
        axes.grid(visible=False)
        ticks = [-limit, 0, limit] if signed else [0, 0.5, 1]
        figure.colorbar(shown, ax=axes, location="bottom", shrink=0.8, ticks=ticks, format="{x:.2g}")
    probability = seen["probability"]
    shown = panels[-1].imshow(probability, aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(shown, ax=panels[-1], location="bottom", shrink=0.8, ticks=[0, 0.5, 1], format="{x:.2g}")
    panels[-1].set(title="answer so far", xlabel="class")
    shown_classes = range(0, probability.shape[1], max(1, probability.shape[1] // 10))
    names_of_classes = [shortened(classes[k]) for k in shown_classes]
    turn = 90 if max(map(len, names_of_classes)) > SHORT else 0
    panels[-1].set_xticks(list(shown_classes), names_of_classes, fontsize=7, rotation=turn)
    panels[-1].grid(visible=False)
    return _title(sorted_by)


def _of_kind(seen: Arrays, kind: str) -> list[str]:
    return [name for name in seen if name.startswith(f"{kind}/")]


def _title(array: str) -> str:
    """Returns the title of a panel: "input gate", "candidate", "cell state c"."""
    kind, name = array.split("/")
    name = NAMES.get(name, name) if kind == "gate" else name
    return name if name == "candidate" or kind == "state" else f"{name} gate"


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Shows an image `[h, w, c]` that fills its axes; of other than three channels the mean."""
    if np.issubdtype(image.dtype, np.floating):
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-9)
    if image.shape[-1] == 3:
        axes.imshow(image, aspect="auto")
    else:
        # One channel, or a number that is no colour image, as from a satellite: the mean over channels.
        axes.imshow(image.mean(axis=-1), cmap="gray", aspect="auto")
    axes.grid(visible=False)
