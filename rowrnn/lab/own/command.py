"""The command `rowrnn train TASK DATA`."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from rowrnn.errors import InputError
from rowrnn.lab.experiment.option_checks import did_you_mean
from rowrnn.lab.experiment.study import run
from rowrnn.lab.runs.started import Started

TASKS: Mapping[str, tuple[str, str]] = {
    "images": ("OwnImages", "tells the classes of images apart"),
    "lines": ("OwnLines", "reads lines of text"),
    "clips": ("OwnClips", "tells the classes of clips apart"),
    "captions": ("OwnCaptions", "describes images in words"),
    "boxes": ("OwnBoxes", "finds the objects of pictures"),
    "masks": ("OwnMasks", "paints the objects of pictures"),
    "frames": ("OwnFrames", "predicts the next frames of films"),
    "text": ("OwnText", "goes on with text"),
    "series": ("OwnSeries", "forecasts tables over time"),
}
"""The study of each task, in the module of the task's name, and what its model does."""


def train(task: str, arguments: Sequence[str]) -> None:
    """Trains a model of a task.

    Args:
        task: one of `TASKS`.
        arguments: the data, unless a run is resumed, and options.

    Raises:
        InputError: if there is no such task.
    """
    if task not in TASKS:
        raise InputError(f"There is no task {task!r}. {did_you_mean(task, TASKS)}The tasks are {', '.join(TASKS)}.")
    module: Any = import_module(f"rowrnn.lab.own.{task}")
    study, _ = TASKS[task]
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--data", *arguments]
    started = Started(("rowrnn", "train", task), tuple(arguments), operand="DATA")
    run(getattr(module, study), module.Options, module.PRESETS, started)
