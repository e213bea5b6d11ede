"""Arrays of a `.npy` or `.npz` file by split; they are no items, since they need no decoding."""

from pathlib import Path

import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.files import natural, suffix
from rowrnn.lab.data.sources.splits import NAMES

INPUTS = ("images", "image", "x", "data", "frames", "inputs")
TARGETS = ("labels", "label", "y", "targets", "target")
Arrays = dict[str, np.ndarray]


def read_arrays(place: str | Path) -> dict[str, Arrays]:
    """Reads the arrays of a file, or of all files of a folder, by split and by what they are.

    Names are those of Keras (`x_train`, `y_train`), MedMNIST (`train_images`, `train_labels`) and the like, of the keys
    of a `.npz` or of the files of a folder. Arrays of no known split are "train".

    Returns:
        By split ("train", "validation", "test") the arrays "images" `[n, ...]` and, where there are any, "labels" `[n]`
        or `[n, ...]`; others by their own names.

    Raises:
        InputError: if the file is damaged or has objects in it, two arrays have one name, or there are none to learn
            from, or not as many labels as images.
    """
    path = Path(place).expanduser()
    files = [path] if not path.is_dir() else sorted(path.glob("*.np[yz]"), key=lambda file: natural(file.name))
    splits: dict[str, Arrays] = {}
    for file in files:
        for name, array in _arrays_of(file).items():
            split, kind = meaning(name)
            if kind in splits.setdefault(split, {}):
                raise InputError(f"{path} has several arrays of {kind!r} of the split {split!r}; expected one.")
            splits[split][kind] = array
    if "images" not in splits.get("train", {}):
        known = ", ".join(f"{split} {kind}" for split, arrays in splits.items() for kind in arrays) or "none"
        raise InputError(
            f"{path} has no array to train on; expected names such as x_train and y_train, train_images and "
            f"train_labels, or images and labels. Its arrays: {known}."
        )
    for split, arrays in splits.items():
        if {"images", "labels"} <= arrays.keys() and len(arrays["images"]) != len(arrays["labels"]):
            raise InputError(
                f"{path} has {len(arrays['images']):,} images and {len(arrays['labels']):,} labels in {split!r}; "
                "expected a label for each image."
            )
    return {split: splits[split] for split in NAMES if split in splits}


def meaning(name: str) -> tuple[str, str]:
    """Returns the split and the kind of an array: `x_train` is the training split's "images"."""
    parts = name.lower().replace("-", "_").split("_")
    split = next((split for part in parts for split, names in NAMES.items() if part in names), "train")
    rest = "_".join(part for part in parts if not any(part in names for names in NAMES.values()))
    if rest in INPUTS or not rest:
        return split, "images"
    return split, "labels" if rest in TARGETS else rest


def _arrays_of(file: Path) -> Arrays:
    try:
        found = np.load(file, mmap_mode="r" if suffix(file) == ".npy" else None)
        if isinstance(found, np.ndarray):
            arrays = {file.stem: found}
        else:
            with found:
                arrays = dict(found)
    except Exception as error:  # zipfile's, NumPy's and the system's
        raise InputError(
            f"{file} cannot be read as arrays ({error}). Expected .npy or .npz without pickled objects."
        ) from error
    scalars = [name for name, array in arrays.items() if array.ndim == 0]
    if scalars:
        raise InputError(f"The array {scalars[0]!r} of {file} is a single number; expected a first axis of examples.")
    return arrays
