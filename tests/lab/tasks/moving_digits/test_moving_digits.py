"""Moving digits: paths against a loop, frames against pasted digits, the forecaster streamed, metrics by formula."""

import json
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from flax import nnx
from PIL import Image, ImageSequence
from scipy.ndimage import uniform_filter

from experiments import moving_digits as script
from rowrnn import lab
from rowrnn.cells import ConvGRU, ConvLSTM
from rowrnn.errors import InputError
from rowrnn.lab.data.load import load
from rowrnn.lab.tasks.moving_digits.examples import SPEED, bounced, moving_digits, paths
from rowrnn.lab.tasks.moving_digits.measures import squared_error, ssim
from rowrnn.lab.tasks.moving_digits.task import fixed_videos
from rowrnn.models.block_matching import mismatches, patches, surroundings
from rowrnn.models.forecaster import Forecaster
from tests.helpers import oracle

KINDS = {"lstm": ConvLSTM, "gru": ConvGRU}
SHAPE = (8, 12, 1)


def make_model(kind="gru", shape=SHAPE, **options):
    make = lambda: Forecaster(KINDS[kind], 3, shape, patch=4, features=5, reach=2, **options, rngs=nnx.Rngs(0))  # noqa: E731
    return oracle.random_cell(make, np.random.default_rng(0))


def make_video(t=4, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(size=(2, t, *shape)).astype(np.float32)


# ---- data


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


# ---- model


@pytest.mark.parametrize("kind", KINDS)
def test_frame_by_frame_is_the_whole(kind):
    model, video = make_model(kind), jnp.asarray(make_video())
    whole, ahead = jax.jit(lambda model, video: (model.predictions(video, 3), model(video, 3)))(model, video)
    step, state, streamed = jax.jit(lambda model, *rest: model.step(*rest)), model.initial_state(video[:, 0]), []
    for t in range(6):
        # After the frames given it is shown what it predicted.
        state, predicted = step(model, state, video[:, t] if t < 4 else streamed[-1])
        streamed.append(predicted)
    np.testing.assert_allclose(whole, np.stack(streamed, axis=1), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(ahead, whole[:, 3:])
    assert np.ptp(np.asarray(whole)) > 0.1


def test_a_second_call_outside_of_jit_compiles_nothing():
    model, video, compiled = make_model(), jnp.asarray(make_video()), []
    model.predictions(video, 3)
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: compiled.append(event))
    try:
        model.predictions(1 - video, 3)
    finally:
        jax.monitoring.clear_event_listeners()
    assert not [name for name in compiled if "backend_compile" in name]


def test_no_prediction_sees_its_own_frame():
    model, video = make_model(), make_video()
    changed = video.copy()
    changed[:, 2] = 1 - changed[:, 2]
    predictions = jax.jit(lambda video: model.predictions(video, 2))
    one, other = predictions(video), predictions(changed)
    np.testing.assert_array_equal(one[:, :2], other[:, :2])
    assert (np.abs(one - other)[:, 2:].max(axis=(0, 2, 3, 4)) > 1e-3).all()


def test_kernels_move_the_frame():
    """Against loops over pixels, from the model's own kernels and shares."""
    model, rng = make_model(shape=(8, 12, 2)), np.random.default_rng(3)
    frame = rng.uniform(size=(1, 8, 12, 2)).astype(np.float32)
    output, seen = (rng.normal(size=(1, 2, 3, n)).astype(np.float32) for n in (3, 5))
    x = nnx.relu(model.between(jnp.concatenate([output, seen], axis=-1)))
    kernels = np.exp(np.asarray(model.kernels(x), np.float64)).reshape(2, 3, 2, 2, 5)  # row or column, motion
    kernels /= kernels.sum(axis=-1, keepdims=True)
    shares = np.exp(np.asarray(model.shares(x), np.float64)).reshape(2, 3, 2, 4, 4)
    shares /= shares.sum(axis=2, keepdims=True)
    expected = np.zeros((8, 12, 2))
    for y, z, motion, i, j in np.ndindex(8, 12, 2, 5, 5):
        row, column, (gy, gx) = y + i - 2, z + j - 2, (y // 4, z // 4)
        if 0 <= row < 8 and 0 <= column < 12:
            weight = (
                shares[gy, gx, motion, y % 4, z % 4] * kernels[gy, gx, 0, motion, i] * kernels[gy, gx, 1, motion, j]
            )
            expected[y, z] += weight * frame[0, row, column]
    np.testing.assert_allclose(
        model._moved(jnp.asarray(output), jnp.asarray(seen), jnp.asarray(frame))[0], expected, atol=1e-5
    )


def test_patches_surroundings_and_mismatches_are_loops():
    rng = np.random.default_rng(4)
    frame, before = (rng.uniform(size=(1, 8, 12, 2)).astype(np.float32) for _ in range(2))
    cut, around = patches(jnp.asarray(frame), 4), surroundings(jnp.asarray(frame), 4, 2)
    padded = np.pad(frame[0], ((2, 2), (2, 2), (0, 0)))
    small = [x[0].reshape(4, 2, 6, 2, 2).mean(axis=(1, 3, 4)) for x in (frame, before)]
    found = mismatches(jnp.asarray(before), jnp.asarray(frame), 4, 2)
    chex.assert_shape(found, (1, 2, 3, 9))
    for y, x in np.ndindex(2, 3):
        np.testing.assert_array_equal(cut[0, y, x], frame[0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].ravel())
        np.testing.assert_array_equal(around[0, y, x], padded[4 * y : 4 * y + 8, 4 * x : 4 * x + 8])
        expected = np.zeros((3, 3))
        for down, across, i, j in np.ndindex(3, 3, 2, 2):
            # What stands at (row, column) has come from one half-size pixel up for down = 2, and so on.
            row, column = 2 * y + i, 2 * x + j
            up, left = row - (down - 1), column - (across - 1)
            came = small[1][up, left] if 0 <= up < 4 and 0 <= left < 6 else 0
            expected[down, across] += (small[0][row, column] - came) ** 2
        np.testing.assert_allclose(found[0, y, x], (expected - expected.mean()).ravel(), rtol=0, atol=1e-5)


def test_videos_a_forecaster_cannot_take():
    model = make_model()
    for video in (jnp.zeros((2, 3, 8, 8, 1)), jnp.zeros((2, 8, 12, 1)), jnp.zeros((2, 3, *SHAPE), jnp.uint8)):
        with pytest.raises(ValueError, match=r"takes floating-point frames \[b, t, 8, 12, 1\], not"):
            model(video)
    with pytest.raises(ValueError, match="needs at least one frame and predicts at least one, not 10 from 0"):
        model(jnp.zeros((2, 0, *SHAPE)))
    with pytest.raises(ValueError, match="not 0 from 3"):
        model(jnp.zeros((2, 3, *SHAPE)), 0)
    state = model.initial_state(jnp.zeros((2, *SHAPE)))
    for frame in (jnp.zeros((2, 8, 8, 1)), jnp.zeros((2, *SHAPE), jnp.uint8)):
        for follow in (partial(model.step, state), model.initial_state):
            with pytest.raises(ValueError, match=r"takes floating-point frames \[b, 8, 12, 1\], not "):
                follow(frame)
    for options, message in (
        ({"reach": 3}, "an even reach"),
        ({"patch": 8}, "divide"),
        ({"motions": 0}, "one motion|0 motions"),
    ):
        with pytest.raises(ValueError, match=message):
            Forecaster(ConvGRU, 3, SHAPE, **{"patch": 4, **options}, rngs=nnx.Rngs(0))


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
