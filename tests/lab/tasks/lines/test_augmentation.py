"""Random changes of lines against formulas and SciPy, one change at a time; lines in groups of similar width."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines.alphabet import Alphabet
from rowrnn.lab.tasks.lines.augmentation import LineAugmentation
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.lab.tasks.lines.groups import grouped_lines, padded_lines, width_groups
from rowrnn.models.line_reader import strips

HEIGHT, WIDTH, COLUMNS, LINES = 15, 60, 100, 12


def lines(image, count=LINES, labels=3):
    """Equal lines of an image `[h, w]`, with room at the right."""
    paper = np.pad(image, ((0, 0), (0, COLUMNS - image.shape[1])))[None, :, :, None]
    images = jnp.asarray(np.repeat(paper, count, axis=0), jnp.float32)
    widths = jnp.full((count,), image.shape[1], jnp.int32)
    return Lines(images, widths, jnp.zeros((count, labels), jnp.int32), jnp.full((count,), labels, jnp.int32))


def changed(given, key=0, **how):
    compiled = jax.jit(LineAugmentation.__call__, static_argnums=0)
    return jax.device_get(compiled(LineAugmentation(**how), given, jax.random.key(key)))


def bar(column, width=WIDTH):
    image = np.zeros((HEIGHT, width), np.float32)
    image[:, column - 1 : column + 2] = 1
    return image


def centre(image, axis):
    """Centre of the ink along an axis, of all that is across."""
    place = np.arange(image.shape[axis]) + 0.5
    weight = image.sum(axis=1 - axis)
    return (weight * place).sum() / weight.sum()


PATTERN = np.random.default_rng(0).uniform(size=(HEIGHT, WIDTH)).astype(np.float32)


def test_without_changes_lines_are_as_they_were():
    made = changed(lines(PATTERN))
    np.testing.assert_allclose(made.images, lines(PATTERN).images, atol=1e-5)
    np.testing.assert_array_equal(made.widths, WIDTH)


def test_uint8_is_brightness_in_parts_of_255():
    given = lines(PATTERN)
    bytes_ = given._replace(images=jnp.round(255 * given.images).astype(jnp.uint8))
    np.testing.assert_allclose(changed(bytes_).images, given.images, atol=0.5 / 255 + 1e-5)


def test_a_stretched_line_has_its_ink_at_stretched_columns():
    made = changed(lines(bar(40)), stretch=0.3)
    factors = []
    for image, width in zip(made.images[..., 0], made.widths, strict=True):
        factors.append(centre(image, axis=1) / 40.5)
        assert width == pytest.approx(WIDTH * factors[-1], abs=1)
        assert 0.7 <= factors[-1] <= 1.3
        assert not image[:, width:].any()
    assert max(factors) > 1.1 > 0.9 > min(factors)


def test_a_slanted_line_leans_about_its_middle_row_and_is_wider():
    made = changed(lines(bar(30)), slant=0.4)
    slants = []
    for image, width in zip(made.images[..., 0], made.widths, strict=True):
        columns = np.array([centre(row[None], axis=1) for row in image])
        slope = np.polyfit(np.arange(HEIGHT), columns, 1)[0]
        np.testing.assert_allclose(columns, columns[7] + slope * (np.arange(HEIGHT) - 7), atol=0.05)
        assert width == pytest.approx(WIDTH + abs(slope) * (HEIGHT - 1), abs=1)
        assert columns[7] == pytest.approx(30.5 + abs(slope) * 7, abs=0.05)
        slants.append(-slope)
    assert max(np.abs(slants)) <= 0.4 + 1e-3
    assert max(slants) > 0.1 > -0.1 > min(slants)


@pytest.mark.parametrize(("how", "most"), [({"shift": 3.0}, 3.0), ({"scale": 0.4}, 0.4 * 2)])
def test_rows_are_shifted_and_scaled_about_the_middle(how, most):
    stroke = np.exp(-0.5 * ((np.arange(HEIGHT) - 9) / 0.8) ** 2)  # two rows below the middle
    image = np.repeat(stroke.astype(np.float32)[:, None], WIDTH, axis=1)
    moved = np.array([centre(made, axis=0) for made in changed(lines(image), **how).images[..., 0]]) - 9.5
    assert np.abs(moved).max() <= most + 0.1
    assert moved.max() > most / 4
    assert moved.min() < -most / 4


def test_strokes_become_those_of_a_grey_dilation_or_erosion():
    given, cross = np.pad(PATTERN, ((0, 0), (0, COLUMNS - WIDTH))), ndimage.generate_binary_structure(2, 1)
    wide = ndimage.grey_dilation(given, footprint=cross, mode="nearest")
    narrow = ndimage.grey_erosion(given, footprint=cross, mode="nearest")
    found = []
    for image in changed(lines(PATTERN), thickness=1.0).images[..., 0]:
        difference = (image - given)[:, :WIDTH]
        target = (wide if difference.mean() > 0 else narrow) - given
        part = (difference * target[:, :WIDTH]).sum() / (target[:, :WIDTH] ** 2).sum()
        np.testing.assert_allclose(difference, part * target[:, :WIDTH], atol=1e-4)
        assert 0 < part <= 1
        found.append(np.sign(difference.mean()) * part)
    assert max(found) > 0.2 > -0.2 > min(found)


def test_ink_fades_and_paper_is_noisy():
    faded = changed(lines(PATTERN), fading=0.5).images[:, :, :WIDTH, 0] / PATTERN
    np.testing.assert_allclose(faded, faded[:, :1, :1] * np.ones_like(faded), rtol=1e-3)
    assert 0.5 <= faded.min() <= 0.7 < 0.8 < faded.max() <= 1 + 1e-5
    noisy = changed(lines(PATTERN), noise=0.1).images[..., 0] - lines(PATTERN).images[..., 0]
    assert 0.05 < np.abs(noisy[:, :, :WIDTH]).max() <= 0.1 + 1e-5
    assert not noisy[:, :, WIDTH:].any()


def test_parts_of_a_line_move_smoothly_and_not_far():
    ramp = np.repeat(np.linspace(0.2, 0.8, WIDTH, dtype=np.float32)[None], HEIGHT, axis=0)
    step = float(ramp[0, 1] - ramp[0, 0])
    made = changed(lines(ramp), elastic=2.0, patch=10).images[:, 3:-3, 4:-44, 0]
    moved = (made - ramp[3:-3, 4:-4]) / step  # columns, as far as rows are alike
    assert 0.5 < np.abs(moved).max() <= 2 + 1e-2
    assert np.abs(np.diff(moved, axis=2)).max() <= 4 / 10 * 1.5  # from end to end within a patch
    assert np.abs(moved[1:] - moved[:-1]).max() > 0.2  # each line in its own way


def test_a_line_is_never_too_narrow_for_its_labels_nor_wider_than_its_image():
    equal = lines(PATTERN, count=30, labels=7)  # which need 13 steps of the 15 that there are
    made = changed(equal, stretch=0.9, slant=0.5)
    assert (strips(made.widths) >= 13).all()
    assert made.widths.min() < WIDTH
    full = changed(lines(np.ones((HEIGHT, COLUMNS), np.float32)), stretch=0.9, slant=0.5)
    assert full.widths.max() <= COLUMNS
    assert len(np.unique(full.widths)) > 3


def test_changes_depend_on_the_key_and_are_compiled():
    how = LineAugmentation(0.3, 0.2, 0.1, 1.0, 1.0, 8, 0.5, 0.3, 0.1)
    one, two = (jax.jit(how)(lines(PATTERN), jax.random.key(key)).images for key in (0, 1))
    assert np.abs(np.asarray(one - two)).max() > 0.1
    assert np.abs(np.asarray(one[1:] - one[:-1])).max(axis=(1, 2, 3)).min() > 0.1
    assert one.min() >= 0
    assert one.max() <= 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"slant": -0.1}, "slant of a line is finite and at least 0, not -0.1"),
        ({"thickness": 1.5}, "thickness of a line is from 0 to 1, not 1.5"),
        ({"patch": 0}, "patch is at least 1"),
        ({"noise": float("nan")}, "not nan"),
    ],
)
def test_changes_that_cannot_be(how, message):
    with pytest.raises(InputError, match=message):
        LineAugmentation(**how)


# Lines in groups.

RNG = np.random.default_rng(3)
WIDTHS = RNG.integers(5, 90, 23)
IMAGES = [RNG.integers(0, 256, (10, width)).astype(np.uint8) for width in WIDTHS]
TEXTS = ["ab" * (width // 20 + 1) for width in WIDTHS]


def test_padded_lines_are_the_lines_and_nothing_beside():
    made = padded_lines(IMAGES, TEXTS, Alphabet("ab"))
    assert made.images.shape == (23, 10, 4 * -(-max(WIDTHS) // 4), 1)
    for row, width, labels, length, image, text in zip(*made, IMAGES, TEXTS, strict=True):
        np.testing.assert_array_equal(row[:, :width, 0], image)
        assert not row[:, width:].any()
        assert "".join("ab"[label] for label in labels[:length]) == text
        assert (labels[length:] == -1).all()


@pytest.mark.parametrize("groups", [1, 2, 4, 23, 40])
def test_groups_have_all_lines_in_order_of_width_and_one_size(groups):
    numbers = width_groups(WIDTHS, groups)
    assert len(numbers) == min(groups, 23)
    assert set(numbers.ravel()) == set(range(23))
    assert numbers.size - 23 < len(numbers)
    for narrow, wide in itertools.pairwise(numbers):
        assert WIDTHS[narrow].max() <= WIDTHS[wide].max()
        assert WIDTHS[narrow].min() <= WIDTHS[wide].min()
        assert np.median(WIDTHS[narrow]) <= np.median(WIDTHS[wide])


def test_groups_are_as_wide_as_their_lines_with_room():
    made = grouped_lines(IMAGES, TEXTS, Alphabet("ab"), groups=4, room=1.25)
    assert [len(lines.images) for lines in made] == [6] * 4
    assert [lines.images.shape[2] for lines in made] == [4 * int(np.ceil(1.25 * max(g.widths) / 4)) for g in made]
    whole = sum(lines.images.shape[2] * 6 for lines in made)
    assert whole < 0.8 * 24 * 1.25 * max(WIDTHS)
    for lines, group in zip(made, width_groups(WIDTHS, 4), strict=True):
        for row, number in zip(lines.images, group, strict=True):
            np.testing.assert_array_equal(row[:, : WIDTHS[number], 0], IMAGES[number])


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        ([], [], "at least one image with a text each, not 0 and 0"),
        (IMAGES, TEXTS[1:], "not 23 and 22"),
        ([IMAGES[0], IMAGES[1][:9]], TEXTS[:2], r"of one height, here 10, not \[9, "),
        (IMAGES[:1], ["abc"], r"'abc' has 'c' \(LATIN SMALL LETTER C"),
    ],
)
def test_what_no_lines_are_made_of(images, texts, message):
    for make in (padded_lines, grouped_lines):
        with pytest.raises(InputError, match=message):
            make(images, texts, Alphabet("ab"))
    with pytest.raises(InputError, match="wider than its batch, of 4"):
        padded_lines(IMAGES, TEXTS, Alphabet("ab"), columns=4)
