"""Distributions of a value: probabilities against scipy's distributions, sums of 1, slopes, and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rowrnn.generation.value_distribution import Bernoulli, Categorical, LogisticMixture, distribution_of, draw

KINDS = {"bernoulli": Bernoulli(), "categorical": Categorical(5), "mixture": LogisticMixture(5, 3)}


def numbers(outputs, count=7, size=2.0):
    return np.random.default_rng(0).normal(0, size, (count, outputs))


def by_scipy(predictions, levels):
    """Probabilities `[n, levels]` of a mixture of logistic distributions, by its distribution function."""
    weights, means, log_scales = np.split(predictions, 3, axis=1)
    shares = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
    borders = np.concatenate([[-np.inf], (2 * np.arange(levels - 1) + 1) / (levels - 1) - 1, [np.inf]])
    below = stats.logistic.cdf(borders[None, None], means[..., None], np.exp(log_scales)[..., None])
    return (shares[..., None] * np.diff(below, axis=2)).sum(axis=1)


@pytest.mark.parametrize("levels", [3, 256])
def test_a_mixture_is_that_of_scipy(levels):
    with jax.enable_x64(True):
        distribution = LogisticMixture(levels, 4)
        given = numbers(12, size=1.0)
        found = np.exp(jax.jit(distribution.logits)(jnp.asarray(given)))
        np.testing.assert_allclose(found, by_scipy(given, levels), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_levels_sum_to_one_and_are_those_of_the_logits(kind):
    with jax.enable_x64(True):
        distribution = KINDS[kind]
        given = jnp.asarray(numbers(distribution.outputs))
        one_level = jax.jit(lambda given, level: distribution.log_probabilities(given, jnp.full(len(given), level)))
        each = [one_level(given, level) for level in range(distribution.levels)]
        np.testing.assert_allclose(np.exp(each).sum(axis=0), 1, rtol=1e-12)
        np.testing.assert_allclose(
            jax.nn.log_softmax(jax.jit(distribution.logits)(given)), np.stack(each, axis=1), rtol=1e-12, atol=1e-12
        )


def test_slopes_of_a_mixture_are_differences():
    with jax.enable_x64(True):
        distribution, given = LogisticMixture(256, 3), numbers(9, size=1.0)
        values = jnp.asarray([0, 1, 40, 128, 200, 254, 255])
        total = jax.jit(lambda x: distribution.log_probabilities(x, values).sum())
        slopes = np.asarray(jax.grad(total)(jnp.asarray(given)))
        for place in np.ndindex(given.shape):
            step = np.zeros_like(given)
            step[place] = 1e-6
            higher, lower = (float(total(jnp.asarray(given + side * step))) for side in (1, -1))
            assert slopes[place] == pytest.approx((higher - lower) / 2e-6, rel=1e-5, abs=1e-8)


def test_a_narrow_or_distant_mixture_has_finite_slopes():
    distribution = LogisticMixture(256, 2)
    given = jnp.asarray([[0, 0, -30, 30, -40, -40], [0, 0, 50, 50, 100, 5]], jnp.float32)
    slope = jax.jit(jax.value_and_grad(lambda x, value: distribution.log_probabilities(x, jnp.full(2, value)).sum()))
    for value in (0, 128, 255):
        found, slopes = slope(given, value)
        assert np.isfinite(found)
        assert np.isfinite(slopes).all()


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_as_frequent_as_probable(kind):
    distribution = KINDS[kind]
    given = jnp.broadcast_to(jnp.asarray(numbers(distribution.outputs, 1), jnp.float32), (20_000, distribution.outputs))
    logits = distribution.logits(given)
    values = np.asarray(draw(logits, jax.random.key(0), 1.0))
    said = np.asarray(jax.nn.softmax(logits[0]))
    counted = np.bincount(values, minlength=distribution.levels) / len(values)
    assert (np.abs(counted - said) < 4.5 * np.sqrt(said * (1 - said) / len(values)) + 1e-4).all()
    assert (np.asarray(draw(logits, jax.random.key(0), 0.0)) == said.argmax()).all()


def test_which_distribution():
    assert distribution_of(2) == Bernoulli()
    assert distribution_of(256) == Categorical(256)
    assert distribution_of(256, 10) == LogisticMixture(256, 10)
    assert [distribution_of(*how).outputs for how in ((2,), (256,), (256, 10))] == [1, 256, 30]
    for levels, mixture in ((1, 0), (2, 5), (256, -1)):
        with pytest.raises(
            ValueError, match="A value has at least two levels, and a mixture predicts one of more than two"
        ):
            distribution_of(levels, mixture)
