"""What a data set holds, before anything is decoded: its items, where they lie, and what is known of each."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rowrnn.errors import InputError

OPTIONS = {"label": "--label-column", "text": "--text-column"}
# What the items of a task are, and the column that it learns from.
TASKS = {
    "images": ("pictures", "label"),
    "lines": ("pictures", "text"),
    "captions": ("pictures", "text"),
    "clips": ("clips", "label"),
    "boxes": ("pictures", "objects"),
    "masks": ("pictures", "mask"),
    "frames": ("clips", None),  # It learns from the clips alone.
}


class Unreadable(InputError):
    """Error for a file that is damaged or is no picture or clip that can be read."""


@dataclass(frozen=True)
class Item:
    """One example where it lies.

    Args:
        name: its path below the data set, or "train-00000-of-00001.parquet, row 17": for messages and answers.
        path: a file, or a folder of frames; None where the bytes are in a table.
        content: a function that returns its bytes; None where there is a path.
        columns: its annotations: "label" is the name of a class, "text" a string or a list of strings, "objects" boxes
            and their categories, "mask" a path; others as the data set names them.
        version: what changes with the content, for items without a path.
    """

    name: str
    path: Path | None = None
    content: Callable[[], bytes] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    version: tuple[Any, ...] = ()

    def read(self) -> bytes:
        """Returns the bytes of the file.

        Raises:
            Unreadable: if it cannot be read.
        """
        try:
            if self.content is not None:
                return self.content()
            if self.path is not None:
                with open(self.path, "rb", buffering=0) as file:
                    return file.read()
        except OSError as error:
            raise Unreadable(f"{self.name} cannot be read ({error.strerror or error}).") from error
        raise InputError(f"{self.name} has neither a path nor content; an item has one of them.")

    def fingerprint(self) -> tuple[Any, ...]:
        """Returns what changes when the file does, or one that a column names, as a mask: see `looks`.

        Without a path it is `version` instead.
        """
        own = (self.name, *self.version) if self.path is None else looks(self.path)
        return (*own, *(looks(value) for value in self.columns.values() if isinstance(value, Path)))


def looks(path: Path) -> tuple[Any, ...]:
    """Returns place, size and times of a file, or of the files of a folder.

    The time of the change is looked at too, since archives give files the times of modification that they had. Of a
    file that cannot be looked at, as a link to nowhere, it is the place alone.
    """
    place = os.path.abspath(path)
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return (place, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        files = [(file.name, os.stat(file)) for file in sorted(path.iterdir())]
    except OSError:
        return (place,)
    return (place, *((name, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for name, one in files))


def evenly(count: int, most: int) -> Int[np.ndarray, "n"]:
    """Returns at most so many numbers below a count, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Returns at most so many items, evenly spread from the first to the last: they may be sorted by class."""
    return [items[number] for number in evenly(len(items), most)]


@dataclass(frozen=True)
class Listing:
    """The items of a data set by split.

    Args:
        name: the folder or the name that it was opened by.
        splits: items of "train", "validation" and "test", none empty.
        source: a description of the layout, where each split came from, and what was left out.
        classes: names of the classes in the order of their numbers; empty where no item has a label, or the listing is
            for a task that learns something else.
        media: what the files are: "pictures", "clips", or both for GIFs.
    """

    name: str
    splits: Mapping[str, Sequence[Item]]
    source: str
    classes: tuple[str, ...] = ()
    media: tuple[str, ...] = ("pictures",)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the annotations that items have."""
        return tuple(dict.fromkeys(name for items in self.splits.values() for item in items for name in item.columns))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that can be learnt from these items, of `TASKS`."""
        return tuple(task for task in TASKS if not self._unfit(task))

    def check(self, task: str) -> None:
        """Checks that a task can be learnt from these items.

        Raises:
            InputError: if the files are of another kind, the column that the task learns from is missing or not what
                the task expects, or there is only one class.
        """
        problem = self._unfit(task)
        if problem:
            also = f" It would do for {' or '.join(map(repr, self.tasks))}." if self.tasks else ""
            raise InputError(problem + also)

    def _unfit(self, task: str) -> str:
        """Returns why a task cannot be learnt from these items; "" where it can."""
        medium, column = TASKS[task]
        if medium not in self.media:
            return f"{self.name} holds {' and '.join(self.media)}; the task {task!r} needs {medium}."
        if column is None:
            return ""
        if column not in (columns := self.columns):
            return self._without(column, columns)
        if column == "label" and len(self.classes) == 1:
            return f"All items of {self.name} have the label {self.classes[0]!r}; expected at least two classes."
        if column == "text":
            return self._unfit_texts(task)
        return ""

    def _without(self, column: str, columns: Sequence[str]) -> str:
        has = ", ".join(columns) or "none"
        option = f" Name another by {OPTIONS[column]}." if column in OPTIONS and columns else ""
        folders = " Or put each class into a folder of its own." if column == "label" and not columns else ""
        return f"{self.name} has no column {column!r}; its columns: {has}.{option}{folders}"

    def _unfit_texts(self, task: str) -> str:
        for item in (item for items in self.splits.values() for item in items):
            text = item.columns.get("text")
            texts = text if isinstance(text, list | tuple) else [text]
            if not texts or not all(isinstance(text, str) for text in texts):
                return f"The text of {item.name} is {text!r}; expected a string, or a list of them."
            if task == "lines" and not isinstance(text, str):
                return f"{item.name} has {len(texts)} texts; the task 'lines' needs one a picture."
        return ""
