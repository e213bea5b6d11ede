"""Parity with Keras 3's own layers after a transfer of weights; run by `make test-interop`."""

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU, LSTM, MGU, ConvLSTM, Elman, ResetFirstGRU
from rowrnn.errors import InputError
from rowrnn.interop import from_keras, to_keras
from tests.helpers import oracle

# Keras' own variables under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

BATCH, STEPS, FEATURES, HIDDEN = 3, 4, 3, 5
X = oracle.draw(np.random.default_rng(1), BATCH, STEPS, FEATURES).astype(np.float32)
MAPS = oracle.draw(np.random.default_rng(1), 2, 3, 4, 5, 2).astype(np.float32)
MASK = np.asarray([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 1, 1]], bool)

LAYERS = {
    "SimpleRNN": (lambda **o: keras.layers.SimpleRNN(HIDDEN, **o), Elman),
    "LSTM": (lambda **o: keras.layers.LSTM(HIDDEN, **o), LSTM),
    "GRU": (lambda **o: keras.layers.GRU(HIDDEN, **o), GRU),
    "GRU, reset first": (lambda **o: keras.layers.GRU(HIDDEN, reset_after=False, **o), ResetFirstGRU),
}


def randomized(layer, x):
    """A Keras layer built for `x`, with random weights, biases included."""
    # Keras promotes dtypes and ranks as it likes.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        layer.build(x.shape)
    rng = np.random.default_rng(2)
    layer.set_weights([0.5 * oracle.draw(rng, *array.shape) for array in layer.get_weights()])
    return layer


def run(layer, x, **options):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return np.asarray(layer(x, **options))


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_layers_without_biases(name):
    make, kind = LAYERS[name]
    theirs = randomized(make(return_sequences=True, use_bias=False), X)
    ours: Any = from_keras(theirs.get_weights())
    assert type(ours.cell) is kind
    np.testing.assert_allclose(ours(X)[0], run(theirs, X), rtol=0, atol=2e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_are_keras(name, masked):
    make, kind = LAYERS[name]
    theirs = randomized(make(return_sequences=True), X)
    ours: Any = from_keras(theirs.get_weights())
    assert type(ours.cell) is kind
    options: dict[str, Any] = {"mask": MASK} if masked else {}
    expected = run(theirs, X, **options)
    outputs, _ = ours(X, **options)
    marks = MASK if masked else np.ones_like(MASK)
    np.testing.assert_allclose(np.asarray(outputs)[marks], expected[marks], rtol=0, atol=1e-5)
    for ours_array, array in zip(to_keras(ours), theirs.get_weights(), strict=True):
        if name == "GRU" and array.ndim == 2 and len(array) == 2:
            continue  # Its two rows of biases are not told apart by what it computes: see below.
        np.testing.assert_array_equal(ours_array, array)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_keras(name):
    make, _ = LAYERS[name]
    theirs = randomized(make(return_sequences=True), X)
    ours = from_keras(theirs.get_weights())
    weights = oracle.draw(np.random.default_rng(3), BATCH, STEPS, HIDDEN).astype(np.float32)

    def loss(variables, x):
        outputs, _ = theirs.stateless_call(variables, theirs.non_trainable_variables, x)
        return (outputs * weights).sum()

    variables = [jnp.asarray(variable.value) for variable in theirs.trainable_variables]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        by_variables, by_x = jax.grad(loss, argnums=(0, 1))(variables, jnp.asarray(X))
    by_ours, by_our_x = jax.grad(lambda layer, x: (layer(x)[0] * weights).sum(), argnums=(0, 1))(ours, jnp.asarray(X))
    np.testing.assert_allclose(by_our_x, by_x, rtol=0, atol=1e-4)
    for mine, expected in zip(to_keras(by_ours), by_variables, strict=True):
        expected = np.asarray(expected)
        if expected.shape == (2, 3 * HIDDEN):  # Ours of z and r is one bias, the first row.
            np.testing.assert_allclose(mine[0], expected[0], rtol=0, atol=1e-4)
            np.testing.assert_allclose(mine[1, 2 * HIDDEN :], expected[1, 2 * HIDDEN :], rtol=0, atol=1e-4)
        else:
            np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_both_directions(name):
    make, _ = LAYERS[name]
    theirs = randomized(keras.layers.Bidirectional(make(return_sequences=True)), X)
    ours = from_keras(theirs.get_weights())
    np.testing.assert_allclose(ours(X)[0], run(theirs, X), rtol=0, atol=1e-5)
    again = randomized(keras.layers.Bidirectional(make(return_sequences=True)), X)
    again.set_weights(to_keras(ours))
    np.testing.assert_allclose(run(again, X), run(theirs, X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5)], ids=str)
def test_convolutional(kernel):
    theirs = randomized(keras.layers.ConvLSTM2D(HIDDEN, kernel, padding="same", return_sequences=True), MAPS)
    ours: Any = from_keras(theirs.get_weights())
    assert type(ours.cell) is ConvLSTM
    np.testing.assert_allclose(ours(MAPS)[0], run(theirs, MAPS), rtol=0, atol=1e-5)
    for mine, array in zip(to_keras(ours), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, array)


@pytest.mark.parametrize("name", LAYERS)
def test_a_round_trip_is_exact(name):
    make, _ = LAYERS[name]
    ours = from_keras(randomized(make(), X).get_weights())
    for once, twice in zip(to_keras(ours), to_keras(from_keras(to_keras(ours))), strict=True):
        np.testing.assert_array_equal(once, twice)


def test_weights_that_do_not_fit():
    kernel, recurrent, bias = randomized(keras.layers.LSTM(HIDDEN), X).get_weights()
    with pytest.raises(
        InputError, match="3 arrays, kernel, recurrent_kernel, bias, without bias 2, or twice as many, not 1"
    ):
        from_keras([kernel])
    with pytest.raises(InputError, match=r"bias has shape \[19\], expected \[20\]"):
        from_keras([kernel, recurrent, bias[:-1]])
    with pytest.raises(InputError, match="kernel has 10 columns for a hidden size of 5"):
        from_keras([kernel[:, :10], recurrent, bias])
    with pytest.raises(InputError, match=r"kernel has shape \[3\], expected two axes or four"):
        from_keras([kernel[:, 0], recurrent, bias])
    with pytest.raises(InputError, match="Keras has no layer of MGU"):
        to_keras(MGU(2, 3, rngs=nnx.Rngs(0)))
