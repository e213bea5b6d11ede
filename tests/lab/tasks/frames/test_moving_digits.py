"""Moving digits: paths against a loop, frames against pasted digits, metrics by formula; the script, tiny."""

import json
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from PIL import Image, ImageSequence
from scipy.ndimage import uniform_filter

from experiments import moving_digits as script
from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.lab.data.load import load
from rowrnn.lab.tasks.frames.measures import squared_error, ssim
from rowrnn.lab.tasks.frames.moving_digits import SPEED, bounced, fixed_videos, moving_digits, paths

# ---- data


def make_video(t, shape=(8, 12, 1), seed=0):
    return np.random.default_rng(seed).uniform(size=(2, t, *shape)).astype(np.float32)


def test_digits_bounce_as_in_a_loop():
    rng = np.random.default_rng(0)
    place = rng.uniform(size=(50, 2)).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi, 50)
    velocity = (SPEED * np.stack([np.sin(angle), np.cos(angle)], axis=1)).astype(np.float32)
    found = jax.jit(partial(bounced, frames=30))(jnp.asarray(place), jnp.asarray(velocity))
    turned = 0
    found = np.asarray(found)
    for n in range(50):
        for axis in range(2):
            at, speed = place[n, axis], velocity[n, axis]
            for t in range(30):
                at = at + speed
                if at <= 0 or at >= 1:
                    at, speed, turned = np.float32(at >= 1), -speed, turned + 1
                np.testing.assert_allclose(found[n, t, axis], at, rtol=0, atol=2e-6)
    assert turned > 50


def test_paths_reach_every_wall_at_one_speed():
    corners = np.asarray(jax.jit(lambda key: paths(key, 300, 20, (36, 20)))(jax.random.key(0)))
    assert corners.min() == 0
    np.testing.assert_array_equal(corners.max(axis=(0, 1)), [36, 20])
    # Between walls six steps are as long as SPEED says, but for what cutting to whole pixels changes.
    runs = np.stack([corners[:, start : start + 7] for start in range(14)], axis=1).reshape(-1, 7, 2)
    free = runs[((runs > 0) & (runs < np.array([36, 20]))).all(axis=(1, 2))]
    assert len(free) > 100
    moved = np.linalg.norm((free[:, -1] - free[:, 0]) / np.array([36, 20]), axis=1)
    np.testing.assert_allclose(moved, 6 * SPEED, rtol=0, atol=np.hypot(1 / 36, 1 / 20))
    assert abs(moved.mean() - 6 * SPEED) < 0.005


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_frames_are_whole_digits_one_over_the_other(dtype):
    rng = np.random.default_rng(1)
    images = rng.integers(1, 256, (5, 6, 4, 2)).astype(dtype)
    key = jax.random.key(3)
    make = jax.jit(partial(moving_digits, digits=2, frames=7, size=16))
    videos = np.asarray(make(key, jnp.asarray(images)))
    assert videos.dtype == dtype
    path_key, order_key = jax.random.split(key, 2)
    corners = np.asarray(jax.jit(lambda key: paths(key, 10, 7, (10, 12)))(path_key)).reshape(2, 5, 7, 2)
    order = np.asarray(jax.random.permutation(order_key, 5)).tolist()
    others = [order[(order.index(n) + 1) % 5] for n in range(5)]
    expected = np.zeros((5, 7, 16, 16, 2), dtype)
    for n, t in np.ndindex(5, 7):
        for image, (top, left) in ((images[n], corners[0, n, t]), (images[others[n]], corners[1, n, t])):
            place = expected[n, t, top : top + 6, left : left + 4]
            place[:] = np.maximum(place, image)
    np.testing.assert_array_equal(videos, expected)


def test_one_digit_stays_whole_and_its_video_follows_from_the_key():
    images = jnp.asarray(np.random.default_rng(2).uniform(0.1, 1, (4, 28, 28, 1)), jnp.float32)
    make = jax.jit(lambda key: moving_digits(key, images, digits=1))
    videos = make(jax.random.key(0))
    assert videos.shape == (4, 20, 64, 64, 1)
    sums = np.broadcast_to(np.asarray(images.sum(axis=(1, 2, 3)))[:, None], (4, 20))
    np.testing.assert_allclose(videos.sum(axis=(2, 3, 4)), sums, rtol=1e-5)
    np.testing.assert_array_equal(videos, make(jax.random.key(0)))
    assert not np.array_equal(videos, make(jax.random.key(1)))


def test_videos_that_cannot_be():
    images = jnp.zeros((2, 28, 28, 1))
    for options in ({"digits": 0}, {"frames": 0}):
        with pytest.raises(ValueError, match="at least one digit and one frame"):
            moving_digits(jax.random.key(0), images, **options)
    with pytest.raises(ValueError, match="28x28 do not fit a canvas of 20x20"):
        moving_digits(jax.random.key(0), images, size=20)


# ---- metrics


def test_errors_and_similarity_are_their_formulas():
    one, other = make_video(3, (9, 10, 1), 1), make_video(3, (9, 10, 1), 2)
    expected = [[((one[n, t] - other[n, t]).astype(np.float64) ** 2).sum() for t in range(3)] for n in range(2)]
    np.testing.assert_allclose(squared_error(one, other), expected, rtol=1e-5)

    def formula(a, b, data_range):
        """Wang et al. 2004, equation 13, with the unbiased covariances that scikit-image takes, over whole windows."""
        a, b = a[..., 0].astype(np.float64), b[..., 0].astype(np.float64)
        c1, c2, unbiased = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, 49 / 48
        mean = lambda x: uniform_filter(x, 7)[3:-3, 3:-3]  # noqa: E731
        ma, mb = mean(a), mean(b)
        va, vb, vab = (unbiased * (mean(x) - y) for x, y in ((a * a, ma * ma), (b * b, mb * mb), (a * b, ma * mb)))
        return ((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()

    for options in ({}, {"data_range": 1.0}):
        data_range = options.get("data_range", 2.0)
        expected = [[formula(one[n, t], other[n, t], data_range) for t in range(3)] for n in range(2)]
        np.testing.assert_allclose(ssim(one, other, **options), expected, rtol=1e-9)
    np.testing.assert_allclose(ssim(one, one), 1)


def test_videos_that_cannot_be_compared():
    for measure in (squared_error, ssim):
        with pytest.raises(ValueError, match="Predicted and true videos need one shape"):
            measure(make_video(3), make_video(2))
    video = make_video(4)
    with pytest.raises(
        ValueError, match=r"not \[2, 3, 8, 12, 1\] and \[2, 2, 8, 12, 1\]; a video must have as many frames"
    ):
        squared_error(np.concatenate([video[:, 2:], video[:, :1]], axis=1), video[:, 2:])
    for measure in (squared_error, ssim):
        with pytest.raises(ValueError, match="floating point, not uint8"):
            measure(video, (255 * video).astype(np.uint8))
    with pytest.raises(ValueError, match="at least 7x7 pixels"):
        ssim(make_video(1, (6, 8, 1)), make_video(1, (6, 8, 1)))


# ---- the script


TINY = [
    *("--models", "gru"),
    *("--params", "50000", "--patch", "16", "--given", "2", "--ahead", "3", "--epochs", "1", "--batch", "4"),
    *(
        "--train-images",
        "12",
        "--validation-videos",
        "3",
        "--test-videos",
        "7",
        "--seeds",
        "2",
        "--learning-rate",
        "2e-2",
    ),
]


@pytest.mark.slow
def test_the_script_predicts_and_draws(tmp_path):
    with jax.numpy_dtype_promotion("standard"):  # as users run it: optax promotes
        lab.run_study(script.MovingDigits, tyro.cli(script.Options, args=[*TINY, "--output", str(tmp_path / "run")]))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["finished"]
    assert [row["model"] for row in results["summary"]] == ["ConvGRU"]
    videos = np.asarray(fixed_videos(2, load("mnist").test, 7, digits=2, frames=5))
    with np.load(tmp_path / "run" / "arrays.npz") as arrays:
        still = videos[:, 1:2].astype(np.float64) / 255
        expected = ((still - videos[:, 2:] / 255) ** 2).sum(axis=(2, 3, 4))
        np.testing.assert_allclose(arrays["last frame held/error"][0], expected.mean(axis=0), rtol=1e-4)
        for row in results["summary"]:
            assert row["copy_last_mse_per_frame"]["mean"] == pytest.approx(expected.mean(), rel=1e-4)
            assert abs(row["parameters"] - 50000) <= 0.03 * 50000
            errors = arrays[f"{row['model']}/error"]
            chex.assert_shape(errors, (2, 3))
            np.testing.assert_allclose(errors.mean(axis=1), row["mse_per_frame"]["values"], rtol=1e-5)
            assert -1 <= row["ssim"]["mean"] <= 1
            assert row["generation_share"] > 0
            chex.assert_shape(arrays[f"{row['model']}/predicted"], (6, 3, 64, 64, 1))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"films.png", "error_by_frame.png", "learning_curves.png", "films.gif", "models"} <= names
    with Image.open(tmp_path / "run" / "films.gif") as film:
        assert len(list(ImageSequence.Iterator(film))) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "cnn"], "There is no 'cnn' for --models. There are lstm, gru"),
        (["--models"], "--models is empty"),
        (["--given", "0"], "--given is 0"),
        (["--ahead", "0"], "--ahead is 0"),
        (["--digits", "0"], "--digits is 0"),
        (["--patch", "5"], "--patch is 5; expected an even number"),
    ],
)
def test_options_that_cannot_be_meant(arguments, message, tmp_path):
    options = tyro.cli(script.Options, args=[*arguments, "--output", str(tmp_path / "run")])
    with pytest.raises(InputError, match=message):
        lab.run_study(script.MovingDigits, options)
    assert not (tmp_path / "run").exists()
