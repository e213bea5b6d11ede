"""What pictures decide about their own size, colour and padding."""

import dataclasses
import weakref

import numpy as np
import pytest

from rowrnn.lab.data.shaping import Shaping, border_of, in_words, size_of, standardized
from rowrnn.saving.preprocessing import Preprocessing
from tests.helpers.tiny_sets import array_of


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(30, 40)] * 3, (30, 40)),  # one size of at most 96 pixels is kept
        ([(96, 96)], (96, 96)),
        ([(97, 194)], (32, 64)),  # a larger one gets a longer side of 64
        ([(480, 640), (480, 640)], (48, 64)),
        ([(640, 480)], (64, 48)),
        ([(30, 40), (60, 80), (15, 20)], (32, 40)),  # of several, the median aspect and longer side, in fours
        ([(5, 50), (5, 49)], (4, 48)),
    ],
)
def test_sizes_decide_the_size(sizes, expected):
    assert size_of(sizes) == expected


def test_colour_and_padding_follow_from_the_pictures():
    dark, light = np.full((6, 8, 1), 9, np.uint8), np.full((6, 8, 3), 200, np.uint8)
    dark[1:-1, 1:-1] = 255  # only the border counts
    assert border_of([dark]) == 9
    assert Shaping().decide([dark]) == Preprocessing((6, 8), "pad", channels=1, background=9)
    assert Shaping().decide([dark, light, light]).channels == 3
    assert Shaping().decide([dark, light, light]).background == 200
    assert Shaping(colour="grey").decide([light]).channels == 1
    assert Shaping(colour="colour").decide([dark]).channels == 3
    assert Shaping(size=(12, 0), fit="crop").decide([dark]) == Preprocessing((12, None), "crop", background=9)
    assert Shaping(like_mnist=True).decide([light]) == Preprocessing((28, 28), like_mnist=True)


def test_mean_and_deviation_are_those_of_the_pixels():
    images = np.stack([array_of(seed, 6, 8) for seed in range(5)])
    images[..., 2] = 100
    found = standardized(Preprocessing((6, 8), channels=3), images)
    assert found.mean is not None
    assert found.std is not None
    values = images / 255
    np.testing.assert_allclose(found.mean, values.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std[:2], values.std(axis=(0, 1, 2))[:2], rtol=1e-12)
    assert found.std[2] == 1e-3


def test_a_sentence_says_what_models_see():
    seen = Preprocessing((48, 64), channels=3)
    assert in_words(seen) == "Models see 48x64 pixels, in colour."
    assert in_words(dataclasses.replace(seen, size=(40, None), channels=1, invert=True)) == (
        "Models see 40 rows of pixels, grey, light and dark exchanged."
    )


def test_photographs_are_looked_at_one_by_one():
    seen: list[weakref.ref] = []

    def photographs():
        for number in range(6):
            picture = array_of(number, 40, 30)
            seen.append(weakref.ref(picture))
            yield picture
            del picture
            assert sum(one() is not None for one in seen) <= 1

    assert Shaping().decide(photographs()).size == (40, 30)
    assert len(seen) == 6
