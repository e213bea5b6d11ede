"""Preprocessing against PIL and JAX, the same in NumPy, in JAX and in an exported program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from PIL import Image, ImageDraw, ImageOps

from rowrnn.errors import InputError
from rowrnn.lab.data.mnist import load_bundled as load
from rowrnn.saving import Card, Preprocessing
from rowrnn.saving.resampling import resample, triangle_weights
from tests.helpers.cases import thinned

SIZES = ((20, 31), (60, 90), (40, 20), (16, None), (None, 16))


def pictures(height=36, width=53, channels=3):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), np.uint8)


def by_pil(image, size, fit, grey):
    """What PIL makes of one picture."""
    picture = Image.fromarray(image)
    box = size[::-1]
    how = {
        "stretch": lambda: picture.resize(box, Image.Resampling.BILINEAR),
        "pad": lambda: ImageOps.pad(picture, box, Image.Resampling.BILINEAR, color=(grey,) * 3),
        "crop": lambda: ImageOps.fit(picture, box, Image.Resampling.BILINEAR),
    }
    return np.asarray(how[fit]())


@pytest.mark.parametrize("size", thinned({str(size): size for size in SIZES}, 2))
@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_pictures_are_those_of_pil(size, fit):
    images = pictures()
    preprocessing = Preprocessing(size, fit, 3, background=7)
    found = preprocessing.to_bytes(images)
    height = -(-36 * 16 // 53) if size[0] is None else size[0]
    width = -(-53 * 16 // 36) if size[1] is None else size[1]
    assert found.shape == (2, height, width, 3)
    expected = by_pil(images[1], (height, width), "stretch" if None in size else fit, 7)
    np.testing.assert_allclose(found[1].astype(int), expected, rtol=0, atol=1)  # PIL rounds between its two passes.
    in_jax = preprocessing.to_bytes(jnp.asarray(images))
    assert isinstance(found, np.ndarray)
    assert isinstance(in_jax, jax.Array)
    np.testing.assert_array_equal(in_jax, found)


@pytest.mark.parametrize("shape", [(9, 11), (50, 70), (9, 70)])
def test_a_resize_is_that_of_jax(shape):
    images = pictures().astype(np.float32)
    weights = []
    for old, new in zip(images.shape[1:3], shape, strict=True):
        step = np.float32(old / new)
        centres = (np.arange(new, dtype=np.float32) + 0.5) * step
        weights.append(triangle_weights(np, old, centres, np.asarray(step)))
    expected = jax.image.resize(images, (2, *shape, 3), "linear", antialias=True, precision="highest")
    np.testing.assert_allclose(resample(np, images, *weights), expected, rtol=0, atol=2e-3)  # of 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_colours_are_those_of_pil(mode, channels):
    image = pictures(channels={"L": 1, "RGB": 3, "RGBA": 4}[mode])[0]
    picture = Image.fromarray(image[..., 0] if mode == "L" else image)
    if mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    expected = np.asarray(picture.convert("RGB").convert("L" if channels == 1 else "RGB"))
    found = Preprocessing((None, None), channels=channels).to_bytes(image[None])[0]
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_values_are_scaled_by_channel():
    images = pictures()
    preprocessing = Preprocessing((None, None), channels=3, invert=True, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    expected = ((255 - images.astype(np.float64)) / 255 - [0.1, 0.2, 0.3]) / [1.0, 2.0, 4.0]
    for of in (images, jnp.asarray(images)):
        found = preprocessing(of)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    clips = preprocessing.to_floats(images[None])
    np.testing.assert_allclose(clips[0], preprocessing.to_floats(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing((20, 31), "pad", 1, invert=True, background=200),
        Preprocessing((20, 31), "crop", 3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)),
        Preprocessing((16, None)),
        Preprocessing((28, 28), like_mnist=True),
    ],
    ids=["pad", "crop", "free width", "like MNIST"],
)
def test_one_program_takes_images_of_any_size(preprocessing):
    shape = export.symbolic_shape("b, h, w, 3")
    exported = export.export(jax.jit(preprocessing))(jax.ShapeDtypeStruct(shape, np.uint8))
    for height, width in ((36, 53), (11, 7)):
        images = pictures(height, width)
        np.testing.assert_allclose(exported.call(images), preprocessing(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 3)}, "height and a width of at least 1 pixel"),
        ({"channels": 2}, r"1 channel \(grey\) or 3"),
        ({"mean": (0.1, 0.2)}, "as many values of mean"),
        ({"std": (0.0,)}, "above zero"),
        ({"background": 256}, "from 0 to 255"),
        ({"like_mnist": True}, "28x28 pixels and 1 channel"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    values: dict[str, Any] = {"size": (3, 3), **options}
    with pytest.raises(InputError, match=message):
        Preprocessing(**values)


def test_other_arrays_are_refused():
    for images in (pictures()[0], pictures().astype(np.int32), pictures(channels=2), pictures(height=0)):
        with pytest.raises(InputError):
            Preprocessing((3, 3)).to_bytes(images)


def test_a_card_comes_back_from_json():
    card = Card("images", "A model", Preprocessing((16, None), mean=(0.5,)), ("uint8[b,h,w,1]",), ("a", "b"))
    assert Card.from_json(card.to_json()) == card
    assert Card.from_json({}) == Card()
    with pytest.raises(InputError, match="No preprocessing of this version has the fields"):
        Card.from_json({"preprocessing": {"size": [3, 3], "sharpen": True}})


# Digits like MNIST's.


def drawn(size, at, pen, ink="black", paper="white", scale=1.0):
    """A seven of straight lines: its top left corner, and the width of its strokes."""
    picture = Image.new("RGBA", size, paper)
    points = [(0, 0), (60, 0), (20, 90)]
    places = [(at[0] + scale * x, at[1] + scale * y) for x, y in points]
    ImageDraw.Draw(picture).line(places, fill=ink, width=pen, joint="curve")
    return np.asarray(picture)


@pytest.mark.parametrize(
    "drawing",
    [
        drawn((200, 180), (20, 30), 12),
        drawn((200, 180), (110, 60), 12, ink="navy", paper=(0, 0, 0, 0)),
        drawn((300, 300), (40, 100), 24, scale=2.0),
        drawn((200, 180), (20, 30), 12, ink="white", paper="black"),
        drawn((90, 120), (10, 15), 10, ink=(90, 90, 90), paper=(200, 200, 190)),
    ],
    ids=["off centre", "transparent", "large", "light on dark", "pale"],
)
def test_a_drawn_digit_becomes_like_those_of_mnist(drawing):
    found = Preprocessing((28, 28), like_mnist=True).to_bytes(drawing[None])[0, ..., 0]
    rows, columns = np.nonzero(found > 255 / 8)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (20, 21)  # fits the box, up to the filter's blur
    mass = found / found.sum(dtype=np.float64)
    centre = [(mass.sum(axis=1 - axis) * (np.arange(28) + 0.5)).sum() for axis in range(2)]
    np.testing.assert_allclose(centre, 14.5, rtol=0, atol=0.75)
    assert found.max() == 255
    reference = Preprocessing((28, 28), like_mnist=True).to_bytes(drawn((200, 180), (20, 30), 12)[None])[0, ..., 0]
    assert np.corrcoef(found.ravel(), reference.ravel())[0, 1] > 0.9


def test_a_digit_of_mnist_comes_back_whatever_was_done_to_it():
    digits = np.asarray(load().test.images[:60])
    preprocessing = Preprocessing((28, 28), like_mnist=True)
    # Few are laid a pixel aside: their centre of mass is half way between two pixels.
    assert (correlations(preprocessing.to_bytes(digits), digits) > 0.97).mean() > 0.9
    shifted = np.pad(digits, ((0, 0), (5, 40), (31, 2), (0, 0)))
    found = preprocessing.to_bytes(shifted)
    # Ink of a few digits reaches the border, which is then not quite taken for black paper.
    np.testing.assert_allclose(found.astype(int), preprocessing.to_bytes(digits), rtol=0, atol=3)
    np.testing.assert_array_equal(preprocessing.to_bytes(255 - shifted), found)
    for factor in (2.5, 5.0):
        larger = Preprocessing((int(73 * factor), int(61 * factor))).to_bytes(shifted)
        assert np.median(correlations(preprocessing.to_bytes(larger), digits)) > 0.9
    empty = np.full((1, 40, 30, 1), 93, np.uint8)
    assert not preprocessing.to_bytes(empty).any()


def correlations(images, others):
    """The correlation of each picture with the other of the same place."""
    pairs = zip(images, others, strict=True)
    return np.array([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs])
