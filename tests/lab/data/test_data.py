"""The bundled MNIST against the published facts, and the checks of arrays against arrays that are wrong."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.data.fixed import AT_ONCE, fixed_examples
from rowrnn.lab.data.load import load
from rowrnn.lab.data.mnist import FILE, load_bundled


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")


def test_mnist_is_the_published_set(mnist):
    assert mnist.shape == (28, 28, 1)
    assert mnist.classes == 10
    assert (len(mnist.train), len(mnist.validation), len(mnist.test)) == (55_000, 5_000, 10_000)
    assert mnist.train.images.dtype == np.uint8
    # Class counts of the test set and of the training set as LeCun et al. distribute them.
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    whole = np.concatenate([mnist.train.labels, mnist.validation.labels])
    assert np.bincount(whole).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]


def test_validation_and_training_images_are_the_training_set_once_each(mnist):
    with np.load(FILE) as arrays:
        expected = sorted(hashlib.sha256(image).digest() for image in arrays["train_images"])
    both = np.concatenate([mnist.train.images, mnist.validation.images])
    assert sorted(hashlib.sha256(image.tobytes()).digest() for image in both) == expected


def test_the_split_is_the_same_every_time(mnist):
    again = load("mnist")
    np.testing.assert_array_equal(mnist.validation.labels, again.validation.labels)
    assert mnist.checksum == again.checksum


def test_a_damaged_file_is_named_with_both_checksums(tmp_path):
    damaged = tmp_path / "mnist.npz"
    content = bytearray(FILE.read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged: .*mnist.npz has SHA-256 .* expected 39b9b1ff") as caught:
        load_bundled(damaged)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read .* Reinstall"):
        load_bundled(tmp_path / "mnist.npz")


def arrays(n=20, shape=(4, 3, 1), dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (n, *shape)).astype(dtype), rng.integers(0, 3, n)


def dataset(train=None, test=None):
    return Dataset.from_arrays("toy", train or arrays(), test or arrays(7), ("a", "b", "c"))


def test_a_small_set_gives_a_tenth_to_validation():
    toy = dataset()
    assert (len(toy.train), len(toy.validation), len(toy.test)) == (18, 2, 7)
    assert toy.class_names == ("a", "b", "c")
    assert toy.test.labels.dtype == np.int32


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, y: (x[..., 0], y), r"shape \[20, 4, 3\]; expected \[n, h, w, c\]"),
        (lambda x, y: (x[:0], y[:0]), r"shape \[0, 4, 3, 1\]"),
        (lambda x, y: (x.astype(np.int64), y), "int64; expected uint8"),
        (lambda x, y: (x, y[:-1]), r"shape \[19\]; expected one integer for each of 20"),
        (lambda x, y: (x, y.astype(np.float32)), "float32"),
        (lambda x, y: (x, y + 1), "run from 1 to 3; expected 0 to 2"),
        (lambda x, y: (x, y - 1), "run from -1 to 1; expected 0 to 2"),
    ],
)
@pytest.mark.parametrize("split", ["training", "test"])
def test_wrong_arrays_are_refused(wrong, message, split):
    broken = wrong(*arrays())
    with pytest.raises(InputError, match=f"The {split} .*{message}"):
        dataset(**{"train" if split == "training" else "test": broken})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_that_are_not_finite_are_counted_and_the_first_is_named(split, bad):
    images, labels = arrays(dtype=np.float32)
    images[[4, 9], 1, 2] = bad
    with pytest.raises(InputError, match=r"2 of 20 .*NaN or infinite values, the first at index 4"):
        dataset(**{split: (images, labels)})


def test_images_of_another_size_in_the_test_set_are_refused():
    with pytest.raises(InputError, match=r"\[4, 3, 1\] in the training set and \[5, 3, 1\] in the test set"):
        dataset(test=arrays(shape=(5, 3, 1)))


def test_as_float_scales_bytes_and_keeps_floats():
    np.testing.assert_allclose(
        as_float(jnp.array([[[[0]], [[51]], [[255]]]], jnp.uint8)).ravel(), [0, 0.2, 1], rtol=1e-6
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 1)), jnp.float32)
    np.testing.assert_array_equal(as_float(x), x)


def test_a_split_is_a_pytree():
    split = jax.tree.map(lambda a: a[:2], Split(*map(jnp.asarray, arrays())))
    assert len(split) == 2
    assert split.images.shape == (2, 4, 3, 1)


def test_no_augmentation_changes_nothing():
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 6, 7, 2)), jnp.float32)
    assert Augmentation()(images, jax.random.key(0)) is images
    np.testing.assert_allclose(Augmentation(shift=1e-7)(images, jax.random.key(0)), images, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "row_moments", "column_moments"),
    [
        # Each change moves the point (row, column) = (3, 0) from the centre along one line: which, and how far at most.
        (Augmentation(shift=2.0), (2.0, 2.0), (2.0, 2.0)),
        (Augmentation(rotation=20.0), (3 - 3 * np.cos(np.radians(20)), 0.0), (3 * np.sin(np.radians(20)),) * 2),
        (Augmentation(zoom=0.3), (0.9, 0.9), (0.0, 0.0)),
        (Augmentation(shear=0.5), (0.0, 0.0), (1.5, 1.5)),
    ],
)
def test_each_change_moves_a_point_as_its_formula_says(change, row_moments, column_moments):
    size = 21
    row, column = np.meshgrid(np.arange(size) - 10.0, np.arange(size) - 10.0, indexing="ij")
    # A smooth spot at (3, 0): its centre of mass tells where it went.
    spot = np.exp(-((row - 3) ** 2 + column**2) / 4).astype(np.float32)[None, :, :, None]
    moved = np.asarray(change(jnp.repeat(spot, 400, axis=0), jax.random.key(0)))[..., 0]
    mass = moved.sum(axis=(1, 2))
    rows, columns = ((moved * axis).sum(axis=(1, 2)) / mass for axis in (row, column))
    for moments, found, centre in ((row_moments, rows, 3.0), (column_moments, columns, 0.0)):
        towards, away = moments
        # Uniform draws of 400 images come within 2 % of both ends and, with interpolation, not 5 % beyond.
        np.testing.assert_allclose(found.min(), centre - towards, atol=0.05 * max(towards, 0.6) + 0.02)
        np.testing.assert_allclose(found.max(), centre + away, atol=0.05 * max(away, 0.6) + 0.02)


def test_every_image_is_changed_its_own_way_and_the_same_key_repeats_it():
    image = np.random.default_rng(0).uniform(size=(1, 8, 8, 1))
    images = jnp.asarray(np.repeat(image, 6, axis=0), jnp.float32)
    change = Augmentation(shift=1.0, rotation=10.0, zoom=0.1, shear=0.1)
    moved = change(images, jax.random.key(1))
    assert len(np.unique(np.asarray(moved)[:, 4, 4, 0])) == 6
    np.testing.assert_array_equal(moved, change(images, jax.random.key(1)))


def test_every_set_has_a_validation_image():
    assert len(dataset(train=arrays(2)).validation) == 1
    with pytest.raises(InputError, match="one training image; expected at least 2"):
        dataset(train=arrays(1))


@pytest.mark.parametrize("wrong", [{"shift": -1.0}, {"shift": float("inf")}, {"rotation": float("nan")}, {"zoom": 1.0}])
def test_an_augmentation_refuses_numbers_out_of_range(wrong):
    with pytest.raises(InputError, match="largest random"):
        Augmentation(**wrong)


def test_fixed_sets_are_made_in_parts_and_cut():
    digits = Split(np.full((3, 2, 2, 1), 7, np.uint8), np.array([4, 5, 6]))

    def make(key, digits, numbers):
        of_number = numbers % len(digits)
        return {
            "number": numbers,
            "label": digits.labels[of_number],
            "image": jax.random.uniform(key, numbers.shape),
            "digit": digits.images[of_number],
        }

    count = AT_ONCE + 3
    found = fixed_examples(make, jax.random.key(1), digits, count)
    np.testing.assert_array_equal(found["number"], np.arange(count))
    np.testing.assert_array_equal(found["label"], 4 + np.arange(count) % 3)
    np.testing.assert_array_equal(found["digit"], np.full((count, 2, 2, 1), 7, np.uint8))
    assert found["image"].dtype == np.uint8
    parts = [jax.random.uniform(jax.random.fold_in(jax.random.key(1), first), (AT_ONCE,)) for first in (0, AT_ONCE)]
    np.testing.assert_allclose(found["image"], 255 * np.concatenate(parts)[:count], atol=0.501)
    assert len(fixed_examples(make, jax.random.key(1), digits, 2)["number"]) == 2

    def refuse(key, digits, numbers):
        raise ValueError("Digits of 2x2.")

    with pytest.raises(InputError, match="Digits of 2x2"):
        fixed_examples(refuse, jax.random.key(1), digits, 2)
