"""Fixed sets of generated examples, for validation and test."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Split

AT_ONCE = 500  # examples generated at a time

Make = Callable[[Key[Array, ""], Split, Int[Array, "n"]], PyTree[Any]]


def fixed_examples(make: Make, key: Key[Array, ""], digits: Split, count: int) -> PyTree[Any]:
    """Generates a fixed set of examples as NumPy arrays, images as uint8.

    Args:
        make: function of a key, the digits and the indices `[n]` of some examples to those examples: a pytree of
            arrays with a first axis of n, whose floating-point arrays are images in [0, 1].
        key: source of randomness.
        digits: images and labels that the examples are made of.
        count: number of examples, at least 1.

    Returns:
        The pytree of `make` with a first axis of `count`.

    Raises:
        InputError: if `make` raises a ValueError, with its message.
    """
    size = min(count, AT_ONCE)

    @jax.jit
    def some(key: Array, digits: Split, first: Array) -> PyTree[Any]:
        return jax.tree.map(_as_bytes, make(key, digits, first + jnp.arange(size)))

    try:
        parts = [some(jax.random.fold_in(key, first), digits, jnp.asarray(first)) for first in range(0, count, size)]
    except ValueError as error:
        raise InputError(str(error)) from None
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:count], *parts)


def _as_bytes(array: Array) -> Array:
    return (
        jnp.round(255 * jnp.clip(array, 0, 1)).astype(jnp.uint8) if jnp.issubdtype(array.dtype, jnp.floating) else array
    )
