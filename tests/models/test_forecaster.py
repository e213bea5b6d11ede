"""The forecaster: frame by frame as the whole, kernels that move what they see, and what it refuses."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import ConvGRU, ConvLSTM
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
    other = 1 - video
    model.predictions(video, 3)
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: compiled.append(event))
    try:
        model.predictions(other, 3)
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
    for video in (jnp.zeros((2, 3, 8, 10, 1)), jnp.zeros((2, 8, 12, 1)), jnp.zeros((2, 3, *SHAPE), jnp.uint8)):
        with pytest.raises(ValueError, match=r"frames \[b, t, h, w, 1\] whose sides are multiples of 4, not"):
            model(video)
    with pytest.raises(ValueError, match="needs at least one frame and predicts at least one, not 10 from 0"):
        model(jnp.zeros((2, 0, *SHAPE)))
    with pytest.raises(ValueError, match="not 0 from 3"):
        model(jnp.zeros((2, 3, *SHAPE)), 0)
    state = model.initial_state(jnp.zeros((2, *SHAPE)))
    for frame in (jnp.zeros((2, 8, 8, 2)), jnp.zeros((2, *SHAPE), jnp.uint8)):
        for follow in (partial(model.step, state), model.initial_state):
            with pytest.raises(ValueError, match=r"frames \[b, h, w, 1\] whose sides are multiples of 4, not "):
                follow(frame)
    for options, message in (
        ({"reach": 3}, "an even reach"),
        ({"patch": 8}, "divide"),
        ({"motions": 0}, "one motion|0 motions"),
    ):
        with pytest.raises(ValueError, match=message):
            Forecaster(ConvGRU, 3, SHAPE, **{"patch": 4, **options}, rngs=nnx.Rngs(0))
