"""Options of experiments that say which data is read, and how its pictures are made alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.constructors import PrimitiveConstructorSpec

from rowrnn.errors import InputError
from rowrnn.lab.data import Dataset
from rowrnn.lab.data.listing import Listing
from rowrnn.lab.data.load import Columns, load, load_listing
from rowrnn.lab.data.memory_budget import memory_budget
from rowrnn.lab.data.shaping import Shaping
from rowrnn.lab.experiment.option_checks import AtLeast


def _size_of(words: Sequence[str]) -> tuple[int, int] | None:
    if [*words] == ["None"]:
        return None
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        raise ValueError("expected two numbers, a height and a width in pixels, such as 48 64")
    return int(words[0]), int(words[1])


# tyro would offer "None" in every help and error.
Size = Annotated[
    tuple[int, int] | None,
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="HEIGHT WIDTH",
        instance_from_str=_size_of,
        is_instance=lambda size: size is None or isinstance(size, tuple),
        str_from_instance=lambda size: ["None"] if size is None else [*map(str, size)],
    ),
]
"""Height and width in pixels, or None where none is given."""


@dataclass(frozen=True)
class DataOptions:
    """Which data is read, and how its pictures are made alike."""

    data: str = "mnist"
    """Data: mnist; a folder of pictures, clips or parquet tables; a file .npz; a TensorFlow Datasets name; hf:NAME."""
    data_dir: Path | None = None
    """Directory of TensorFlow Datasets; its own default where not given."""
    data_memory: Annotated[float | None, AtLeast(0, "MiB of ")] = None
    """Most MiB of training images in memory, more stay on disk; else half of a GPU's, an eighth of a CPU's free."""
    size: Size = None
    """Height and width of the pictures, in pixels; else their own if all are alike, or a usual one, at most 96."""
    fit: Literal["pad", "stretch", "crop"] = "pad"
    """How a picture of another shape is brought to that size: padded, stretched, or cropped at the longer side."""
    colour: Literal["auto", "grey", "colour"] = "auto"
    """Whether pictures are read in grey or in colour; auto takes grey where all are grey."""
    like_mnist: bool = False
    """Find the digit of every picture, make it light on dark, and centre it in 28x28 as MNIST's are."""
    split_by: str | None = None
    """Column whose values stay together where splits are drawn, as writer."""
    label_column: str | None = None
    """Column of the class of a picture or clip; found by its usual name where not given."""
    text_column: str | None = None
    """Column of the text of a picture; found by its usual name where not given."""

    def load(self, *, labelled: bool = True) -> Dataset:
        """Loads images with classes.

        Args:
            labelled: whether the images of a set of TensorFlow Datasets need classes.

        Raises:
            InputError: if they are unknown, cannot be read, or have no classes.
        """
        how = {"shaping": self.shaping(), "columns": self.columns(), "labelled": labelled}
        return load(self.data, self.data_dir, self.budget(), **how)

    def listing(self, task: str) -> Listing:
        """Lists the examples of own data for a task of `rowrnn.lab.data.listing.TASKS`.

        Raises:
            InputError: if there are none, or they are in no known layout.
        """
        return load_listing(self.data, task, self.columns())

    def budget(self) -> int:
        """Returns the bytes that training examples may take in memory."""
        return memory_budget() if self.data_memory is None else int(self.data_memory * 2**20)

    def columns(self) -> Columns:
        """Returns the columns of own data."""
        return Columns(self.label_column, self.text_column, self.split_by)

    def shaping(self) -> Shaping:
        """Returns how pictures are made alike."""
        if self.size is not None and (self.size[0] < 1 or self.size[1] < 0):
            raise InputError(f"--size is {' '.join(map(str, self.size))}; expected a height and a width in pixels.")
        return Shaping(self.size, self.fit, self.colour, self.like_mnist)
