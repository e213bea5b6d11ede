"""Own arrays with classes become a data set, whatever their labels look like."""

import numpy as np
import pytest
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Split
from rowrnn.lab.data.load import Columns, load
from rowrnn.lab.data.shaping import Shaping

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 5), np.uint8)
NUMBERS = np.array([3, 7, 3, 7, 11, 11] * 2)


def saved(path, **arrays):
    np.savez(path / "set.npz", **arrays)
    return str(path / "set.npz")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (NUMBERS, ("3", "7", "11")),
        (NUMBERS[:, None], ("3", "7", "11")),
        (NUMBERS.astype(np.float32), ("3", "7", "11")),
        (np.array([f"kind {n}" for n in NUMBERS]), ("kind 3", "kind 7", "kind 11")),
        (NUMBERS == 7, ("0", "1")),
    ],
)
def test_classes_are_what_the_labels_are_in_the_order_of_their_numbers(tmp_path, labels, names):
    data = load(saved(tmp_path, x_train=IMAGES, y_train=labels, x_test=IMAGES[:1], y_test=labels[:1]))
    assert data.class_names == names
    assert data.test.labels.tolist() == [names.index(names[0])]
    np.testing.assert_array_equal(np.asarray(data.test.images)[..., 0], IMAGES[:1])
    assert isinstance(data.train, Split)
    kept = zip(np.asarray(data.train.images), data.train.labels.tolist(), strict=True)
    seen = {image.tobytes(): label for image, label in kept}
    for image, label in zip(IMAGES[..., None], labels, strict=True):
        if image.tobytes() in seen:
            spelled = str(int(np.squeeze(label))) if labels.dtype.kind != "U" else str(label)
            assert names[seen[image.tobytes()]] == spelled


def test_a_folder_of_arrays_is_a_data_set_and_a_folder_with_more_is_not(tmp_path):
    np.save(tmp_path / "x_train.npy", IMAGES)
    np.save(tmp_path / "y_train.npy", NUMBERS)
    data = load(str(tmp_path))
    assert (data.shape, data.classes) == ((6, 5, 1), 3)
    assert "Validation and test taken from the training images, a tenth each" in data.source
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 1, 1)
    assert isinstance(data.train, Split)
    assert {*data.train.labels.tolist()} == {0, 1, 2}
    (tmp_path / "notes.txt").write_text("no array")
    assert "1 other file left out: notes.txt" in load(str(tmp_path)).source
    Image.fromarray(IMAGES[0]).save(tmp_path / "picture.png")
    with pytest.raises(InputError, match="have no labels"):
        load(str(tmp_path))


def test_arrays_are_shaped_as_pictures_are(tmp_path):
    path = saved(tmp_path, x_train=IMAGES, y_train=NUMBERS)
    data = load(path, shaping=Shaping(size=(12, 10), fit="stretch"))
    assert data.shape == (12, 10, 1)
    assert data.preprocessing is not None
    assert data.preprocessing.size == (12, 10)
    seen = data.preprocessing.to_bytes(IMAGES[..., None])
    shaped = {image.tobytes() for image in seen}
    assert {image.tobytes() for image in np.asarray(data.train.images)} < shaped


def test_what_lies_around_transparent_images_is_white(tmp_path):
    transparent = np.zeros((12, 6, 5, 4), np.uint8)
    transparent[:, 2:4, 2:4] = 255
    data = load(saved(tmp_path, x_train=transparent, y_train=NUMBERS), shaping=Shaping(size=(8, 8)))
    assert data.preprocessing is not None
    assert data.preprocessing.background == 255


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "has no labels for train"),
        ({"x": IMAGES, "y": np.full(12, 3)}, "All images .* have the label 3; expected at least two"),
        ({"x": IMAGES, "y": np.full(12, np.nan)}, "NaN or fractions"),
        ({"x": IMAGES, "y": np.linspace(0, 1, 12)}, "NaN or fractions"),
        ({"x": IMAGES, "y": np.eye(12)}, r"have the shape \[12, 12\]"),
        ({"x": IMAGES, "y": NUMBERS, "x_test": IMAGES, "y_test": NUMBERS + 1}, "3 classes of the split 'test'.*: 4, 8"),
        ({"x": IMAGES, "y": NUMBERS, "x_test": IMAGES, "y_test": NUMBERS.astype(str)}, "numbers in one split"),
        ({"x": IMAGES[:1], "y": NUMBERS[:1]}, "have the label 3"),
        (
            {"x": IMAGES[:3], "y": NUMBERS[:3]},
            "3 training items of 2 classes, too few to take 2 for validation and test",
        ),
        ({"x": IMAGES[:, None].repeat(3, 1), "y": NUMBERS}, r"\[12, 3, 6, 5\], with channels first .*moveaxis"),
        (
            {"x": IMAGES, "y": NUMBERS, "x_test": IMAGES / 255, "y_test": NUMBERS},
            "are uint8 in 'train' and float64 in 'test'",
        ),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        load(saved(tmp_path, **arrays))


def test_options_that_would_do_nothing_are_refused(tmp_path):
    path = saved(tmp_path, x_train=IMAGES.astype(np.float32), y_train=NUMBERS)
    with pytest.raises(InputError, match=r"are float32 of shape \[12, 6, 5, 1\]; only uint8"):
        load(path, shaping=Shaping(size=(12, 10)))
    with pytest.raises(InputError, match="arrays, which have no columns"):
        load(path, columns=Columns(split_by="writer"))
    for name in ("mnist", "fashion_mnist"):
        with pytest.raises(InputError, match=f"'{name}' is read as it is"):
            load(name, shaping=Shaping(like_mnist=True))


def test_an_address_of_arrays_is_refused_as_one():
    with pytest.raises(InputError, match="is a URL; download it first"):
        load("https://example.org/set.npz")
