"""Classifiers of images and videos of several sizes in one batch: the answer is that of each one cropped."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU, LSTM, Cell
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.renet import ReNet
from rowrnn.models import Classifier, ScanClassifier
from rowrnn.models.frame_cnn import FrameCNN
from rowrnn.models.video_classifier import FrameAverage, VideoClassifier
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.sequence.stack import stack
from tests.helpers.cases import thinned
from tests.helpers.problem import randomized

HEIGHTS, WIDTHS = np.asarray([6, 2, 4]), np.asarray([4, 4, 2])


def images():
    return np.random.default_rng(0).uniform(size=(3, 6, 4, 1)).astype(np.float32)


def padded(values, heights=None, widths=None):
    """The same whose padding is not a number."""
    values = values.copy()
    for n in range(len(values)):
        if heights is not None:
            values[n, heights[n] :] = np.nan
        if widths is not None:
            values[n, :, widths[n] :] = np.nan
    return jnp.asarray(values)


class OutputOutside(Cell):
    """A cell whose output is not its state."""

    gate_names = ("a",)

    def step(self, state, projected):
        state = jnp.tanh(projected + 0.5 * state)
        return state, 1 - state


@pytest.mark.parametrize("cell", [GRU, LSTM, OutputOutside])
def test_both_classifiers_read_the_output_where_the_image_ends(cell):
    cell = cell(4, 5, rngs=nnx.Rngs(0))
    one = Classifier(cell, 3, rngs=nnx.Rngs(1))
    other = ScanClassifier([ImageScan(cell)], 3, rngs=nnx.Rngs(1))
    np.testing.assert_allclose(other(jnp.asarray(images())), one(jnp.asarray(images())), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_rows(pooling):
    model = randomized(lambda: Classifier(GRU(4, 5, rngs=nnx.Rngs(0)), 3, pooling=pooling, rngs=nnx.Rngs(1)))
    x = padded(images(), HEIGHTS)
    logits: Any = jax.jit(lambda x, heights: model(x, heights=heights))(x, HEIGHTS)
    by_row = model.logits_by_row(x, heights=HEIGHTS)
    for n, height in enumerate(HEIGHTS.tolist()):
        cropped = x[n : n + 1, :height]
        np.testing.assert_allclose(logits[n], model(cropped)[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(by_row[n, :height], model.logits_by_row(cropped)[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            by_row[n, height:], logits[n][None].repeat(6 - int(height), axis=0), rtol=0, atol=1e-6
        )


def both(features, hidden):
    return Bidirectional(*(LSTM(features, hidden, rngs=nnx.Rngs(seed)) for seed in range(2)))


LAYERS = {
    "rows": (lambda: [ImageScan(GRU(4, 5, rngs=nnx.Rngs(0)))], "h"),
    "rows, from below": (lambda: [ImageScan(Recurrent(GRU(4, 5, rngs=nnx.Rngs(0)), reverse=True))], "h"),
    "columns": (lambda: [ImageScan(both(6, 3), "columns")], "w"),
    "pixels": (lambda: [ImageScan(both(1, 3), "pixels")], "hw"),
    "patches": (lambda: [ImageScan(GRU(4, 3, rngs=nnx.Rngs(0)), "pixels", patch=(2, 2))], "hw"),
    "diagonal": (lambda: [ImageScan(both(6, 3), "diagonal")], "w"),
    "stack": (lambda: [ImageScan(Stack([both(1, 3), both(6, 2)]), "snake")], ""),
    "ReNet below": (lambda: [ReNet(1, 3, (2, 2), rngs=nnx.Rngs(0)), ImageScan(both(6, 3), "pixels")], "hw"),
    "ReNets": (lambda: [ReNet(1, 3, (2, 2), rngs=nnx.Rngs(0)), ReNet(6, 2, (1, 1), rngs=nnx.Rngs(1))], "hw"),
}


# A ReNet on top reads an image as several sequences, which have no one end.
CASES = [(name, pooling) for name in LAYERS for pooling in ("last", "mean") if (name, pooling) != ("ReNets", "last")]


@pytest.mark.parametrize(("name", "pooling"), thinned(CASES, 3))
def test_any_order(name, pooling):
    make, axes = LAYERS[name]
    model = randomized(lambda: ScanClassifier(make(), 3, pooling=pooling, head_hidden=4, rngs=nnx.Rngs(1)))
    heights, widths = (HEIGHTS if "h" in axes else None), (WIDTHS if "w" in axes else None)
    x = padded(images(), heights, widths)
    logits = jax.jit(lambda x: model(x, heights=heights, widths=widths))(x)
    for n in range(3):
        cropped = x[n : n + 1, : 6 if heights is None else heights[n], : 4 if widths is None else widths[n]]
        np.testing.assert_allclose(logits[n], model(cropped)[0], rtol=0, atol=1e-5)


VIDEO_MODELS = {
    "a cell": lambda cnn, rngs: VideoClassifier(cnn, GRU(5, 6, rngs=rngs), 3, rngs=rngs),
    "a stack": lambda cnn, rngs: VideoClassifier(cnn, stack(GRU, 5, 6, layers=2, rngs=rngs), 3, rngs=rngs),
    "both ways": lambda cnn, rngs: VideoClassifier(cnn, both(5, 6), 3, pooling="mean", rngs=rngs),
    "an average": lambda cnn, rngs: FrameAverage(cnn, 40, 3, rngs=rngs),
}


@pytest.mark.parametrize("context", thinned([3, 1], 2))
@pytest.mark.parametrize("make", thinned(VIDEO_MODELS, 3))
def test_videos(make, context):
    cnn = FrameCNN((6, 4, 1), 4, 5, context=context, rngs=nnx.Rngs(0))
    model = randomized(lambda: make(cnn, nnx.Rngs(2)))
    lengths = np.asarray([5, 1, 3])
    videos = padded(np.random.default_rng(0).uniform(size=(3, 5, 6, 4, 1)).astype(np.float32), lengths)
    logits: Any = jax.jit(lambda x, lengths: model(x, lengths=lengths))(videos, lengths)
    by_frame = jax.jit(lambda x, lengths: model.logits_by_frame(x, lengths=lengths))(videos, lengths)
    whole = jax.jit(lambda x: (model(x)[0], model.logits_by_frame(x)[0]))
    for n, length in enumerate(lengths.tolist()):
        of_all, of_frames = whole(videos[n : n + 1, :length])
        np.testing.assert_allclose(logits[n], of_all, rtol=0, atol=1e-5)
        np.testing.assert_allclose(by_frame[n, :length], of_frames, rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            by_frame[n, length:], logits[n][None].repeat(5 - int(length), axis=0), rtol=0, atol=1e-5
        )
    # The padding has no gradient, and adds none to that of the weights: not a number would stay none.
    gradient = jax.jit(jax.grad(lambda model: model(videos, lengths=lengths).sum()))(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    of_pixels = jax.jit(jax.grad(lambda videos: model(videos, lengths=lengths).sum()))(videos)
    for n, length in enumerate(lengths.tolist()):
        assert (of_pixels[n, length:] == 0).all()
        assert (of_pixels[n, :length] != 0).any(axis=(1, 2, 3)).all()


SIZES_OF_MEANS = {
    "rows": (lambda: Classifier(GRU(4, 5, rngs=nnx.Rngs(0)), 3, pooling="mean", rngs=nnx.Rngs(1)), ["heights"]),
    "pixels": (
        lambda: ScanClassifier([ImageScan(GRU(1, 5, rngs=nnx.Rngs(0)), "pixels")], 3, pooling="mean", rngs=nnx.Rngs(1)),
        ["heights", "widths"],
    ),
}


@pytest.mark.parametrize("beyond", [100, -3])
@pytest.mark.parametrize(("make", "names"), SIZES_OF_MEANS.values(), ids=SIZES_OF_MEANS)
def test_sizes_outside_the_image_act_as_the_nearest_bound_in_a_compiled_mean(make, names, beyond):
    model, x = randomized(make), jnp.asarray(images())
    bounds = {"heights": 6, "widths": 4} if beyond > 0 else {"heights": 0, "widths": 0}
    sizes, expected = ({name: np.full(3, of[name]) for name in names} for of in (dict.fromkeys(names, beyond), bounds))
    compiled = jax.jit(lambda x, sizes: model(x, **sizes))
    np.testing.assert_allclose(compiled(x, sizes), model(x, **expected), rtol=0, atol=1e-6)
