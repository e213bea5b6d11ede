"""A picture is read as a person sees it."""

import io

import numpy as np
import pytest
from PIL import Image

from rowrnn.lab.data import pictures
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.pictures import read_picture
from tests.helpers.tiny_sets import ORIENTATION, array_of, save_picture


def read(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return read_picture(Item("a picture", content=file.getvalue))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_files_are_read_as_they_are(tmp_path, channels):
    array = save_picture(tmp_path / "a b.png", array_of(0, channels=channels))
    np.testing.assert_array_equal(read_picture(Item("a b.png", tmp_path / "a b.png")), array)


# What a camera held upright stores, by the number that says how it was held: see the EXIF standard, tag 274.
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_as_its_exif_says(orientation, kind):
    upright = array_of(1)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read(stored, kind, exif=exif, **options), upright)


def test_what_is_transparent_lies_on_white():
    colours, alpha = array_of(2), array_of(3, channels=1)
    expected = colours * (alpha / 255) + 255 * (1 - alpha / 255)
    found = read(Image.fromarray(np.concatenate([colours, alpha], axis=-1)))
    np.testing.assert_array_equal(found, np.floor(expected + 0.5))


def test_a_grey_file_with_alpha_stays_grey_on_white():
    array = np.stack([np.full((4, 5), 40, np.uint8), np.repeat([[0, 255, 0, 255, 0]], 4, 0).astype(np.uint8)], -1)
    found = read(Image.fromarray(array))
    np.testing.assert_array_equal(found[..., 0], np.repeat([[255, 40, 255, 40, 255]], 4, 0))


def test_sixteen_bits_are_scaled_to_eight():
    values = np.array([[0, 1, 128, 129, 257, 32_768], [65_535, 65_407, 65_406, 514, 1_000, 4_096]], np.uint16)
    found = read(Image.fromarray(values))
    np.testing.assert_array_equal(found[..., 0], np.round(values / 257))
    assert found.dtype == np.uint8


def test_one_bit_is_black_and_white():
    bits = array_of(4, channels=1)[..., 0] > 127
    np.testing.assert_array_equal(read(Image.fromarray(bits))[..., 0], 255 * bits)


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    np.testing.assert_array_equal(read(image)[0], [[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    np.testing.assert_array_equal(read(image, transparency=1)[0], [[10, 20, 30], [255, 255, 255], [70, 80, 90]])


def test_a_palette_of_greys_is_grey():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 10, 10, 40, 40, 40, 70, 70, 70])
    image.putdata([0, 1, 2])
    np.testing.assert_array_equal(read(image), [[[10], [40], [70]]])


def test_print_colours_become_screen_colours():
    found = read(Image.new("CMYK", (2, 2), (255, 0, 0, 0)), "TIFF")
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[0, 0], [0, 255, 255])  # cyan takes all red


def test_of_an_animation_it_is_the_first_frame():
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    assert read(frames[0], "GIF", save_all=True, append_images=frames[1:]).max() == 10


def test_floating_point_pictures_are_refused():
    with pytest.raises(Unreadable, match=r"a picture cannot be read.*floating-point values; expected 8 or 16 bits"):
        read(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")


def test_pictures_of_too_many_pixels_are_refused(monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 10)
    with pytest.raises(Unreadable, match="a picture has 4x3 pixels; expected at most 10"):
        read(Image.new("L", (4, 3)))


def broken(folder, name, content=b"no picture"):
    (folder / name).write_bytes(content)
    return Item(name, folder / name)


def test_a_broken_file_is_named(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(array_of(5, 60, 60)).save(whole, "PNG")
    for item in (
        broken(tmp_path, "text.png"),
        broken(tmp_path, "cut.png", whole.getvalue()[:3000]),
        broken(tmp_path, "empty.png", b""),
        Item("gone.png", tmp_path / "gone.png"),
    ):
        with pytest.raises(Unreadable, match=item.name):
            read_picture(item)
