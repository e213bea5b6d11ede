"""The one door through which everything recurrent goes: `scan(cell, x)`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from rowrnn.cells import Cell
from rowrnn.typing import Lengths, Outputs, Sequence, State


def scan(
    cell: Cell,
    x: ArrayLike,
    *,
    initial_state: State | None = None,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> tuple[Outputs, State]:
    """Runs a cell over the steps of a batch of sequences.

    Args:
        cell: any of `rowrnn.cells`.
        x: sequences `[b, t, d]`, `t ≥ 1`, `d = cell.features`.
        initial_state: the cell's state before the first step, its arrays `[b, hidden]`; zeros where not given.
        lengths: number of valid steps of each sequence, integers `[b]` between 0 and t; all t where not given.
            Past its length a sequence's state is frozen and its outputs are zero, whatever the padding holds.
        reverse: run from the last valid step to the first; outputs stay aligned with their inputs.

    Returns:
        All outputs `[b, t, hidden]` and the last state (with `reverse`, that after the first step).

    Raises:
        ValueError: if a shape does not fit, or if `lengths`, where known outside `jax.jit`, leaves [0, t].
        TypeError: if `x` is not floating point or `lengths` not integer.
    """
    x = jnp.asarray(x)
    _check_sequence(cell, x)
    valid = None if lengths is None else _valid_steps(_as_lengths(lengths, x), x)
    with jax.named_scope("rowrnn.scan"):
        x = jnp.swapaxes(x, 0, 1)
        if valid is not None:
            # Masked before the product: its gradient multiplies the padding by zero, and 0 · NaN is NaN.
            x = jnp.where(valid[:, :, None], x, jnp.zeros_like(x))
        projected = cell.project(x)
        state = cell.initial_state(projected[0])
        if initial_state is not None:
            state = _as_state(initial_state, like=state)
        outputs, state = _scan_steps(cell, projected, state, valid, reverse)
        return jnp.swapaxes(outputs, 0, 1), state


def _scan_steps(
    cell: Cell,
    projected: Float[Array, "t b gates"],
    state: State,
    valid: Bool[Array, "t b"] | None,
    reverse: bool,
) -> tuple[Float[Array, "t b hidden"], State]:
    """The recurrence itself, time-major, from projected inputs: differentiated by JAX."""

    def step(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, Array]:
        projected, valid = inputs
        stepped, output = cell.step(state, projected)
        if valid is None:
            return stepped, output
        column = valid[:, None]
        frozen = jax.tree.map(lambda new, old: jnp.where(column, new, old), stepped, state)
        return frozen, jnp.where(column, output, jnp.zeros_like(output))

    state, outputs = jax.lax.scan(step, state, (projected, valid), reverse=reverse)
    return outputs, state


def _valid_steps(lengths: Lengths, x: Sequence) -> Bool[Array, "t b"]:
    steps = jnp.arange(x.shape[1], dtype=lengths.dtype)
    return steps[:, None] < lengths[None, :]


def _check_sequence(cell: Cell, x: Array) -> None:
    if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != cell.features:
        raise ValueError(
            f"scan expected sequences of shape [b, t, d] with at least one step and d = {cell.features} features, "
            f"and was given {_shape(x)}."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"scan expected floating-point sequences and was given {x.dtype}: convert and scale them first."
        )


def _as_lengths(lengths: ArrayLike, x: Array) -> Lengths:
    lengths = jnp.asarray(lengths)
    batch, steps = x.shape[:2]
    if lengths.shape != (batch,):
        raise ValueError(f"scan expected one length for each of {batch} sequences, [{batch}], not {_shape(lengths)}.")
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"scan expected integer lengths and was given {lengths.dtype}.")
    lengths = lengths.astype(jnp.int32)  # A narrow dtype may be too small to count the steps.
    # Values are known only outside a transformation; inside, a length outside [0, t] acts as the nearest bound.
    if not isinstance(lengths, jax.core.Tracer) and batch and not ((lengths >= 0) & (lengths <= steps)).all():
        raise ValueError(
            f"scan expected lengths between 0 and t = {steps}, the number of steps; they run from "
            f"{int(lengths.min())} to {int(lengths.max())}. Cut the lengths or pad the sequences."
        )
    return lengths


def _as_state(state: State, like: State) -> State:
    if jax.tree.structure(state) != jax.tree.structure(like):
        raise ValueError(
            f"scan expected an initial state of the form {jax.tree.map(_shape, like)}, "
            f"and was given {jax.tree.map(_shape, state)}."
        )
    for given, expected in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
        if jnp.shape(given) != expected.shape:
            raise ValueError(
                f"scan expected an initial state of shape {_shape(expected)} and was given {_shape(given)}."
            )
    return jax.tree.map(lambda given, expected: jnp.asarray(given, expected.dtype), state, like)


def _shape(x: ArrayLike) -> str:
    return str(list(jnp.shape(x)))
