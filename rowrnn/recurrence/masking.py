"""Steps that are not valid: blanked, moved to the end, and shown as the valid one before."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def zero_where_invalid(x: Array, valid: Array | None) -> Array:
    """`x` with zeros where `valid`, an array of its first axes, is not; all of it where that is None."""
    return x if valid is None else jnp.where(expand_to(valid, x), x, jnp.zeros_like(x))


def expand_to(marks: Array, like: Array) -> Array:
    """Marks of the first axes of `like` with axes of one for the others."""
    return marks.reshape(*marks.shape, *(1,) * (like.ndim - marks.ndim))


def valid_first_permutation(
    valid: Bool[Array, "b t"],
) -> tuple[Int[Array, "b t"], Bool[Array, "b t"], Int[Array, "b t"]]:
    """How to run over the valid steps alone: which step comes when, which places they take then, and the way back.

    The valid steps come first and in order, so that sequences with gaps are sequences with lengths.
    """
    order = jnp.argsort(~valid, axis=1, stable=True)
    return order, jnp.take_along_axis(valid, order, axis=1), jnp.argsort(order, axis=1)


@jax.custom_vjp
def permute_steps(x: Array, order: Array, back: Array) -> Array:
    """The steps of each sequence in this order, `x[k, order[k, t]]`; `back` is the inverse order.

    The gradient of a gather is a scatter, which is slow; that of a permutation is its inverse.
    """
    return _taken(x, order)


def _permuted_forward(x: Array, order: Array, back: Array) -> tuple[Array, Array]:
    return _taken(x, order), back


def _permuted_backward(back: Array, d: Array) -> tuple[Array, None, None]:
    return _taken(d, back), None, None


permute_steps.defvjp(_permuted_forward, _permuted_backward)


def forward_fill(outputs: Float[Array, "b t *k"], valid: Bool[Array, "b t"], reverse: bool) -> Float[Array, "b t *k"]:
    """At steps that are not valid the output of the valid one that was run before; zero before the first."""
    steps = jnp.arange(valid.shape[1], dtype=jnp.int32)[None, :]
    if reverse:
        last = jax.lax.cummin(jnp.where(valid, steps, valid.shape[1]), axis=1, reverse=True)
        some = last < valid.shape[1]
    else:
        last = jax.lax.cummax(jnp.where(valid, steps, -1), axis=1)
        some = last >= 0
    return zero_where_invalid(_taken(outputs, jnp.where(some, last, 0)), some)


def _taken(x: Array, steps: Array) -> Array:
    return jnp.take_along_axis(x, expand_to(steps, x), axis=1)
