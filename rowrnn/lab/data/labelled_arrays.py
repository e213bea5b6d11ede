"""Own arrays with classes, of a `.npz` or `.npy` file or a folder of them, as a data set."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.data.pictures import on_white
from rowrnn.lab.data.shaping import LOOKED_AT, Shaping
from rowrnn.lab.data.sources.arrays import Arrays, read_arrays
from rowrnn.lab.data.sources.files import left_out, look, natural, some, suffix
from rowrnn.lab.data.sources.metadata import NAMES as METADATA
from rowrnn.lab.data.sources.splits import SEED, drawn, unseen_classes
from rowrnn.saving.preprocessing import Preprocessing

SUFFIXES = (".npz", ".npy")
AT_ONCE = 256  # images that are shaped at a time


def are_arrays(name: str) -> bool:
    """Returns whether a name is that of a file of arrays, or of a folder of such files without pictures or tables."""
    if "://" in name:
        return False
    path = Path(name).expanduser()
    if not path.is_dir():
        return name.lower().endswith(SUFFIXES)
    here = look(path)
    tables = [file for file in here.files if suffix(file) == ".parquet" or file.name in METADATA]
    return any(suffix(file) in SUFFIXES for file in here.files) and not (here.folders or here.media or tables)


def dataset_of_arrays(name: str, shaping: Shaping) -> Dataset:
    """Makes a data set of the arrays of a file or folder; splits that are missing are taken from the training examples.

    Args:
        name: the file or folder; `rowrnn.lab.data.sources.arrays` says what its arrays may be called.
        shaping: how images of bytes are made alike; those of floating point stay as they are.

    Raises:
        InputError: if the arrays cannot be read, are not images with one class each, or floating-point images are to be
            shaped.
    """
    splits = read_arrays(name)
    lacking = [split for split, arrays in splits.items() if "labels" not in arrays]
    if lacking:
        raise InputError(f"{name} has no labels for {', '.join(lacking)}; expected an array of them, as y_train.")
    _check_alike(name, {split: arrays["images"] for split, arrays in splits.items()})
    class_names, labels = _numbered(name, {split: _labels(name, split, arrays) for split, arrays in splits.items()})
    images = {split: _with_channels(arrays["images"]) for split, arrays in splits.items()}
    preprocessing = _decided(name, images["train"], shaping)
    if preprocessing is not None:
        images = {split: _shaped(preprocessing, of_split) for split, of_split in images.items()}
    pairs = {split: (of_split, labels[split]) for split, of_split in images.items()}
    words = f"{name}: {', '.join(pairs)}"
    missing = [split for split in ("validation", "test") if split not in pairs]
    if missing:
        of_images, of_labels = pairs["train"]
        of_classes = [class_names[label] for label in of_labels.tolist()]
        parts = drawn(name, of_classes, missing)
        for split, part in zip(["train", *missing], parts, strict=True):
            pairs[split] = of_images[np.sort(part)], of_labels[np.sort(part)]
        words += (
            f". {' and '.join(missing).capitalize()} taken from the training images, a tenth each, in the proportions "
            f"of the classes, by seed {SEED}"
        )
        words = ". ".join([words, *unseen_classes(of_classes, parts[1:], missing)])
    if others := [file for file in _files(name) if suffix(file) not in SUFFIXES]:
        words += f". {left_out(others, Path(name).expanduser())[0]}"
    splits_given = (pairs["train"], pairs["test"], class_names, words, pairs["validation"])
    return Dataset.from_arrays(name, *splits_given, preprocessing)


def _files(name: str) -> tuple[Path, ...]:
    """Returns the files of a folder; none of a file."""
    path = Path(name).expanduser()
    return look(path).files if path.is_dir() else ()


def _check_alike(name: str, images: dict[str, np.ndarray]) -> None:
    """Checks that images are of one dtype in all splits, and that channels come last."""
    first = images["train"].dtype
    for split, of_split in images.items():
        if of_split.dtype != first:
            raise InputError(
                f"The images of {name} are {first} in 'train' and {of_split.dtype} in {split!r}; expected one dtype."
            )
        bytes_first = of_split.dtype == np.uint8 and of_split.ndim == 4 and of_split.shape[1] in (1, 3, 4)
        if bytes_first and of_split.shape[3] not in (1, 3, 4):
            raise InputError(
                f"The images of {split!r} of {name} have the shape {list(of_split.shape)}, with channels first as "
                "torch has them; expected [n, h, w, c]: np.moveaxis(images, 1, -1)."
            )


def _labels(name: str, split: str, arrays: Arrays) -> np.ndarray:
    """Returns the class of each image, `[n]`: whole numbers or strings."""
    labels = arrays["labels"]
    labels = labels.reshape(len(labels)) if labels.size == len(labels) else labels  # [n, 1] as MedMNIST has it
    whole = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
    if labels.ndim != 1 or not (labels.dtype.kind in "biuU" or whole):
        shown = "NaN or fractions among them" if labels.ndim == 1 and labels.dtype.kind == "f" else f"{labels.dtype}"
        raise InputError(
            f"The labels of {split!r} of {name} have the shape {list(labels.shape)} and are {shown}; expected one "
            "class for each image, a whole number or a string."
        )
    return labels.astype(np.int64) if whole or labels.dtype.kind in "bu" else labels


def _numbered(name: str, labels: dict[str, np.ndarray]) -> tuple[tuple[str, ...], dict[str, Int[np.ndarray, "n"]]]:
    """Returns the names of the classes, numbers by their value, and the labels as places among them."""
    if len({of_split.dtype.kind for of_split in labels.values()}) > 1:
        raise InputError(f"The labels of {name} are numbers in one split and strings in another; expected one kind.")
    known = np.unique(labels["train"])
    for split, of_split in labels.items():
        unknown = np.setdiff1d(of_split, known)
        if unknown.size:
            raise InputError(
                f"{len(unknown)} classes of the split {split!r} of {name} have no image in 'train': "
                f"{some(unknown.tolist())}. Expected training images of every class."
            )
    if len(known) < 2:
        raise InputError(f"All images of {name} have the label {some(known.tolist())}; expected at least two classes.")
    names = sorted(map(str, known.tolist()), key=natural)
    places = {label: names.index(str(label)) for label in known.tolist()}
    numbered = {
        split: np.array([places[label] for label in of_split.tolist()], np.int64) for split, of_split in labels.items()
    }
    return tuple(names), numbered


def _decided(name: str, images: np.ndarray, shaping: Shaping) -> Preprocessing | None:
    """Returns what is done to images; None where they stay as they are."""
    is_picture = (
        images.dtype == np.uint8 and images.ndim == 4 and 0 not in images.shape and images.shape[3] in (1, 3, 4)
    )
    if is_picture:
        looked_at = images[evenly(len(images), LOOKED_AT)]
        return shaping.decide([on_white(image) if image.shape[-1] == 4 else image for image in looked_at])
    if shaping != Shaping():
        raise InputError(
            f"The images of {name} are {images.dtype} of shape {list(images.shape)}; only uint8 images with 1, 3 or 4 "
            "channels can be brought to another size or colour. Leave --size, --fit, --colour and --like-mnist out."
        )
    return None


def _shaped(preprocessing: Preprocessing, images: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [preprocessing.to_bytes(np.asarray(images[at : at + AT_ONCE])) for at in range(0, len(images), AT_ONCE)]
    )


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images
