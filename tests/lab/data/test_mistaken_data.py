"""Data that is given in another form than it seems to be: channels first, a path for a name."""

import warnings

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset
from rowrnn.lab.data.load import load


def dataset(*shape):
    rng = np.random.default_rng(0)
    splits = [(rng.integers(0, 256, (n, *shape), np.uint8), np.arange(n) % 2) for n in (8, 4)]
    return Dataset.from_arrays("own", *splits, class_names=("a", "b"))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 24)])
def test_channels_that_seem_to_come_first_are_warned_of(shape):
    with pytest.warns(UserWarning, match=r"channels come first in them, as in torch, pass np.moveaxis"):
        assert dataset(*shape).shape == shape


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 24, 3), (1, 28, 1), (1, 5, 4), (3, 3, 3)])
def test_channels_that_come_last_are_not(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset(*shape).shape == shape


def test_a_path_is_no_name(tmp_path):
    for name in ("./folder", "~/images", str(tmp_path)):
        with pytest.raises(InputError, match=r"There (is no file or|are no pictures .* in the) folder .*Expected"):
            load(name)


def test_a_prepared_set_in_the_working_directory_is_a_name(tmp_path, monkeypatch):
    prepared = tmp_path / "mine" / "letters" / "1.0.0"
    prepared.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"There are no pictures or clips in the folder mine.letters"):
        load("mine/letters")
    (prepared / "features.json").write_text("{}")
    with pytest.raises(InputError, match=r"'mine/letters' is no file, no folder and no data set"):
        load("mine/letters", tmp_path / "elsewhere")
