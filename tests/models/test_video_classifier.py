"""Classifiers of videos: a cell over the features of frames, in one call or frame by frame, and their averages."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import CELLS, GRU, ConvGRU
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier
from tests.helpers import oracle
from tests.helpers.problem import random_like


@pytest.fixture(scope="module")
def videos():
    return jnp.asarray(np.random.default_rng(4).uniform(size=(3, 4, 9, 6, 2)), jnp.float32)


def seen(cnn, videos):
    """Features of every frame, by the library's own convolution."""

    def convolved(x, conv, padding):
        how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        return jax.lax.conv_general_dilated(x, conv.kernel[...], (2, 2), [(padding, padding)] * 2, **how)

    frames = 8 * videos.reshape(12, 9, 6, 2)
    x = np.maximum(convolved(frames, cnn.conv1, 2) + cnn.conv1.bias[...][None, None, None], 0)
    x = np.maximum(convolved(x, cnn.conv2, 1) + cnn.conv2.bias[...][None, None, None], 0)
    return linear(cnn.linear, np.asarray(x).reshape(12, -1)).reshape(3, 4, -1)


def linear(layer, x):
    return np.asarray(x, np.float64) @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])


def watcher(name, seed=0):
    rngs = nnx.Rngs(0)
    cnn = FrameCNN((9, 6, 2), 4, 5, rngs=rngs)
    model = random_like(VideoClassifier(cnn, CELLS[name](5, 3, rngs=rngs), 7, rngs=rngs), seed)
    # Features of about 1, where gates still move.
    model.cnn.linear.kernel[...] *= 0.02
    return model


@pytest.mark.parametrize("name", ["lstm", "gru", "lru"])
def test_a_video_is_what_the_cell_makes_of_the_features_of_its_frames(name, videos):
    model = watcher(name)
    outputs, _ = oracle.run(name, oracle.parameters_of(model.recurrent.cell), seen(model.cnn, videos))
    expected = linear(model.head, outputs)
    whole, by_frame = jax.jit(lambda model, videos: (model(videos), model.logits_by_frame(videos)))(model, videos)
    np.testing.assert_allclose(by_frame, expected, atol=1e-4)
    np.testing.assert_allclose(whole, expected[:, -1], atol=1e-4)


def streamed(model, videos):
    state, logits = model.initial_state(videos[:, 0]), []
    for frame in range(videos.shape[1]):
        state, now = model.step(state, videos[:, frame])
        logits.append(now)
    return jnp.stack(logits, axis=1)


@pytest.mark.parametrize("name", ["lstm", "gru", "lru"])
def test_frame_by_frame_is_the_whole_video(name, videos):
    model = watcher(name)

    @jax.jit
    def both(model, videos):
        return streamed(model, videos), model.logits_by_frame(videos)

    frame_by_frame, whole = both(model, videos)
    np.testing.assert_allclose(frame_by_frame, whole, atol=1e-5)


def test_frame_by_frame_has_the_gradients_of_the_whole_video(videos):
    weights = jnp.asarray(np.random.default_rng(5).normal(size=(3, 4, 7)), jnp.float32)

    @jax.jit
    def gradients(model):
        whole = jax.grad(lambda model: (weights * model.logits_by_frame(videos)).sum())(model)
        return whole, jax.grad(lambda model: (weights * streamed(model, videos)).sum())(model)

    whole, of_stream = gradients(watcher("gru"))
    assert all(abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(whole))
    chex.assert_trees_all_close(of_stream, whole, rtol=1e-4, atol=1e-4)


def test_an_average_knows_no_order(videos):
    rngs = nnx.Rngs(0)
    model = random_like(FrameAverage(FrameCNN((9, 6, 2), 4, 5, rngs=rngs), 6, 7, rngs=rngs))
    features = seen(model.cnn, videos)

    def answer(features):
        return linear(model.head, np.maximum(linear(model.between, features), 0))

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    close(model(videos), answer(features.mean(axis=1)))
    close(model(videos[:, [2, 0, 3, 1]]), model(videos))
    by_frame = np.stack([answer(features[:, : last + 1].mean(axis=1)) for last in range(4)], axis=1)
    close(model.logits_by_frame(videos), by_frame)
    # And of videos of one frame it sees each on its own.
    close(model.logits_of_frames(videos), answer(features))
    close(model.logits_of_frames(videos)[:, 2], model(videos[:, 2:3]))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 0, 9, 6, 2), r"t at least 1, not \[3, 0, 9, 6, 2\]"),
        ((3, 4, 9, 7, 2), r"Videos have shape \[b, t, 9, 6, 2\] here, .* not \[3, 4, 9, 7, 2\]"),
        ((3, 9, 6, 2), r"Videos have shape \[b, t, 9, 6, 2\] here, .* not \[3, 9, 6, 2\]"),
    ],
)
def test_videos_that_do_not_fit(shape, message):
    model, rngs = watcher("gru"), nnx.Rngs(0)
    average = FrameAverage(model.cnn, 6, 7, rngs=rngs)
    wrong = jnp.zeros(shape)
    for read in (model, model.logits_by_frame, average, average.logits_by_frame, average.logits_of_frames):
        with pytest.raises(ValueError, match=message):
            read(wrong)


def test_frames_that_do_not_fit():
    model = watcher("gru")
    state = model.initial_state(jnp.zeros((3, 9, 6, 2)))
    for read in (model.initial_state, lambda frame: model.step(state, frame)):
        for shape in ((3, 9, 7, 2), (3, 9, 6)):
            with pytest.raises(ValueError, match=rf"\[b, 9, 6, 2\] here, b at least 1, not \[{str(shape)[1:-1]}\]"):
                read(jnp.zeros(shape))
    with pytest.raises(ValueError, match="floating-point"):
        model(jnp.zeros((3, 4, 9, 6, 2), jnp.uint8))


def test_models_that_cannot_be():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="at least one pixel, channel and feature"):
        FrameCNN((9, 6, 2), 0, 5, rngs=rngs)
    cnn = FrameCNN((9, 6, 2), 4, 5, rngs=rngs)
    for cell in (GRU(6, 3, rngs=rngs), ConvGRU(5, 3, rngs=rngs)):
        with pytest.raises(ValueError, match="sees 5 features"):
            VideoClassifier(cnn, cell, 7, rngs=rngs)
