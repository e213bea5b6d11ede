"""Handling of invalid steps: zeroing, moving them to the end, and forward filling."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def zero_where_invalid(x: Array, valid: Array | None) -> Array:
    """Sets `x` to zero where `valid` is false; returns `x` if `valid` is None.

    Args:
        x: array.
        valid: mask over the first axes of `x`.
    """
    return x if valid is None else jnp.where(expand_to(valid, x), x, jnp.zeros_like(x))


def expand_to(marks: Array, like: Array) -> Array:
    """Appends axes of size one to `marks` until it has as many axes as `like`."""
    return marks.reshape(*marks.shape, *(1,) * (like.ndim - marks.ndim))


def valid_first_permutation(
    valid: Bool[Array, "b t"],
) -> tuple[Int[Array, "b t"], Bool[Array, "b t"], Int[Array, "b t"]]:
    """Returns the permutation that moves valid steps to the front, the mask after it, and its inverse.

    The valid steps keep their order, so that sequences with gaps become sequences with lengths.
    """
    order = jnp.argsort(~valid, axis=1, stable=True)
    return order, jnp.take_along_axis(valid, order, axis=1), jnp.argsort(order, axis=1)


def carry_resets(
    resets: Bool[Array, "b t"], order: Int[Array, "b t"], valid: Bool[Array, "b t"], *, reverse: bool
) -> tuple[Bool[Array, "b t"], Bool[Array, "b"]]:
    """Returns the resets of permuted steps, those in gaps at the next valid step, and which sequences end with one.

    Args:
        resets: where the state is set to zero before a step, in the order of computation.
        order: permutation that moves valid steps to the front.
        valid: mask after it.
        reverse: whether steps are computed from the last to the first.
    """
    counts = jax.lax.cumsum(resets.astype(jnp.int32), axis=1, reverse=reverse)
    seen = jnp.where(valid, _taken(counts, order), 0)
    before = jnp.pad(seen[:, 1:], ((0, 0), (0, 1))) if reverse else jnp.pad(seen[:, :-1], ((0, 0), (1, 0)))
    return valid & (seen > before), resets.sum(axis=1, dtype=jnp.int32) > seen.max(axis=1)


@jax.custom_vjp
def permute_steps(x: Array, order: Array, back: Array) -> Array:
    """Permutes the steps of each sequence, `x[k, order[k, t]]`; `back` is the inverse permutation.

    The gradient of a gather is a scatter, which is slow; that of a permutation is its inverse.
    """
    return _taken(x, order)


def _permuted_forward(x: Array, order: Array, back: Array) -> tuple[Array, Array]:
    return _taken(x, order), back


def _permuted_backward(back: Array, d: Array) -> tuple[Array, None, None]:
    return _taken(d, back), None, None


permute_steps.defvjp(_permuted_forward, _permuted_backward)


def forward_fill(outputs: Float[Array, "b t *k"], valid: Bool[Array, "b t"], reverse: bool) -> Float[Array, "b t *k"]:
    """Replaces outputs at invalid steps by that of the last valid step before them; by zero before the first.

    With `reverse`, steps are ordered from the last to the first.
    """
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
