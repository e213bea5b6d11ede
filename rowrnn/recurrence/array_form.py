"""Gated cells as arrays, the form used by the backends "fused", "native" and "cudnn", and the custom VJP of the first
two.

A recurrence is a pair of functions of arrays: a forward pass, which returns residuals, and a backward pass derived by
hand.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array

from rowrnn.cells import CELLS, Cell, GatedCell
from rowrnn.cells.gated import Weights
from rowrnn.recurrence.backend import Result, ScanCall, dtype_of

Halves = tuple[Array, Array | None]
"""A state as arrays: hidden state `[b, h]`, and the cell state `[b, h]` of an LSTM or None."""
Residuals = tuple[Array | None, ...]

RECURRENT_CELLS = ", ".join(kind.__name__ for kind in CELLS.values() if "recurrence" in vars(kind))
"""Names of the cells that have such a recurrence, as text."""


class Saved(NamedTuple):
    """Values saved by the forward pass for the backward pass: its arguments, outputs and residuals."""

    x: Array
    weights: Weights
    state: Halves
    lengths: Array | None
    outputs: Array
    residuals: Residuals


@runtime_checkable
class Passes(Protocol):
    """Forward and backward pass of a recurrence; hashable, since it is a static argument of the custom VJP."""

    def forward(
        self, x: Array, weights: Weights, state: Halves, lengths: Array | None, *, train: bool
    ) -> tuple[Array, Halves, Residuals]:
        """Computes outputs `[b, t, h]`, the last state, and, with `train`, the residuals of the backward pass."""
        ...

    def backward(
        self, saved: Saved, d_outputs: Array, d_state: Halves, *, input_gradient: bool
    ) -> tuple[Array | None, Weights, Halves]:
        """Computes the gradients of `x` (None without `input_gradient`), the weights and the initial state."""
        ...


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(passes: Passes, x: Array, weights: Weights, state: Halves, lengths: Array | None) -> tuple[Array, Halves]:
    """Computes outputs `[b, t, h]` and the last state of a recurrence over sequences.

    Args:
        passes: the recurrence.
        x: sequences `[b, t, d]`; steps beyond a sequence's length have no influence.
        weights: parameters of the cell.
        state: state before the first step.
        lengths: number of valid steps, int32 `[b]`; all if None.
    """
    outputs, last, _ = passes.forward(x, weights, state, lengths, train=False)
    return outputs, last


def _recur_forward(passes: Passes, *primals: Any) -> tuple[Any, Any]:
    x, weights, state, lengths = jax.tree.map(
        lambda primal: primal.value, primals, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal)
    )
    outputs, last, residuals = passes.forward(x, weights, state, lengths, train=True)
    # Whether the gradient of x is needed, encoded as a pytree structure: residuals cannot be Python booleans.
    asked = () if primals[0].perturbed else None
    return (outputs, last), (asked, Saved(x, weights, state, lengths, outputs, residuals))


def _recur_backward(passes: Passes, residuals: Any, gradients: Any) -> tuple[Any, ...]:
    asked, saved = residuals
    # Zeros derived from the saved arrays have their sharding.
    d_outputs, d_state = jax.tree.map(
        lambda d, like: jnp.zeros_like(like) if isinstance(d, SymbolicZero) else d,
        gradients,
        (saved.outputs, saved.state),
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    return *passes.backward(saved, d_outputs, d_state, input_gradient=asked is not None), None


recur.defvjp(_recur_forward, _recur_backward, symbolic_zeros=True)


def recurrence_of(cell: Cell) -> str:
    """Returns the name of the recurrence with the equations of this cell; "" if there is none."""
    return vars(type(cell)).get("recurrence", "")  # Not inherited: a subclass may have other equations.


def no_recurrence_reason(cell: Cell) -> str:
    """Returns the reason why a cell has no recurrence; "" if it has one."""
    return "" if recurrence_of(cell) else f"{type(cell).__name__} is none of {RECURRENT_CELLS}"


def outputs_only_reason(call: ScanCall) -> str:
    """Returns which requested feature recurrences over arrays do not support; "" if there is none."""
    if call.resets is not None:
        return "it has no resets"
    return "it has no states to return but the last" if call.return_states else ""


def run_on_arrays(cell: Cell, call: ScanCall, compute: Callable[..., tuple[Array, Halves]]) -> Result:
    """Runs `compute(x, weights, state, lengths)` on the arrays of a cell, cast to the dtype of the computation."""
    assert isinstance(cell, GatedCell)
    lengths = None if call.valid is None else call.valid.sum(axis=1, dtype=jnp.int32)
    arrays = call.x, cell.as_arrays(), cell.split_state(call.state)
    x, weights, state = jax.tree.map(lambda a: a.astype(dtype_of(cell, call)), arrays)
    outputs, last = compute(x, weights, state, lengths)
    return cell.merge_state(*last), outputs, None
