"""Examples of TensorFlow Datasets on disk, read by index: all at once into memory, or during training."""

import copy
import math
from collections.abc import Sequence

import jax
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Split, check_examples
from rowrnn.lab.data.on_disk.silence import reason, silence

BATCH = 1024
Keys = tuple[str, str | None]


class Stream:
    """A split of a prepared set of TensorFlow Datasets, or a part of one; a `rowrnn.lab.training.Source`.

    Args:
        name: name of the data set, for messages.
        builder: the data set.
        split: name of the split.
        keys: names of the image and of its label in an example; without a label, all images are of class 0.

    Raises:
        InputError: here and when examples are read, if the split cannot be read or its images differ in size.
    """

    def __init__(self, name: str, builder: tfds.core.DatasetBuilder, split: str, keys: Keys) -> None:
        self._name, self._builder, self._split, self._keys = name, builder, split, keys
        try:
            with silence():
                self._source = builder.as_data_source(split)
                first = np.asarray(self._source[0][keys[0]])
        except Exception as error:  # files missing or damaged
            raise self._unreadable(error) from error
        self._indices = np.arange(len(self._source))
        self._read_shape, self._shape = first.shape, (*first.shape, 1) if first.ndim == 2 else first.shape
        self._dtype = np.dtype(np.float32) if np.issubdtype(first.dtype, np.floating) else first.dtype

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def images(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of all images `[n, h, w, c]`: matrices get a channel axis, floating point becomes float32."""
        return jax.ShapeDtypeStruct((len(self), *self._shape), self._dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all images in memory."""
        return math.prod(self.images.shape) * self._dtype.itemsize

    def at(self, indices: Int[np.ndarray, "n"]) -> "Stream":
        """Returns the examples at these indices, in that order."""
        part = copy.copy(self)
        part._indices = self._indices[indices]
        return part

    def first(self, examples: int | None) -> "Stream":
        """Returns the first `examples` examples; all where `examples` is None."""
        return self.at(np.arange(len(self))[:examples])

    def shapes(self) -> Split:
        """Returns the shapes and dtypes of all examples together."""
        return Split(self.images, jax.ShapeDtypeStruct((len(self),), np.int32))

    def read(self, numbers: Sequence[int]) -> Split:
        """Returns images and labels at some indices as NumPy arrays.

        Raises:
            InputError: if the files cannot be read, an image differs in size, or the examples are not what a `Dataset`
                may hold.
        """
        images, labels = self._read(numbers)
        label = self._keys[1]
        classes = 1 if label is None else self._builder.info.features[label].num_classes
        check_examples(self._name, "streamed", images, labels, classes)
        return Split(images, labels.astype(np.int32))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns all images `[n, h, w, c]` and labels `[n]`; only the sizes of the images are checked.

        Raises:
            InputError: if the files cannot be read or an image differs in size.
        """
        images, labels = np.empty(self.images.shape, self._dtype), np.empty(len(self), np.int64)
        for start in range(0, len(self), BATCH):
            numbers = range(start, min(start + BATCH, len(self)))
            images[start : numbers.stop], labels[start : numbers.stop] = self._read(numbers)
        return images, labels

    def _read(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        image, label = self._keys
        indices = self._indices[np.asarray(numbers)].tolist()
        try:
            examples = self._source.__getitems__(indices)
        except Exception as error:  # files missing or damaged, images that do not decode
            raise self._unreadable(error) from error
        images = np.empty((len(examples), *self._shape), self._dtype)
        for index, example, place in zip(indices, examples, images, strict=True):
            if example[image].shape != self._read_shape:
                raise InputError(
                    f"The images of {self._name!r} differ in size: in the split {self._split!r} the first is "
                    f"{list(self._read_shape)}, number {index} is {list(example[image].shape)}; expected one size. "
                    "Prepare a copy of the set with its images resized."
                )
            place[...] = example[image].reshape(self._shape)
        return images, np.array([0 if label is None else example[label] for example in examples], np.int64)

    def _unreadable(self, error: Exception) -> InputError:
        return InputError(
            f"The split {self._split!r} of {self._name!r} cannot be read from {self._builder.data_path} "
            f"({reason(error)}). Remove that directory and prepare the set again."
        )
