"""Gated cells as the arrays that "fused", "native" and "cudnn" take, and how the first two are differentiated.

A recurrence is a pair of passes over arrays: forward, which keeps residuals, and backward, derived by hand.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array

from rowrnn.cells import CELLS, Cell, GatedCell
from rowrnn.recurrence.backend import Result, ScanCall, dtype_of

Halves = tuple[Array, Array | None]
"""A state as arrays: hidden `[b, h]` and, of an LSTM, its cell `[b, h]`."""
Residuals = tuple[Array | None, ...]

RECURRENT_CELLS = ", ".join(kind.__name__ for kind in CELLS.values() if "recurrence" in vars(kind))
"""The cells that have a recurrence over arrays, by name."""


class Weights(NamedTuple):
    """Parameters of a gated cell.

    Args:
        input_kernel: `[d, gates·h]`.
        bias: `[gates·h]`.
        recurrent_kernel: `[h, gates·h]`.
        recurrent_bias: bias of the recurrent product's last gate, `[h]` of a GRU, else None.
    """

    input_kernel: Array
    bias: Array
    recurrent_kernel: Array
    recurrent_bias: Array | None


class Saved(NamedTuple):
    """What a forward pass leaves for the backward pass: its arguments, its outputs and its residuals."""

    x: Array
    weights: Weights
    state: Halves
    lengths: Array | None
    outputs: Array
    residuals: Residuals


@runtime_checkable
class Passes(Protocol):
    """The two passes of a recurrence; hashable, since JAX compiles once for each."""

    def forward(
        self, x: Array, weights: Weights, state: Halves, lengths: Array | None, *, train: bool
    ) -> tuple[Array, Halves, Residuals]:
        """Computes outputs `[b, t, h]`, the last state and, to train, what the backward pass needs."""
        ...

    def backward(
        self, saved: Saved, d_outputs: Array, d_state: Halves, *, input_gradient: bool
    ) -> tuple[Array | None, Weights, Halves]:
        """Computes the gradients of `x`, None without `input_gradient`, of the weights and of the state."""
        ...


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(passes: Passes, x: Array, weights: Weights, state: Halves, lengths: Array | None) -> tuple[Array, Halves]:
    """Computes outputs `[b, t, h]` and the last state of a recurrence over sequences.

    Args:
        passes: the recurrence.
        x: sequences `[b, t, d]`; what lies past their lengths has no influence.
        weights: its parameters.
        state: state before the first step.
        lengths: number of valid steps, int32 `[b]`; all where None.
    """
    outputs, last, _ = passes.forward(x, weights, state, lengths, train=False)
    return outputs, last


def _recur_forward(passes: Passes, *primals: Any) -> tuple[Any, Any]:
    x, weights, state, lengths = jax.tree.map(
        lambda primal: primal.value, primals, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal)
    )
    outputs, last, residuals = passes.forward(x, weights, state, lengths, train=True)
    # Whether anybody asks for the gradient of x: a structure, since residuals hold no booleans.
    asked = () if primals[0].perturbed else None
    return (outputs, last), (asked, Saved(x, weights, state, lengths, outputs, residuals))


def _recur_backward(passes: Passes, residuals: Any, gradients: Any) -> tuple[Any, ...]:
    asked, saved = residuals
    # Zeros are made of what was saved, so that they are sharded as it is.
    d_outputs, d_state = jax.tree.map(
        lambda d, like: jnp.zeros_like(like) if isinstance(d, SymbolicZero) else d,
        gradients,
        (saved.outputs, saved.state),
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    return *passes.backward(saved, d_outputs, d_state, input_gradient=asked is not None), None


recur.defvjp(_recur_forward, _recur_backward, symbolic_zeros=True)


def recurrence_of(cell: Cell) -> str:
    """Returns the name of the recurrence that steps exactly as a cell does; empty where there is none."""
    return vars(type(cell)).get("recurrence", "")  # Not inherited: a subclass may step otherwise.


def unlike(cell: Cell) -> str:
    """Returns why a cell has no recurrence; empty where it has one."""
    return "" if recurrence_of(cell) else f"{type(cell).__name__} is none of {RECURRENT_CELLS}"


def beyond_outputs(call: ScanCall) -> str:
    """Returns what a call asks for that recurrences over arrays have not; empty where nothing."""
    if call.resets is not None:
        return "it has no resets"
    return "it has no states to return but the last" if call.return_states else ""


def run_on_arrays(cell: Cell, call: ScanCall, compute: Callable[..., tuple[Array, Halves]]) -> Result:
    """Runs `compute(x, weights, state, lengths)` on a cell's arrays, all in the dtype of the computation."""
    assert isinstance(cell, GatedCell)
    lengths = None if call.valid is None else call.valid.sum(axis=1, dtype=jnp.int32)
    arrays = call.x, Weights(*cell.as_arrays()), cell.halves(call.state)
    x, weights, state = jax.tree.map(lambda a: a.astype(dtype_of(cell, call)), arrays)
    outputs, last = compute(x, weights, state, lengths)
    return cell.whole(*last), outputs, None
