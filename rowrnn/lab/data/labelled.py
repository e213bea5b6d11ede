"""Own pictures with classes as a data set: decoded once, made alike, in memory or left on disk."""

from collections.abc import Iterator, Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset, Split, on_device
from rowrnn.lab.data.decoded_cache import decoded_splits
from rowrnn.lab.data.listing import Item, Listing, Unreadable, spread
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.shaping import LOOKED_AT, Picture, Shaping, in_words
from rowrnn.saving.preprocessing import Preprocessing


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


def dataset_of(listing: Listing, shaping: Shaping, budget: int) -> Dataset:
    """Makes a data set of own pictures with classes.

    Args:
        listing: the pictures.
        shaping: how they are made alike.
        budget: bytes that the training images may take in memory; those of a larger set stay on disk.

    Raises:
        InputError: if the listing has no labels or one class only, or more than 1 % of the pictures cannot be read.
    """
    listing.check("images")
    preprocessing = shaping.decide(some_pictures(listing.splits["train"]))
    places = {name: place for place, name in enumerate(listing.classes)}
    images, labels = {}, {}
    found, unread = decoded_splits(listing.splits, partial(shaped, preprocessing), repr(preprocessing))
    words = [listing.source, in_words(preprocessing), *([unread] if unread else [])]
    for split, arrays in found.items():
        items = listing.splits[split]
        images[split] = arrays.stacked()
        labels[split] = np.array([places[items[number].columns["label"]] for number in arrays.kept], np.int32)
    train = images["train"]
    streamed = train.nbytes > budget
    if streamed:
        taken, allowed = train.nbytes / 2**20, budget / 2**20
        words.append(f"Training images are read from disk: {taken:,.1f} MiB, where {allowed:,.1f} are allowed.")
    return Dataset(
        name=listing.name,
        class_names=listing.classes,
        train=Kept(train, labels["train"]) if streamed else on_device(train, labels["train"]),
        validation=on_device(images["validation"], labels["validation"]),
        test=on_device(images["test"], labels["test"]),
        source=" ".join(words),
        checksum=None,
        preprocessing=preprocessing,
    )


def shaped(preprocessing: Preprocessing, item: Item) -> UInt8[np.ndarray, "h w c"]:
    """Reads a picture as a model sees it."""
    return np.asarray(preprocessing.to_bytes(read_picture(item)[None]))[0]


def some_pictures(items: Sequence[Item]) -> Iterator[Picture]:
    """Reads at most 200 pictures one by one, evenly spread over the items; unreadable ones are left out.

    Raises:
        InputError: if none of them can be read.
    """
    found, error = False, None
    for item in spread(items, LOOKED_AT):
        try:
            yield read_picture(item)
            found = True
        except Unreadable as unreadable:
            error = unreadable
    if not found:
        raise error or InputError("There is no picture.")
