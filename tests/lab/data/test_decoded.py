"""Room for decoded images is taken before they come, on systems without a call for it too."""

import errno
import os
import resource

import jax
import numpy as np
import pytest

from rowrnn.lab.data.dataset import Split
from rowrnn.lab.data.on_disk import decoded
from rowrnn.lab.data.on_disk.decoded import Decoded
from rowrnn.lab.data.on_disk.stream import Stream

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 1), np.uint8)


class InMemory(Stream):
    """A stream, what `load` makes of a set that does not fit into memory, of a few images."""

    def __init__(self):
        pass

    images, nbytes = jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype), IMAGES.nbytes

    def __len__(self):
        return len(IMAGES)

    def read(self, numbers):
        return Split(IMAGES[numbers], np.asarray(numbers, np.int32))


@pytest.fixture
def macos(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(decoded, "BLOCK", 64)  # Less than the images, and no divisor of their bytes.


@pytest.mark.usefixtures("macos")
def test_without_posix_fallocate_images_are_decoded_once_too(tmp_path):
    examples = Decoded(InMemory(), tmp_path)
    for numbers in ([3, 1], [1, 9, 3]):
        read = examples.read(numbers)
        np.testing.assert_array_equal(read.images, IMAGES[numbers])
        np.testing.assert_array_equal(read.labels, numbers)


@pytest.mark.usefixtures("macos")
def test_without_posix_fallocate_a_full_disk_is_an_error_at_once(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            Decoded(InMemory(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
