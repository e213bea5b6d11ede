"""Images that are decoded once: after that they are read from a file without a name, which ends with the process."""

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
    """A stream whose examples are read and decoded when they are first asked for; a `rowrnn.lab.training.Source`.

    Args:
        stream: the examples.
        folder: on whose disk there is room for all images.

    Raises:
        OSError: if there is not.
    """

    def __init__(self, stream: Stream, folder: os.PathLike[str]) -> None:
        self._stream = stream
        with tempfile.TemporaryFile(dir=folder) as file:
            # Room is taken now: a disk that is full later would end the process without a word.
            _reserve(file.fileno(), stream.nbytes)
            self._images = np.memmap(file, stream.images.dtype, mode="r+", shape=stream.images.shape)  # It stays open.
        self._labels = np.zeros(len(stream), np.int32)
        self._known = np.zeros(len(stream), bool)

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def images(self) -> jax.ShapeDtypeStruct:
        """Shape and type of all images `[n, h, w, c]`."""
        return self._stream.images

    def first(self, examples: int | None) -> "Decoded":
        """The first so many examples; all where `examples` is None."""
        part = copy.copy(self)  # What is known of them stays known.
        part._stream = self._stream.first(examples)
        return part

    def shapes(self) -> Split:
        """Shapes and types of all examples together."""
        return self._stream.shapes()

    def read(self, numbers: Sequence[int]) -> Split:
        """Images and labels of examples, as NumPy arrays.

        Raises:
            InputError: as `Stream.read`.
        """
        wanted = np.asarray(numbers)
        new = np.unique(wanted[~self._known[wanted]])
        if len(new):
            examples = self._stream.read(new.tolist())
            self._images[new], self._labels[new] = examples.images, examples.labels
            self._known[new] = True  # Last: other threads read meanwhile.
        return Split(np.asarray(self._images[wanted]), self._labels[wanted])


def _reserve(descriptor: int, size: int) -> None:
    """Takes room for so many bytes in an empty file; where the system cannot be asked (macOS), by writing zeros."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = memoryview(bytes(min(size, BLOCK)))
    while size > 0:
        size -= os.write(descriptor, zeros[:size])
