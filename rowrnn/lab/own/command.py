"""The command `rowrnn train TASK DATA`."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from rowrnn.errors import InputError
from rowrnn.lab.experiment.option_checks import did_you_mean
from rowrnn.lab.experiment.study import run
from rowrnn.lab.runs.started import Started

TASKS: Mapping[str, str] = {
    "images": "OwnImages",
    "lines": "OwnLines",
    "clips": "OwnClips",
    "captions": "OwnCaptions",
    "boxes": "OwnBoxes",
    "masks": "OwnMasks",
    "frames": "OwnFrames",
    "text": "OwnText",
    "series": "OwnSeries",
}
"""The study of each task, in the module of the task's name."""


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
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--data", *arguments]
    started = Started(("rowrnn", "train", task), tuple(arguments), operand="DATA")
    run(getattr(module, TASKS[task]), module.Options, module.PRESETS, started)
