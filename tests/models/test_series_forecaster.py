"""Forecasters of series against their sums in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, LSTM, scan
from rowrnn.models import LinearForecaster, SeriesForecaster
from rowrnn.sequence import Transformer
from tests.helpers import oracle

RNG = np.random.default_rng(0)
PAST = RNG.normal(size=(3, 12, 4)).astype(np.float32)  # the series, one seen, two known
AHEAD = RNG.normal(size=(3, 5, 2)).astype(np.float32)


def make(layer=None, **given):
    layer = layer or GRU(6, 6, rngs=nnx.Rngs(0))
    how = {"patch": 3, "horizon": 5, "seen": 1, "known": 2, **given}
    return oracle.random_like(SeriesForecaster(layer, **how, rngs=nnx.Rngs(1)), np.random.default_rng(1))


def linear(layer, x):
    kernel = np.asarray(layer.kernel[...], np.float64)
    return x @ kernel + (0 if layer.bias is None else np.asarray(layer.bias[...], np.float64))


def gelu(x):  # as tanh, JAX's default
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_patches_are_read_one_after_the_other_and_answered_at_once():
    model = make()
    found = jax.jit(lambda model, *given: model(*given))(model, PAST, AHEAD)
    past, level = PAST.astype(np.float64), PAST[:, -1:, :1].astype(np.float64)
    past[:, :, :1] -= level
    rows = linear(model.read, past.reshape(3, 4, 12))
    outputs, _ = scan(model.layer.cell, jnp.asarray(rows, jnp.float32))
    last = np.asarray(outputs[:, -1], np.float64)
    centred = last - last.mean(axis=1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
    normal = normal * np.asarray(model.norm.scale[...]) + np.asarray(model.norm.bias[...])
    coming = np.concatenate([AHEAD, np.zeros((3, 1, 2))], axis=1).reshape(3, 2, 6)  # a patch of 3, and one of 2
    hidden = linear(model.last, normal)[:, None] + np.asarray(model.places.embedding[...]) + linear(model.ahead, coming)
    answers = linear(model.head, gelu(hidden)).reshape(3, 6, 3)[:, :5] + level
    np.testing.assert_allclose(found, answers, rtol=0, atol=2e-5)


def test_a_level_added_to_a_series_is_added_to_its_forecast():
    model, higher = make(), PAST.copy()
    higher[:, :, 0] += 7
    call = jax.jit(lambda past: model(past, AHEAD))
    np.testing.assert_allclose(call(higher), call(PAST) + 7, rtol=0, atol=1e-5)


def test_any_layer_over_vectors_reads():
    layer = Transformer(6, 8, blocks=1, heads=2, causal=False, rngs=nnx.Rngs(0))
    model = make(layer, seen=0, known=0)
    assert jax.jit(lambda past: model(past))(PAST[..., :1]).shape == (3, 5, 3)


def test_dropout_is_of_the_training():
    model = make(LSTM(6, 6, rngs=nnx.Rngs(0)), dropout=0.5)
    call = jax.jit(lambda key: model(PAST, AHEAD, key=key))
    one, other = call(jax.random.key(0)), call(jax.random.key(1))
    assert np.abs(np.asarray(one - other)).max() > 1e-3
    np.testing.assert_array_equal(one, call(jax.random.key(0)))


def test_the_linear_one_is_linear_in_trend_and_rest():
    model = oracle.random_like(LinearForecaster(steps=12, horizon=5, window=5, rngs=nnx.Rngs(0)), RNG)
    found = jax.jit(lambda past: model(past))(PAST)
    series = PAST[:, :, 0].astype(np.float64)
    wide = np.concatenate([series[:, :1]] * 2 + [series] + [series[:, -1:]] * 2, axis=1)
    trend = np.stack([wide[:, k : k + 5].mean(axis=1) for k in range(12)], axis=1)
    expected = linear(model.of_trend, trend) + linear(model.of_rest, series - trend)
    np.testing.assert_allclose(found, expected.reshape(3, 5, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make()(PAST[:, :11], AHEAD), "a multiple of 3 steps, not 11"),
        (lambda: make()(PAST, None), r"known columns \[b, 5, 2\], not \[3, 12, 4\] and None"),
        (lambda: make(known=0)(PAST[..., :2], AHEAD), "and no known columns"),
        (lambda: make()(PAST[..., :3], AHEAD), r"past \[b, steps, 4\]"),
        (lambda: make(patch=0), "patch of at least 1, not 0"),
        (lambda: make(known=-1), "known of at least 0, not -1"),
        (lambda: make(dropout=1.0), "dropout is a probability"),
        (lambda: LinearForecaster(steps=4, horizon=2, window=4, rngs=nnx.Rngs(0)), "odd number of steps, not 4"),
        (lambda: LinearForecaster(steps=4, horizon=2, rngs=nnx.Rngs(0))(PAST), r"past \[b, 4, columns\]"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
