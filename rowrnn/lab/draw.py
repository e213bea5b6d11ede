"""Figures and animations of a run, drawn from its record and arrays alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.report import learning_curves
from rowrnn.lab.report.style import STYLE, Arrays
from rowrnn.lab.runs.record import Record, load_run
from rowrnn.lab.tasks.captions import pictures as captions
from rowrnn.lab.tasks.classification import order_pictures as orders
from rowrnn.lab.tasks.classification import row_pictures as rows
from rowrnn.lab.tasks.gestures import pictures as gestures
from rowrnn.lab.tasks.lines import pictures as lines
from rowrnn.lab.tasks.memory import pictures as memory
from rowrnn.lab.tasks.moving_digits import pictures as moving_digits

Pictures = Callable[[Record, Any], Mapping[str, Figure]]
PICTURES: dict[str, Pictures] = {
    "mnist_rows": rows.pictures,
    "directions": orders.pictures,
    "memory": memory.pictures,
    "gestures": gestures.pictures,
    "captions": captions.pictures,
    "lines": lines.pictures,
    "moving_digits": moving_digits.pictures,
}
"""The function that draws the figures of each experiment; an experiment not listed has learning curves only."""
ANIMATIONS: dict[str, Callable[[Record, Arrays], dict[str, np.ndarray]]] = {"moving_digits": moving_digits.animations}
MILLISECONDS = 150  # that each frame of an animation is shown


def draw(directory: Path, pictures: Pictures | None = None) -> list[Path]:
    """Draws the figures of a run as PNG and its animations as GIF, beside its results.

    Args:
        directory: directory of the run.
        pictures: function of record and arrays that draws its figures, beside the learning curves; where not given,
            that of `PICTURES`.

    Returns:
        The paths of the files.

    Raises:
        InputError: if the directory holds no run, or a run with nothing to draw.
    """
    record, arrays = load_run(directory)
    paths: list[Path] = []
    with plt.rc_context(STYLE), plt.ioff():
        figures = learning_curves.pictures(record)
        of_study = pictures or PICTURES.get(record.experiment)
        # Without a row no model is finished; those of `PICTURES` are drawn of arrays.
        if of_study and record.summary and (arrays or pictures):
            figures.update(of_study(record, arrays))
        for name, figure in figures.items():
            paths.append(directory / f"{name}.png")
            figure.savefig(paths[-1])
            plt.close(figure)
    animations = ANIMATIONS.get(record.experiment)
    for name, frames in animations(record, arrays).items() if arrays and animations else ():
        paths.append(directory / f"{name}.gif")
        first, *others = map(Image.fromarray, frames)
        first.save(paths[-1], save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    if not paths:
        raise InputError(
            f"The run of {record.experiment} in {directory} has nothing to draw: no model is finished, or it is no run "
            f"of {', '.join(PICTURES)}."
        )
    return paths
