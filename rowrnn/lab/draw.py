"""Figures and animations of a run, drawn from its record and arrays alone, and the report that shows them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.errors import InputError
from rowrnn.lab.report import learning_curves
from rowrnn.lab.report.page import Format, write_page
from rowrnn.lab.report.style import Arrays, drawing, save_images
from rowrnn.lab.runs.record import Record, load_run
from rowrnn.lab.tasks.boxes import pictures as boxes
from rowrnn.lab.tasks.captions import described_pictures
from rowrnn.lab.tasks.captions import pictures as captions
from rowrnn.lab.tasks.classification import order_pictures as orders
from rowrnn.lab.tasks.classification import row_pictures as rows
from rowrnn.lab.tasks.clips import pictures as clips
from rowrnn.lab.tasks.frames import pictures as frames
from rowrnn.lab.tasks.generation import pictures as generation
from rowrnn.lab.tasks.gestures import pictures as gestures
from rowrnn.lab.tasks.likelihoods import pictures as likelihoods
from rowrnn.lab.tasks.lines import pictures as lines
from rowrnn.lab.tasks.lines import text_pictures
from rowrnn.lab.tasks.masks import pictures as masks
from rowrnn.lab.tasks.memory import pictures as memory
from rowrnn.lab.tasks.series import pictures as series
from rowrnn.lab.tasks.text import pictures as text

Pictures = Callable[[Record, Any], Mapping[str, Figure]]
PICTURES: dict[str, Pictures] = {
    "mnist_rows": rows.pictures,
    "directions": orders.pictures,
    "memory": memory.pictures,
    "gestures": gestures.pictures,
    "captions": captions.pictures,
    "lines": lines.pictures,
    "moving_digits": frames.pictures,
    "train_images": rows.pictures_of_answers,
    "train_lines": text_pictures.pictures,
    "train_clips": clips.pictures,
    "train_captions": described_pictures.pictures,
    "text": text.pictures,
    "train_text": text.pictures,
    "boxes": boxes.pictures,
    "train_boxes": boxes.pictures,
    "frames": frames.pictures,
    "train_frames": frames.pictures,
    "generation": generation.pictures,
    "likelihoods": likelihoods.pictures,
    "masks": masks.pictures,
    "train_masks": masks.pictures,
    "series": series.pictures,
    "train_series": series.pictures,
}
"""The function that draws the figures of each experiment; an experiment not listed has learning curves only."""
SENTENCES: dict[str, Mapping[str, str]] = {
    "mnist_rows": rows.SENTENCES,
    "directions": orders.SENTENCES,
    "memory": memory.SENTENCES,
    "gestures": gestures.SENTENCES,
    "captions": captions.SENTENCES,
    "lines": lines.SENTENCES,
    "moving_digits": frames.SENTENCES,
    "train_images": rows.SENTENCES,
    "train_lines": text_pictures.SENTENCES,
    "train_clips": clips.SENTENCES,
    "train_captions": described_pictures.SENTENCES,
    "text": text.SENTENCES,
    "train_text": text.SENTENCES,
    "boxes": boxes.SENTENCES,
    "train_boxes": boxes.SENTENCES,
    "frames": frames.SENTENCES,
    "train_frames": frames.SENTENCES,
    "generation": generation.SENTENCES,
    "likelihoods": likelihoods.SENTENCES,
    "masks": masks.SENTENCES,
    "train_masks": masks.SENTENCES,
    "series": series.SENTENCES,
    "train_series": series.SENTENCES,
}
"""What to look for in the figures of each experiment, by name; "film" is also that of "film_gru"."""
ANIMATIONS: dict[str, Callable[[Record, Arrays], dict[str, np.ndarray]]] = {
    "moving_digits": frames.animations,
    "frames": frames.animations,
    "train_frames": frames.animations,
    "generation": generation.animations,
}


def draw(directory: Path, pictures: Pictures | None = None, format: Format = "png") -> list[Path]:
    """Draws the figures of a run and its animations (as GIF) beside its results, and writes `report.md`.

    Args:
        directory: directory of the run.
        pictures: function of record and arrays that draws its figures, beside the learning curves; where not given,
            that of `PICTURES`.
        format: file format of the figures.

    Returns:
        The paths of the pictures.

    Raises:
        InputError: if the directory holds no run, or a run with nothing to draw.
    """
    record, arrays = load_run(directory)
    shown: dict[Path, str] = {}
    known = {**learning_curves.SENTENCES, **SENTENCES.get(record.experiment, {})}
    with drawing():
        figures = learning_curves.pictures(record)
        of_study = pictures or PICTURES.get(record.experiment)
        # Without a row no model is finished; those of `PICTURES` are drawn of arrays.
        if of_study and record.summary and (arrays or pictures):
            figures.update(of_study(record, arrays))
        for name, figure in figures.items():
            path = directory / f"{name}.{format}"
            shown[path] = sentence(name, known) or title(figure)
            figure.savefig(path)
            plt.close(figure)
    animations = ANIMATIONS.get(record.experiment)
    for name, film in animations(record, arrays).items() if arrays and animations else ():
        path = directory / f"{name}.gif"
        shown[path] = sentence(name, known)
        save_images(path, film)
    if not shown:
        why = f"it is no run of {', '.join(PICTURES)}"
        if not record.finished:
            why = f"its training is not finished: go on with it by --resume {directory}, as `rowrnn runs` shows"
        raise InputError(f"The run of {record.experiment} in {directory} has nothing to draw, since {why}.")
    write_page(directory, record, shown)
    return list(shown)


def sentence(name: str, sentences: Mapping[str, str]) -> str:
    """Returns what to look for in a figure: the sentence of its name or of the longest beginning of it, else ""."""
    fitting = [known for known in sentences if name == known or name.startswith(f"{known}_")]
    return sentences[max(fitting, key=len)] if fitting else ""


def title(figure: Figure) -> str:
    """Returns the title of a figure, or of its first axes that have one, followed by a full stop."""
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    found = next((text for text in titles if text), "")
    return found.rstrip(".") + "." if found else ""
