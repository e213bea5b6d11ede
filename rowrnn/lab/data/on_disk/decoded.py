"""A cache of decoded images in a temporary file without a name, which disappears with the process."""

import copy
import os
import tempfile
from collections.abc import Sequence

import jax
import numpy as np

from rowrnn.lab.data.dataset import Split
from rowrnn.lab.data.on_disk.stream import Stream

BLOCK = 1 << 24  # bytes


class Decoded:
    """A stream that keeps each decoded image on disk; a `rowrnn.lab.training.Source`.

    Each example is read and decoded once, at its first use.

    Args:
        stream: the examples.
        folder: a folder on the disk that holds the decoded images.

    Raises:
        OSError: if that disk has no room for all images.
    """

    def __init__(self, stream: Stream, folder: os.PathLike[str]) -> None:
        self._stream = stream
        with tempfile.TemporaryFile(dir=folder) as file:
            # All room is reserved now: writing to a memory map on a full disk kills the process (SIGBUS).
            _reserve(file.fileno(), stream.nbytes)
            self._images = np.memmap(file, stream.images.dtype, mode="r+", shape=stream.images.shape)  # It stays open.
        self._labels = np.zeros(len(stream), np.int32)
        self._known = np.zeros(len(stream), bool)

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def images(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of all images `[n, h, w, c]`."""
        return self._stream.images

    def first(self, examples: int | None) -> "Decoded":
        """Returns the first `examples` examples, which share this cache; all where `examples` is None."""
        part = copy.copy(self)  # It shares the arrays, and so what is decoded already.
        part._stream = self._stream.first(examples)
        return part

    def shapes(self) -> Split:
        """Returns the shapes and dtypes of all examples together."""
        return self._stream.shapes()

    def read(self, numbers: Sequence[int]) -> Split:
        """Returns images and labels at some indices as NumPy arrays.

        Raises:
            InputError: if the files cannot be read, an image differs in size, or the examples are not what a `Dataset`
                may hold.
        """
        wanted = np.asarray(numbers)
        new = np.unique(wanted[~self._known[wanted]])
        if len(new):
            examples = self._stream.read(new.tolist())
            self._images[new], self._labels[new] = examples.images, examples.labels
            self._known[new] = True  # Set last: other threads read at the same time.
        return Split(np.asarray(self._images[wanted]), self._labels[wanted])


def _reserve(descriptor: int, size: int) -> None:
    """Allocates `size` bytes in an empty file, by writing zeros where there is no `posix_fallocate` (macOS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = memoryview(bytes(min(size, BLOCK)))
    while size > 0:
        size -= os.write(descriptor, zeros[:size])
