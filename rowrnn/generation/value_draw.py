"""A draw of one value from what a model predicts of it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key


def drawn(
    predictions: Float[Array, "b outputs"], key: Key[Array, ""], temperature: Float[ArrayLike, ""]
) -> Int[Array, "b"]:
    """Draws a value of each image.

    Args:
        predictions: the logit of a 1, or the logits of all levels.
        key: random key.
        temperature: divides the logits; at 0 the most probable value is taken.
    """
    if predictions.shape[1] == 1:
        predictions = jnp.concatenate([jnp.zeros_like(predictions), predictions], axis=1)
    noise = jax.random.gumbel(key, predictions.shape, predictions.dtype)
    # The largest of logits and noise is a draw (Gumbel 1954), also where the temperature is zero.
    return (predictions + jnp.asarray(temperature, predictions.dtype) * noise).argmax(axis=1).astype(jnp.int32)
