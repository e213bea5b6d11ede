"""Sampling from a PixelScan: step by step, with the state of its layer kept."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from rowrnn.generation.pixel_model import Values
from rowrnn.generation.pixel_scan import PixelScan
from rowrnn.generation.value_distribution import draw
from rowrnn.sequence import Transformer


@partial(jax.jit, static_argnames="known_values")
def sampled_by_steps(
    model: PixelScan, key: Array, images: Values, known_values: int, temperature: Float[ArrayLike, ""]
) -> Values:
    """Draws the values of images after the first ones of the model's order, which are given.

    Args:
        model: the model.
        key: random key.
        images: images, of which the first values are read.
        known_values: number of these values.
        temperature: of the draws.
    """
    b, height, width, colours = images.shape
    count = height * width * colours
    order = model.order_of(height, width)
    known = order.sequences(images).reshape(b, count)
    scaled = model.scaled(jnp.arange(model.levels))

    def step(carry: tuple[Any, Array], given: tuple[Array, Array]) -> tuple[tuple[Any, Array], Array]:
        state, before = carry
        number, value = given
        outputs, state = model.layer(model.steps(before[:, None], number[None]), initial_state=state)
        logits = model.distribution.logits(model.head(model.norm(outputs[:, 0])))
        drawn = draw(logits, jax.random.fold_in(key, number), temperature)
        chosen = jnp.where(number < known_values, value, drawn)
        return (state, scaled[chosen]), chosen

    numbers, start = jnp.arange(count, dtype=jnp.int32), jnp.zeros((b,), scaled.dtype)
    state = None
    if isinstance(model.layer, Transformer):
        state = model.layer.initial_state(jnp.zeros((b, model.layer.features), scaled.dtype), count)
    # A recurrent layer tells its state's form by its first step.
    carry, value = step((state, start), (numbers[0], known[:, 0]))
    _, values = jax.lax.scan(step, carry, (numbers[1:], jnp.swapaxes(known[:, 1:], 0, 1)))
    found = jnp.concatenate([value[None], values])
    return order.images(jnp.swapaxes(found, 0, 1).reshape(b, height * width, colours))
