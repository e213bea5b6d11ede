"""Classifiers of videos: a cell over the features of frames, in one call or frame by frame, and their averages."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import CELLS, GRU, ConvGRU
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier
from rowrnn.sequence import Recurrent, Transformer
from rowrnn.sequence.stack import stack
from tests.helpers import oracle
from tests.helpers.cases import thinned
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
    cnn = FrameCNN((9, 6, 2), 4, 5, gain=8.0, rngs=rngs)
    how: dict[str, Any] = {"causal": True, "longest": 4, "heads": 2} if name == "transformer" else {}
    layer = {"transformer": Transformer, **CELLS}[name](5, 3, **how, rngs=rngs)
    model = random_like(VideoClassifier(cnn, layer, 7, rngs=rngs), seed)
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


@pytest.mark.parametrize("name", [*thinned(["lstm", "gru", "lru"], 3), "transformer"])
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
    model = random_like(FrameAverage(FrameCNN((9, 6, 2), 4, 5, gain=8.0, rngs=rngs), 6, 7, rngs=rngs))
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


def test_the_context_is_a_convolution_over_time_that_looks_back(videos):
    cnn = random_like(FrameCNN((9, 6, 2), 4, 5, context=3, rngs=nnx.Rngs(0)))
    # The kernel of a convolution over time, height and width: the channels of each frame lie beside each other.
    kernel = jnp.stack(jnp.split(cnn.conv1.kernel[...], 3, axis=2))
    how = {"dimension_numbers": ("NTHWC", "THWIO", "NTHWC")}
    x = jax.lax.conv_general_dilated(videos, kernel, (1, 2, 2), [(2, 0), (2, 2), (2, 2)], **how)
    x = jnp.maximum(x + cnn.conv1.bias[...][None, None, None, None], 0)
    kernel = cnn.conv2.kernel[...][None]
    x = jax.lax.conv_general_dilated(x, kernel, (1, 2, 2), [(0, 0), (1, 1), (1, 1)], **how)
    x = jnp.maximum(x + cnn.conv2.bias[...][None, None, None, None], 0)
    np.testing.assert_allclose(cnn(videos), linear(cnn.linear, np.asarray(x).reshape(3, 4, -1)), rtol=1e-4, atol=1e-4)


def test_a_stack_and_a_context_read_frame_by_frame_too(videos):
    cnn = FrameCNN((9, 6, 2), 4, 5, context=3, rngs=nnx.Rngs(0))
    model = random_like(VideoClassifier(cnn, stack(GRU, 5, 3, layers=2, rngs=nnx.Rngs(1)), 7, rngs=nnx.Rngs(2)))
    model.cnn.linear.kernel[...] *= 0.1
    found = jax.jit(streamed)(model, videos)
    np.testing.assert_allclose(found, model.logits_by_frame(videos), atol=1e-5)
    assert abs(np.diff(found, axis=1)).max() > 0.01


def test_a_mean_is_that_of_the_outputs_of_all_frames(videos):
    cnn = FrameCNN((9, 6, 2), 4, 5, rngs=nnx.Rngs(0))
    layer = stack(GRU, 5, 3, bidirectional=True, rngs=nnx.Rngs(1))
    model = random_like(VideoClassifier(cnn, layer, 7, pooling="mean", rngs=nnx.Rngs(2)))
    outputs, _ = model.recurrent(model.cnn(videos))
    np.testing.assert_allclose(model(videos), linear(model.head, outputs.mean(axis=1)), atol=1e-5)
    for frame, logits in enumerate(jnp.moveaxis(model.logits_by_frame(videos), 1, 0), 1):
        np.testing.assert_allclose(logits, linear(model.head, outputs[:, :frame].mean(axis=1)), atol=1e-5)


def test_dropout_acts_with_a_key_only(videos):
    rngs = nnx.Rngs(0)
    cnn = FrameCNN((9, 6, 2), 4, 5, rngs=rngs)
    for model in (
        VideoClassifier(cnn, GRU(5, 3, rngs=rngs), 7, dropout=0.5, rngs=rngs),
        FrameAverage(cnn, 6, 7, dropout=0.5, rngs=rngs),
    ):
        sure, drawn = model(videos), [model(videos, key=jax.random.key(seed)) for seed in (0, 0, 1)]
        chex.assert_trees_all_equal(sure, model(videos))
        chex.assert_trees_all_equal(drawn[0], drawn[1])
        assert abs(drawn[0] - drawn[2]).max() > 1e-3
        assert abs(drawn[0] - sure).max() > 1e-3


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
    with pytest.raises(ValueError, match="at least one pixel, channel, feature and frame"):
        FrameCNN((9, 6, 2), 0, 5, rngs=rngs)
    cnn = FrameCNN((9, 6, 2), 4, 5, rngs=rngs)
    for cell in (GRU(6, 3, rngs=rngs), ConvGRU(5, 3, rngs=rngs)):
        with pytest.raises(ValueError, match="sees 5 features"):
            VideoClassifier(cnn, cell, 7, rngs=rngs)
    backward = Recurrent(GRU(5, 3, rngs=rngs), reverse=True)
    for layer in (backward, stack(GRU, 5, 3, layers=2, bidirectional=True, rngs=rngs)):
        with pytest.raises(ValueError, match="seen only that one: pool by mean"):
            VideoClassifier(cnn, layer, 7, rngs=rngs)
    with pytest.raises(ValueError, match="VideoClassifier pools by last or mean, not by 'max'"):
        VideoClassifier(cnn, backward, 7, pooling="max", rngs=rngs)
    with pytest.raises(ValueError, match="dropout is a probability"):
        FrameAverage(cnn, 3, 7, dropout=1.0, rngs=rngs)
    with pytest.raises(ValueError, match="needs the whole video"):
        VideoClassifier(cnn, backward, 7, pooling="mean", rngs=rngs).initial_state(jnp.zeros((3, 9, 6, 2)))
