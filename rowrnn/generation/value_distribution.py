"""What a model says of one value before it sees it: a distribution of levels, with parameters that it predicts.

Each kind has `levels`, the number of different values, and `outputs`, that of the parameters; `log_probabilities` of
given values, and `logits`, the log-probabilities of all levels, up to a constant.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Int, Integer, Key

BINARY = 2
LOG_SCALES = (-7.0, 20.0)
"""Bounds of a log scale; within them probabilities and slopes stay finite."""


@dataclass(frozen=True)
class Bernoulli:
    """Distribution of a binary value, by the logit of a 1."""

    levels = BINARY
    outputs = 1

    def log_probabilities(self, predictions: Float[Array, "*n 1"], values: Int[Array, "*n"]) -> Float[Array, "*n"]:
        sign = (2 * values - 1).astype(predictions.dtype)
        return jax.nn.log_sigmoid(sign * predictions[..., 0])

    def logits(self, predictions: Float[Array, "*n 1"]) -> Float[Array, "*n 2"]:
        return jnp.concatenate([jnp.zeros_like(predictions), predictions], axis=-1)


@dataclass(frozen=True)
class Categorical:
    """Distribution of a value by the logits of all levels, which knows nothing of their order."""

    levels: int

    @property
    def outputs(self) -> int:
        return self.levels

    def log_probabilities(self, predictions: Float[Array, "*n k"], values: Int[Array, "*n"]) -> Float[Array, "*n"]:
        of_each = jax.nn.log_softmax(predictions)
        return jnp.take_along_axis(of_each, jnp.clip(values, 0, self.levels - 1)[..., None], axis=-1)[..., 0]

    def logits(self, predictions: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
        return predictions


@dataclass(frozen=True)
class LogisticMixture:
    """Mixture of logistic distributions, discretized (Salimans et al. 2017, section 2.1).

    A level has the probability mass of the interval that rounds to it; the lowest and the highest one also have the
    tails. The parameters are the logits of the components, their means, where levels lie between -1 and 1, and the
    logarithms of their scales.

    Args:
        levels: number of different values.
        components: number of logistic distributions.
    """

    levels: int
    components: int

    @property
    def outputs(self) -> int:
        return 3 * self.components

    def log_probabilities(self, predictions: Float[Array, "*n k"], values: Int[Array, "*n"]) -> Float[Array, "*n"]:
        weights, means, log_scales = jnp.split(predictions, 3, axis=-1)
        last, values = self.levels - 1, values[..., None]
        centre = scaled(values, self.levels, predictions.dtype)
        per_scale = jnp.exp(-jnp.clip(log_scales, *LOG_SCALES))
        above, below = ((centre + side / last - means) * per_scale for side in (1, -1))
        # σ(a) - σ(b) = σ(a) σ(-b) (1 - exp(b - a)), of which no part is lost to rounding.
        log_upper = jnp.where(values >= last, 0.0, jax.nn.log_sigmoid(above))
        log_lower = jnp.where(values <= 0, 0.0, jax.nn.log_sigmoid(-below))
        inside = (values > 0) & (values < last)
        log_between = jnp.where(inside, jnp.log(-jnp.expm1(-2 / last * per_scale)), 0.0)
        return jax.nn.logsumexp(jax.nn.log_softmax(weights) + log_upper + log_lower + log_between, axis=-1)

    def logits(self, predictions: Float[Array, "*n k"]) -> Float[Array, "*n levels"]:
        def of(level: Int[Array, ""]) -> Float[Array, "*n"]:
            return self.log_probabilities(predictions, jnp.broadcast_to(level, predictions.shape[:-1]))

        return jax.vmap(of, out_axes=-1)(jnp.arange(self.levels))


ValueDistribution = Bernoulli | Categorical | LogisticMixture


def distribution_of(levels: int, mixture: int = 0) -> ValueDistribution:
    """Returns the distribution of a value of so many levels.

    Args:
        levels: number of different values.
        mixture: number of logistic distributions; 0 for the logits of all levels.

    Raises:
        ValueError: if there are fewer than two levels, or a mixture is to predict binary values.
    """
    if levels < BINARY or mixture < 0 or (mixture and levels == BINARY):
        raise ValueError(
            f"A value has at least two levels, and a mixture predicts one of more than two; not {levels} levels and a "
            f"mixture of {mixture}."
        )
    if mixture:
        return LogisticMixture(levels, mixture)
    return Bernoulli() if levels == BINARY else Categorical(levels)


def scaled(values: Integer[Array, "*n"], levels: int, dtype: DTypeLike) -> Float[Array, "*n"]:
    """Returns levels as numbers from -1 to 1."""
    return 2 * values.astype(dtype) / (levels - 1) - 1


def draw(logits: Float[Array, "b levels"], key: Key[Array, ""], temperature: Float[ArrayLike, ""]) -> Int[Array, "b"]:
    """Draws a value of each image.

    Args:
        logits: log-probabilities of all levels, up to a constant.
        key: random key.
        temperature: divides the logits; at 0 the most probable value is taken.
    """
    noise = jax.random.gumbel(key, logits.shape, logits.dtype)
    # The largest of logits and noise is a draw (Gumbel 1954), also where the temperature is zero.
    return (logits + jnp.asarray(temperature, logits.dtype) * noise).argmax(axis=1).astype(jnp.int32)
