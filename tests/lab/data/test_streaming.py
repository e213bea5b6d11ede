"""Examples that are read while a training goes on: the same training as of examples in memory, bit by bit."""

import resource
from typing import Any

import jax
import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.data.load import load
from rowrnn.lab.data.on_disk.stream import Stream
from rowrnn.lab.training import Checkpoints, Source
from rowrnn.lab.training import examples as examples_of_steps
from tests.helpers import shapes7
from tests.helpers.cases import thinned
from tests.helpers.line_training import assert_equal_fits, examples, fit_line, interrupted
from tests.helpers.made_set import features, make

pytestmark = pytest.mark.usefixtures("standard_promotion")


class OnDisk:
    """The training set as a source, and which examples were read."""

    def __init__(self, count=80):
        self.arrays, self.read_numbers = examples(count), []

    def __len__(self):
        return len(self.arrays[0])

    def shapes(self):
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), self.arrays)

    def read(self, numbers):
        self.read_numbers += list(numbers)
        return jax.tree.map(lambda a: a[np.asarray(numbers)], self.arrays)


def blocks_of(steps, monkeypatch):
    """Blocks of so many steps for one seed; 3 and 8 do not divide the 20 of an epoch."""
    monkeypatch.setattr(examples_of_steps, "BLOCK_BYTES", steps * 4 * 4 * 4)


@pytest.mark.parametrize(("seeds", "devices", "block_steps"), thinned([(2, 2, 6), (1, 1, 20), (1, 2, 1)], 3))
def test_a_streamed_training_is_that_of_the_same_examples_in_memory(seeds, devices, block_steps, monkeypatch):
    blocks_of(block_steps, monkeypatch)
    how = {"seeds": seeds, "devices": jax.devices()[:devices], "epochs": 2}
    source = OnDisk()
    streamed = fit_line(None, train=source, **how)
    assert_equal_fits(streamed, fit_line(None, **how))
    assert len(source.read_numbers) == 2 * 80 * seeds


@pytest.mark.slow
def test_a_streamed_training_goes_on_within_its_epoch(tmp_path, monkeypatch):
    blocks_of(3, monkeypatch)
    checkpoints = Checkpoints(tmp_path)
    assert [interrupted(checkpoints, train=OnDisk(), seeds=1) for _ in range(3)] == [(0, 8), (0, 16), (1, 0)]
    assert_equal_fits(fit_line(checkpoints, train=OnDisk(), seeds=1), fit_line(None, seeds=1))


@pytest.mark.slow
def test_a_resumed_epoch_reads_only_what_is_left(tmp_path, monkeypatch):
    blocks_of(1, monkeypatch)
    checkpoints, source = Checkpoints(tmp_path), OnDisk()
    interrupted(checkpoints, train=OnDisk(), seeds=1, epochs=1)
    fit_line(checkpoints, train=source, seeds=1, epochs=1)
    assert len(set(source.read_numbers)) == len(source.read_numbers) == (20 - 8) * 4


def test_what_a_source_raises_ends_the_training():
    class Damaged(OnDisk):
        def read(self, numbers):
            if 7 in numbers:
                raise InputError("Example 7 is damaged.")
            return super().read(numbers)

    with pytest.raises(InputError, match="Example 7 is damaged"):
        fit_line(None, train=Damaged())


def test_a_batch_larger_than_the_source():
    with pytest.raises(InputError, match="A batch of 4 is larger than the training set of 3 examples"):
        fit_line(None, train=OnDisk(3))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    shapes7.prepare(directory)
    return directory


def test_a_set_above_its_budget_stays_on_disk_and_is_the_same(data_dir):
    size, before = shapes7.SIZES["train"] * 12 * 20 * 3, sorted(path.name for path in data_dir.iterdir())
    whole: Any = load("shapes7", data_dir, size)
    streamed: Any = load("shapes7", data_dir, size - 1)
    assert [isinstance(data.train, Source) for data in (whole, streamed)] == [False, True]
    assert "training images streamed, 0.2 MiB where 0.2 are allowed" in streamed.source
    assert streamed.checksum is None
    assert streamed.shape == whole.shape == (12, 20, 3)
    for a, b in ((streamed.validation, whole.validation), (streamed.test, whole.test)):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
    assert len(streamed.train) == len(whole.train)
    numbers = [5, 0, len(whole.train) - 1, 5]
    for train in (streamed.train, streamed.train.first(None), streamed.train):
        read = train.read(numbers)
        np.testing.assert_array_equal(read.images, np.asarray(whole.train.images)[numbers])
        np.testing.assert_array_equal(read.labels, np.asarray(whole.train.labels)[numbers])
        assert read.labels.dtype == np.asarray(whole.train.labels).dtype
    first = streamed.train.first(11)
    assert len(first) == 11
    np.testing.assert_array_equal(first.read([10]).images[0], np.asarray(whole.train.images)[10])
    assert sorted(path.name for path in data_dir.iterdir()) == before


def test_an_image_is_decoded_once(data_dir, monkeypatch):
    seen, read = [], Stream.read
    monkeypatch.setattr(Stream, "read", lambda stream, numbers: (seen.append(numbers), read(stream, numbers))[1])
    train: Any = load("shapes7", data_dir, 0).train
    for numbers in ([3, 1, 3], [1, 3], [2, 1]):
        train.read(numbers)
    assert seen == [[1, 3], [2]]


def test_without_room_images_are_decoded_at_every_reading(data_dir):
    whole, limits = load("shapes7", data_dir), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        streamed = load("shapes7", data_dir, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (
        f"decoded at every reading, since {data_dir} has no room for them decoded (File too large)" in streamed.source
    )
    train: Any = streamed.train
    np.testing.assert_array_equal(train.read([4]).images[0], np.asarray(whole.train.images)[4])


def test_what_a_stream_holds_is_checked_when_it_is_read(tmp_path):
    images, labels = np.zeros((40, 4, 5, 1), np.float32), [0] * 40
    images[:, 0, 0, 0] = np.arange(40)
    images[17] = np.nan
    make(tmp_path, {"train": (images, labels), "test": (images[:2], [0] * 2)}, features(dtype=np.float32))
    train: Any = load("made", tmp_path, 0).train
    with pytest.raises(InputError, match="1 of 36 streamed images of 'made' hold NaN or infinite values"):
        train.read(range(len(train)))
