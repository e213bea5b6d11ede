"""Loading of images with classes by the name of a data set, or from a person's own files."""

from dataclasses import dataclass
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset
from rowrnn.lab.data.labelled_arrays import are_arrays, dataset_of_arrays
from rowrnn.lab.data.listing import Listing
from rowrnn.lab.data.memory_budget import memory_budget
from rowrnn.lab.data.mnist import load_bundled
from rowrnn.lab.data.shaping import Shaping

HUB = "hf:"


@dataclass(frozen=True)
class Columns:
    """Columns of own data; where not given, they are found by their usual names.

    Args:
        label: the class of a picture or clip.
        text: the text of a picture.
        split_by: what keeps items together where splits are drawn, as "writer".
    """

    label: str | None = None
    text: str | None = None
    split_by: str | None = None


def load(
    name: str,
    data_dir: str | Path | None = None,
    budget: int | None = None,
    *,
    shaping: Shaping | None = None,
    columns: Columns = Columns(),
    labelled: bool = True,
) -> Dataset:
    """Loads a data set of images with classes.

    Args:
        name: "mnist", bundled with the package; a folder or a file of own data (see `rowrnn.lab.data.sources`);
            "hf:NAME" of the Hugging Face hub; or any image classification set of TensorFlow Datasets (TFDS).
        data_dir: TFDS directory to read from, or to prepare the set in; the default of TFDS where not given. With a
            `data_dir`, "mnist" too is read from there.
        budget: bytes of memory for the training images; larger sets stay on disk and are read during training.
        shaping: how own pictures are made alike; by themselves where not given.
        columns: columns of own data.
        labelled: whether the images of a set of TensorFlow Datasets need classes.

    Raises:
        InputError: if the name is unknown (similar names are suggested), own files are in no known layout or have no
            classes, a set cannot be prepared here, is not an image classification set, or has arrays that a `Dataset`
            cannot hold.
    """
    if name == "mnist" and data_dir is None:
        _check_as_it_is(name, shaping, columns)
        return load_bundled()
    if are_arrays(name):
        if columns != Columns():
            raise InputError(f"{name} holds arrays, which have no columns: leave --split-by and --…-column out.")
        return dataset_of_arrays(name, shaping or Shaping())
    if is_own(name):
        from rowrnn.lab.data.labelled import dataset_of

        allowed = memory_budget() if budget is None else budget
        return dataset_of(load_listing(name, "images", columns), shaping or Shaping(), allowed)
    _check_as_it_is(name, shaping, columns)
    from rowrnn.lab.data.on_disk.tfds import load_tfds  # Imported only where used: TFDS takes seconds to import.

    return load_tfds(name, None if data_dir is None else Path(data_dir), budget, labelled=labelled)


def load_listing(name: str, task: str, columns: Columns = Columns()) -> Listing:
    """Lists the examples of own data.

    Args:
        name: a folder, or "hf:NAME" of the Hugging Face hub.
        task: what is to be learnt, one of `rowrnn.lab.data.listing.TASKS`.
        columns: its columns.

    Raises:
        InputError: if there is nothing of that name, or it is in no known layout.
    """
    if not name:
        raise InputError("Name the data: a folder of pictures, of clips or of parquet tables, or hf:NAME of the hub.")
    from rowrnn.lab.data.sources.open import open_listing  # Imported only where used: it imports readers of tables.

    return open_listing(name, task, split_by=columns.split_by, label_column=columns.label, text_column=columns.text)


def is_own(name: str) -> bool:
    """Returns whether a name stands for own data: a path, or a name of the hub.

    `emnist/letters` is no path where TFDS has prepared that set.
    """
    if name.startswith((".", "/", "~", HUB)) or "://" in name:
        return True
    path = Path(name)
    return path.exists() and not any(path.glob("*/features.json"))


def _check_as_it_is(name: str, shaping: Shaping | None, columns: Columns) -> None:
    if shaping not in (None, Shaping()) or columns != Columns():
        raise InputError(
            f"The data set {name!r} is read as it is: --size, --fit, --colour, --like-mnist, --split-by and "
            "--label-column are for own files."
        )
