"""Image classification data sets of three splits, checked when they are made; training images may stay on disk."""

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from rowrnn.errors import InputError
from rowrnn.saving.preprocessing import Preprocessing

VALIDATION = 5_000
VALIDATION_SEED = 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, a pytree.

    Both fields are arrays of JAX or NumPy, or `jax.ShapeDtypeStruct`s.

    Args:
        images: `[n, h, w, c]`, uint8 (see `as_float`) or floating point.
        labels: classes `[n]`, int32.
    """

    images: Shaped[Any, "n h w c"]
    labels: Shaped[Any, "n"]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, examples: int | None) -> "Split":
        """Returns the first `examples` examples; all where `examples` is None."""
        return jax.tree.map(lambda array: array[:examples], self)

    def read(self, numbers: Sequence[int]) -> "Split":
        """Returns images and labels at some indices as NumPy arrays."""
        wanted = np.asarray(numbers)
        return Split(np.asarray(self.images)[wanted], np.asarray(self.labels)[wanted])


@runtime_checkable
class Examples(Protocol):
    """Training examples, in memory or on disk."""

    @property
    def images(self) -> Any:
        """Images `[n, h, w, c]`, or their shape and dtype."""
        ...

    def __len__(self) -> int: ...

    def first(self, examples: int | None) -> "Examples":
        """Returns the first `examples` examples; all where `examples` is None."""
        ...

    def read(self, numbers: Sequence[int]) -> Split:
        """Returns images and labels at some indices as NumPy arrays."""
        ...


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set whose validation split is taken from the training set.

    Args:
        name: the name that it was loaded by.
        class_names: names of the classes, in the order of the labels.
        train: training examples without the validation examples: a `Split`, or a source that reads them from disk.
        validation: validation examples, for model selection.
        test: all test examples, scored once at the end.
        source: a description of where the arrays came from.
        checksum: SHA-256 of the arrays in order: training images, labels, test images, labels; None where not all of
            them were read.
        preprocessing: how an image becomes one of this set; None for floating-point arrays, whose origin is not known.
    """

    name: str
    class_names: tuple[str, ...]
    train: Examples
    validation: Split
    test: Split
    source: str
    checksum: str | None
    preprocessing: Preprocessing | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of channels of an image."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data set for the record of a run."""
        return {
            "name": self.name,
            "source": self.source,
            "checksum": self.checksum,
            "shape": self.shape,
            "classes": self.classes,
            "class_names": self.class_names,
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "preprocessing": self.preprocessing,
        }

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        class_names: tuple[str, ...],
        source: str = "arrays in memory",
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> "Dataset":
        """Checks arrays, splits off a validation set if there is none, and puts all splits on the default device.

        The validation split is then 5,000 examples, or a tenth (at least one) of a training set below 50,000, drawn
        without replacement by a fixed seed: the same for every run.

        Args:
            name: name of the data set.
            train: images `[n, h, w, c]`, uint8 from 0 to 255 or floating point, and labels `[n]`.
            test: the same for the test set.
            class_names: names of the classes, in the order of the labels.
            source: a description of where the arrays came from.
            validation: the same for a validation set of its own.
            preprocessing: how an image becomes one of this set; for uint8 images, where not given, one that brings it
                to their size.

        Raises:
            InputError: if an array has another rank or dtype, a split is empty, the images of two splits differ in
                size, an image has NaN or infinite values, a label is outside the classes, or there is only one training
                image.
        """
        given = {"training": train, "validation": validation, "test": test}
        splits = {split: arrays for split, arrays in given.items() if arrays is not None}
        for split, (images, labels) in splits.items():
            check_examples(name, split, images, labels, len(class_names))
            check_sizes(name, train[0].shape[1:], images.shape[1:], split)
        checksum = hashlib.sha256()
        for array in (array for arrays in splits.values() for array in arrays):
            checksum.update(np.ascontiguousarray(array).data)
        images, labels = train
        if validation is None:
            validation_part, train_part = held_out(name, len(images))
            validation = images[validation_part], labels[validation_part]
            images, labels = images[train_part], labels[train_part]
        return cls(
            name=name,
            class_names=class_names,
            train=on_device(images, labels),
            validation=on_device(*validation),
            test=on_device(*test),
            source=source,
            checksum=checksum.hexdigest(),
            preprocessing=preprocessing or of_arrays(images),
        )


def as_float(images: Shaped[Array | np.ndarray, "b *t h w c"]) -> Float[Array, "b *t h w c"]:
    """Converts images or videos to float32: integers from 0 to 255 are divided by 255, floating point is only cast."""
    images = jnp.asarray(images)
    if jnp.issubdtype(images.dtype, jnp.integer):
        return images.astype(jnp.float32) / 255
    return images.astype(jnp.float32)


def on_device(images: np.ndarray, labels: np.ndarray) -> Split:
    """Returns checked examples as a split on the default device."""
    return Split(jnp.asarray(images), jnp.asarray(labels, jnp.int32))


def check_examples(name: str, split: str, images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    """Checks the images and labels of a split.

    Warns of images that are likely `[n, c, h, w]`.

    Args:
        name: name of the data set, for messages.
        split: name of the split, for messages.
        images: `[n, h, w, c]`.
        labels: `[n]`.
        classes: number of classes.

    Raises:
        InputError: if the images have another rank, are empty, are neither uint8 nor floating point or are not finite,
            or if the labels are not `[n]` integers from 0 to `classes` less one.
    """
    _check_images(name, split, images)
    _warn_of_channels_first(name, split, images.shape)
    _check_labels(name, split, labels, len(images), classes)


def held_out(name: str, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits the indices of the training examples into a validation and a training part.

    Args:
        name: name of the data set, for messages.
        examples: number of examples.

    Returns:
        Indices of the validation examples, and of the training examples.

    Raises:
        InputError: if there is only one example.
    """
    if examples < 2:
        raise InputError(f"{name!r} has one training image; expected at least 2, one of them for validation.")
    order = np.random.default_rng(VALIDATION_SEED).permutation(examples)
    validation_part, train_part = np.split(order, [min(VALIDATION, max(1, examples // 10))])
    return validation_part, train_part


def check_sizes(name: str, train: tuple[int, ...], other: tuple[int, ...], split: str = "test") -> None:
    """Checks that the images of another split have the size `(h, w, c)` of the training images.

    Raises:
        InputError: if they differ.
    """
    if train != other:
        raise InputError(
            f"The images of {name!r} are {list(train)} in the training set and {list(other)} in the {split} set; "
            "expected one height, width and number of channels."
        )


def of_arrays(images: np.ndarray) -> Preprocessing | None:
    """Returns the preprocessing that brings a picture to the size and channels of uint8 images; None for others."""
    _, height, width, channels = images.shape
    if images.dtype != np.uint8 or channels not in (1, 3):
        return None
    return Preprocessing((height, width), channels=channels)


def _check_images(name: str, split: str, images: np.ndarray) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(
            f"The {split} images of {name!r} have shape {list(images.shape)}; expected [n, h, w, c], all above zero. "
            "Grey images want a channel axis: images[..., None]."
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise InputError(
            f"The {split} images of {name!r} are {images.dtype}; expected uint8 from 0 to 255, or floating point."
        )
    if np.issubdtype(images.dtype, np.floating):
        with np.errstate(over="ignore"):  # values beyond float32's range become infinite
            bad = np.flatnonzero(~np.isfinite(images.astype(np.float32)).all(axis=(1, 2, 3)))
        if bad.size:
            raise InputError(
                f"{bad.size} of {len(images)} {split} images of {name!r} hold NaN or infinite values, the first at "
                f"index {bad[0]}; expected finite pixels. Remove or mend those images."
            )


def _warn_of_channels_first(name: str, split: str, shape: tuple[int, ...]) -> None:
    """Warns of images that are likely `[n, c, h, w]`: one or three rows, and more than 4 columns and channels."""
    _, first, second, last = shape
    if first in (1, 3) and last > 4 and second > 4:
        warnings.warn(
            f"The {split} images of {name!r} have shape {list(shape)}, taken as {first} rows of {second} pixels with "
            f"{last} channels. If channels come first in them, as in torch, pass np.moveaxis(images, 1, -1).",
            stacklevel=3,
        )


def _check_labels(name: str, split: str, labels: np.ndarray, examples: int, classes: int) -> None:
    if labels.shape != (examples,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"The {split} labels of {name!r} are {labels.dtype} of shape {list(labels.shape)}; expected one integer "
            f"for each of {examples} images."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"The {split} labels of {name!r} run from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}, "
            f"for {classes} classes. Mend the labels or the number of classes."
        )
