"""Own pictures with classes as a data set: decoded once, made alike, in memory or left on disk."""

from collections.abc import Sequence

import jax
import numpy as np

from rowrnn.lab.data.dataset import Dataset, Split, on_device
from rowrnn.lab.data.listing import Listing
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.shaping import LOOKED_AT, Shaping


class Kept:
    """Training examples whose decoded pictures lie on disk; a `rowrnn.lab.training.Source`.

    Args:
        images: a memory map `[n, h, w, c]`.
        labels: classes `[n]`.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def images(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of all images `[n, h, w, c]`."""
        return jax.ShapeDtypeStruct(self._images.shape, self._images.dtype)

    def first(self, examples: int | None) -> "Kept":
        """Returns the first `examples` examples; all where `examples` is None."""
        return Kept(self._images[:examples], self._labels[:examples])

    def shapes(self) -> Split:
        """Returns the shapes and dtypes of all examples together."""
        return Split(self.images, jax.ShapeDtypeStruct((len(self),), np.int32))

    def read(self, numbers: Sequence[int]) -> Split:
        """Returns images and labels at some indices as NumPy arrays."""
        wanted = np.asarray(numbers)
        return Split(np.asarray(self._images[wanted]), self._labels[wanted])


def dataset_of(listing: Listing, shaping: Shaping, budget: int, *, label: str = "label") -> Dataset:
    """Makes a data set of own pictures with classes.

    Args:
        listing: the pictures.
        shaping: how they are made alike.
        budget: bytes that the training images may take in memory; those of a larger set stay on disk.
        label: column of the classes.

    Raises:
        InputError: if the listing has no such column, has one class only, or too many pictures cannot be read.
    """
    names = listing.classes_of(label)
    preprocessing = shaping.decide([read_picture(item) for item in spread(listing.splits["train"], LOOKED_AT)])
    places = {name: place for place, name in enumerate(names)}
    images, labels = {}, {}
    for split, items in listing.splits.items():
        images[split], kept = decoded_pictures(items, preprocessing)
        labels[split] = np.array([places[items[number].columns[label]] for number in kept], np.int32)
    train = images["train"]
    streamed = train.nbytes > budget
    source = listing.source
    if streamed:
        source += (
            f"; training images read from disk, {train.nbytes / 2**20:,.1f} MiB where {budget / 2**20:,.1f} are allowed"
        )
    return Dataset(
        name=listing.name,
        class_names=names,
        train=Kept(train, labels["train"]) if streamed else on_device(train, labels["train"]),
        validation=on_device(images["validation"], labels["validation"]),
        test=on_device(images["test"], labels["test"]),
        source=source,
        checksum=None,
        preprocessing=preprocessing,
    )
