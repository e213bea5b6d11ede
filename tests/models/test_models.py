"""Models against NumPy and against the library's own convolution and pooling; widths against counted parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import CELLS, GRU, LRU, LSTM, ProjectedLSTM
from rowrnn.errors import InputError
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.renet import ReNet
from rowrnn.lab.budget import parameters, solve_width
from rowrnn.models import CNN, CRNN, Classifier, FrameCNN, ScanClassifier, VideoClassifier
from rowrnn.models.cnn import max_pool
from rowrnn.sequence import Bidirectional, Stack
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import random_like


@pytest.fixture
def images():
    return jnp.asarray(np.random.default_rng(1).uniform(size=(3, 5, 4, 2)), jnp.float32)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("name", thinned(list(CELLS), 3))
def test_classifier_is_the_cell_pooled_and_one_linear_map(name, pooling, images):
    rngs = nnx.Rngs(0)
    model = random_like(Classifier(CELLS[name](8, 6, rngs=rngs), 3, pooling=pooling, rngs=rngs))
    outputs, _ = oracle.run(name, oracle.parameters_of(model.rows.cell), np.asarray(images).reshape(3, 5, 8))
    kernel, bias = (np.float64(p[...]) for p in (model.head.kernel, model.head.bias))
    by_row = []
    for row in range(5):
        pooled = outputs[:, row] if pooling == "last" else outputs[:, : row + 1].mean(axis=1)
        by_row.append(pooled @ kernel + bias)
    logits, logits_by_row = jax.jit(lambda model, images: (model(images), model.logits_by_row(images)))(model, images)
    np.testing.assert_allclose(logits, by_row[-1], atol=1e-5)
    np.testing.assert_allclose(logits_by_row, np.stack(by_row, axis=1), atol=1e-5)


def test_another_pooling_is_refused():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="pools by last or mean, not by 'max'"):
        Classifier(GRU(8, 6, rngs=rngs), 3, pooling="max", rngs=rngs)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda cell, rngs: Classifier(cell, 3, rngs=rngs), "Rows"),
        (
            lambda cell, rngs: VideoClassifier(FrameCNN((6, 4, 1), 4, 5, rngs=rngs), cell, 3, rngs=rngs),
            "VideoClassifier",
        ),
    ],
    ids=["Classifier", "VideoClassifier"],
)
def test_a_cell_of_flax_is_refused(make, name):
    rngs = nnx.Rngs(0)
    with pytest.raises(TypeError, match=f"{name} takes cells of rowrnn, not flax.nnx.*GRUCell"):
        make(nnx.GRUCell(5, 6, rngs=rngs), rngs)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_scan_classifier_is_its_layers_pooled_and_one_linear_map(name, pooling, images):
    rngs = nnx.Rngs(0)
    both = Bidirectional(*(CELLS[name](12, 6, rngs=rngs) for _ in range(2)))
    layers = [ImageScan(CELLS[name](2, 3, rngs=rngs), "down"), ImageScan(both, "rows")]
    model = random_like(ScanClassifier(layers, 3, pooling=pooling, rngs=rngs))
    x = np.asarray(images).transpose(0, 2, 1, 3).reshape(12, 5, 2)
    below, _ = oracle.run(name, oracle.parameters_of(model.layers[0].layer.cell), x)
    rows = below.reshape(3, 4, 5, 3).transpose(0, 2, 1, 3).reshape(3, 5, 12)
    sides = [
        oracle.run(name, oracle.parameters_of(side.cell), rows, reverse=side.reverse)
        for side in (model.layers[1].layer.forward, model.layers[1].layer.backward)
    ]
    shown = [outputs.mean(axis=1) if pooling == "mean" else state[0] for outputs, state in sides]
    kernel, bias = (np.float64(p[...]) for p in (model.head.kernel, model.head.bias))
    np.testing.assert_allclose(model(images), np.concatenate(shown, axis=-1) @ kernel + bias, atol=1e-5)


def test_a_stack_ends_where_its_top_layer_does_and_a_hidden_layer_comes_before_the_answer(images):
    rngs = nnx.Rngs(0)
    layer = Stack([LRU(8, 2, rngs=rngs), LSTM(4, 6, rngs=rngs)])
    model = random_like(ScanClassifier([ImageScan(layer, "rows")], 3, head_hidden=7, rngs=rngs))
    lower, upper = (oracle.parameters_of(layer.cell) for layer in model.layers[0].layer.layers)
    below, _ = oracle.run("lru", lower, np.asarray(images).reshape(3, 5, 8))
    _, (end, _) = oracle.run("lstm", upper, below)
    between, head = (
        (np.float64(linear.kernel[...]), np.float64(linear.bias[...])) for linear in (model.between, model.head)
    )
    expected = np.maximum(end @ between[0] + between[1], 0) @ head[0] + head[1]
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


def test_scan_classifiers_that_cannot_be():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="pools by last or mean, not by 'max'"):
        ScanClassifier([ImageScan(GRU(8, 6, rngs=rngs))], 3, pooling="max", rngs=rngs)
    both = Bidirectional(GRU(8, 6, rngs=rngs), GRU(8, 6, rngs=rngs), merge="sum")
    for layer in (
        ReNet(1, 6, rngs=rngs),
        ImageScan(both),
        ImageScan(Stack([GRU(8, 6, rngs=rngs)], connection="residual")),
    ):
        with pytest.raises(ValueError, match=r"Pooling by last needs an ImageScan of .*: pool by mean"):
            ScanClassifier([layer], 3, rngs=rngs)
    model = ScanClassifier([ImageScan(GRU(1, 6, rngs=rngs), "across")], 3, rngs=rngs)
    with pytest.raises(ValueError, match="reads an image as several sequences"):
        model(jnp.zeros((2, 5, 4, 1)))


def test_a_projected_cell_classifies(images):
    rngs = nnx.Rngs(0)
    assert Classifier(ProjectedLSTM(8, 6, 2, rngs=rngs), 3, rngs=rngs)(images).shape == (3, 3)


def test_dropout_needs_a_key_and_keeps_the_mean(images):
    rngs = nnx.Rngs(0)
    model = random_like(Classifier(LSTM(8, 6, rngs=rngs), 3, dropout=0.4, rngs=rngs))
    np.testing.assert_array_equal(model(images), model(images))
    keys = jax.random.split(jax.random.key(0), 4000)
    dropped = jax.vmap(lambda key: model(images, key=key))(keys)
    assert np.unique(np.asarray(dropped)[:, 0, 0]).size > 10
    # Features are scaled by 1 / (1 - 0.4) where kept, so that the mean over keys is the model without dropout.
    error = 5 * np.std(dropped, axis=0) / np.sqrt(4000)
    assert (np.abs(dropped.mean(axis=0) - model(images)) < error).all()


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (2, 5, 7, 1), (1, 1, 1, 2)])
def test_max_pooling_is_the_librarys(shape):
    x = nnx.relu(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    np.testing.assert_array_equal(max_pool(x), nnx.max_pool(x, (2, 2), (2, 2), padding="SAME"))


def relu_conv(x, layer, stride, pad):
    y = jax.lax.conv_general_dilated(
        x, layer.kernel[...], (stride, stride), ((pad, pad),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return nnx.relu(y + layer.bias[...][None, None, None])


def test_cnn_is_its_three_convolutions_and_head(images):
    model = random_like(CNN((5, 4, 2), 8, 3, rngs=nnx.Rngs(0)))
    x = relu_conv(images, model.conv1, 2, 2)
    assert x.shape == (3, 3, 2, 2)
    x = nnx.max_pool(relu_conv(x, model.conv2, 1, 1), (2, 2), (2, 2), padding="SAME")
    assert x.shape == (3, 2, 1, 4)
    x = relu_conv(x, model.conv3, 1, 1).reshape(3, 16)
    expected = np.asarray(x) @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_crnn_is_its_convolutions_and_a_cell_from_either_end(name, images):
    model = random_like(CRNN((5, 4, 2), 6, 3, 3, cell=CELLS[name], rngs=nnx.Rngs(0)))
    x = relu_conv(images, model.conv1, 2, 2)
    x = nnx.max_pool(relu_conv(x, model.conv2, 1, 1), (2, 2), (2, 2), padding="SAME")
    rows = np.asarray(relu_conv(x, model.conv3, 1, 1)).reshape(3, 2, 6)
    layer = model.reader.layers[0].layer
    ends = [
        oracle.run(name, oracle.parameters_of(side.cell), rows, reverse=side.reverse)[1][0]
        for side in (layer.forward, layer.backward)
    ]
    head = model.reader.head
    expected = np.concatenate(ends, axis=-1) @ np.float64(head.kernel[...]) + np.float64(head.bias[...])
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


def test_crnn_drops_features_below_and_above_its_cells(images):
    model = random_like(CRNN((5, 4, 2), 6, 3, 3, dropout=0.5, rngs=nnx.Rngs(0)))
    without = model(images)
    np.testing.assert_array_equal(model(images), without)
    keys = jax.random.split(jax.random.key(0), 8)
    assert len(np.unique(np.asarray([model(images, key=key)[0, 0] for key in keys]))) > 4
    model.dropout.rate = 0.0
    above = np.asarray([model(images, key=key)[0, 0] for key in keys])
    # One of three units from either end is kept or dropped: features of the map would give more answers.
    assert len(np.unique(above.round(4))) > 1


@pytest.mark.usefixtures("unchecked_types")
def test_crnns_that_cannot_be(images):
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="at least one pixel, channel, unit and class"):
        CRNN((5, 4, 2), 0, 3, 3, rngs=rngs)
    other: Any = nnx.GRUCell
    with pytest.raises(TypeError, match="CRNN takes a class of"):
        CRNN((5, 4, 2), 6, 3, 3, cell=other, rngs=rngs)
    with pytest.raises(ValueError, match=r"takes floating-point images \[b, 5, 4, 1\], not float32 of shape"):
        CRNN((5, 4, 1), 6, 3, 3, rngs=rngs)(images)


def test_parameters_are_counted_by_the_textbook():
    d, h, k = 28, 16, 10
    rngs = nnx.Rngs(0)
    assert parameters(Classifier(LSTM(d, h, rngs=rngs), k, rngs=rngs)) == 4 * (d * h + h * h + h) + h * k + k
    assert parameters(Classifier(GRU(d, h, rngs=rngs), k, rngs=rngs)) == 3 * (d * h + h * h + h) + h + h * k + k


@pytest.mark.parametrize("budget", thinned([10_000, 20_000, 40_000, 80_000, 200_000], 4))
def test_one_budget_fits_lstm_gru_and_cnn(budget):
    def row(cell):
        return lambda width, rngs: Classifier(cell(28, width, rngs=rngs), 10, rngs=rngs)

    for build in (row(LSTM), row(GRU), lambda width, rngs: CNN((28, 28, 1), width, 10, rngs=rngs)):
        width = solve_width(build, budget)
        smaller, size, larger = (
            sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda w=w, build=build: build(w, nnx.Rngs(0)))))
            for w in (width - 1, width, width + 1)
        )
        assert abs(size - budget) <= 0.03 * budget
        assert abs(size - budget) <= min(budget - smaller, larger - budget)


@pytest.mark.parametrize("budget", [1, 100, 10**12])
def test_a_budget_that_no_width_meets_is_refused_with_the_nearest(budget):
    with pytest.raises(InputError, match=r"No width meets a budget of .* the nearest model, of width"):
        solve_width(lambda width, rngs: Classifier(GRU(28, width, rngs=rngs), 10, rngs=rngs), budget)
