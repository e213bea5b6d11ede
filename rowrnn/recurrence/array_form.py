"""Gated cells as arrays, the form used by the backends "fused", "native", "persistent" and "cudnn", and the custom VJP
of the first three.

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
from rowrnn.cells.gated import Halves, Weights
from rowrnn.cells.zoneout import ZoneoutCell, without_zoneout
from rowrnn.machine.compiled_call import or_empty
from rowrnn.recurrence.backend import Result, ScanCall, dtype_of, name_of

Residuals = tuple[Array | None, ...]

RECURRENT_CELLS = ", ".join(kind.__name__ for kind in CELLS.values() if "recurrence" in vars(kind))
"""Names of the cells that have such a recurrence, as text."""


class Steps(NamedTuple):
    """What the steps of sequences are.

    Args:
        lengths: number of valid steps, int32 `[b]`; all if None.
        resets: int32 `[b, t]`, 1 at valid steps before which the state is set to zero, else 0; none if None.
        dropout: `[b, h]`, multiplied with the hidden state where that enters the recurrent product; none if None.
        holds: zoneout's rates or masks of both halves of the state, `[b, t, h]`; none if None.
    """

    lengths: Array | None
    resets: Array | None
    dropout: Array | None
    holds: Halves | None = None

    def as_given(self, like: Array) -> tuple[Array, ...]:
        """Returns all but zoneout's as compiled functions expect them, empty arrays for None."""
        marks = (jnp.zeros((0,), jnp.int32) if marks is None else marks for marks in (self.lengths, self.resets))
        return *marks, or_empty(self.dropout, like)

    def gradient(self) -> "Steps":
        """Returns their gradient: masks of dropout and zoneout are drawn, not learned, and have zeros."""
        return Steps(None, None, *jax.tree.map(jnp.zeros_like, (self.dropout, self.holds)))


class Saved(NamedTuple):
    """Values saved by the forward pass for the backward pass: its arguments, outputs and residuals."""

    x: Array
    weights: Weights
    state: Halves
    steps: Steps
    outputs: Array
    residuals: Residuals


@runtime_checkable
class Passes(Protocol):
    """Forward and backward pass of a recurrence; hashable, since it is a static argument of the custom VJP."""

    def forward(
        self, x: Array, weights: Weights, state: Halves, steps: Steps, *, train: bool
    ) -> tuple[Array, Halves, Residuals]:
        """Computes outputs `[b, t, h]`, the last state, and, with `train`, the residuals of the backward pass.

        The last residual is the cell state after every step, `[t, b, h]`, of an LSTM, else None.
        """
        ...

    def backward(
        self, saved: Saved, d_outputs: Array, d_state: Halves, d_cells: Array | None, *, input_gradient: bool
    ) -> tuple[Array | None, Weights, Halves]:
        """Computes the gradients of `x` (None without `input_gradient`), the weights and the initial state.

        `d_cells` is the gradient of the cell states after every step, `[t, b, h]`; None where they are not shown.
        """
        ...


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    passes: Passes, show_cells: bool, x: Array, weights: Weights, state: Halves, steps: Steps
) -> tuple[Array, Halves, Array | None]:
    """Computes outputs `[b, t, h]`, the last state, and, with `show_cells`, the cell state after every step.

    Args:
        passes: the recurrence.
        show_cells: whether to return the cell states of an LSTM, `[t, b, h]`; else None takes their place.
        x: sequences `[b, t, d]`; steps beyond a sequence's length have no influence.
        weights: parameters of the cell.
        state: state before the first step.
        steps: what the steps are.
    """
    outputs, last, residuals = passes.forward(x, weights, state, steps, train=show_cells)
    return outputs, last, residuals[-1] if show_cells else None


def _recur_forward(passes: Passes, show_cells: bool, *primals: Any) -> tuple[Any, Any]:
    x, weights, state, steps = jax.tree.map(
        lambda primal: primal.value, primals, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal)
    )
    outputs, last, residuals = passes.forward(x, weights, state, steps, train=True)
    # Whether the gradient of x is needed, encoded as a pytree structure: residuals cannot be Python booleans.
    asked = () if primals[0].perturbed else None
    shown = residuals[-1] if show_cells else None
    return (outputs, last, shown), (asked, Saved(x, weights, state, steps, outputs, residuals))


def _recur_backward(passes: Passes, show_cells: bool, residuals: Any, gradients: Any) -> tuple[Any, ...]:
    asked, saved = residuals
    # Zeros derived from the saved arrays have their sharding.
    d_outputs, d_state, d_cells = jax.tree.map(
        lambda d, like: jnp.zeros_like(like) if isinstance(d, SymbolicZero) else d,
        gradients,
        (saved.outputs, saved.state, saved.residuals[-1] if show_cells else None),
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    found = passes.backward(saved, d_outputs, d_state, d_cells, input_gradient=asked is not None)
    return *found, saved.steps.gradient()


recur.defvjp(_recur_forward, _recur_backward, symbolic_zeros=True)


def recurrence_of(cell: Cell) -> str:
    """Returns the name of the recurrence with the equations of this cell; "" if there is none."""
    # Not inherited: a subclass may have other equations.
    return vars(type(without_zoneout(cell))).get("recurrence", "")


def no_recurrence_reason(cell: Cell) -> str:
    """Returns the reason why a cell has no recurrence; "" if it has one."""
    return "" if recurrence_of(cell) else f"{name_of(cell)} is none of {RECURRENT_CELLS}"


def outputs_only_reason(call: ScanCall) -> str:
    """Returns what is asked that computations of outputs alone do not have; "" if nothing is."""
    if call.resets is not None:
        return "it has no resets"
    if call.dropout_mask is not None:
        return "it has no dropout"
    return "it has no states to return but the last" if call.return_states else ""


def gaps_reason(call: ScanCall) -> str:
    """Returns the reason why a recurrence over steps without gaps cannot compute a call; "" if it can."""
    return "it has no states to return beside a mask" if call.gaps and call.return_states else ""


def run_on_arrays(cell: Cell, call: ScanCall, compute: Callable[..., tuple[Array, Halves, Array | None]]) -> Result:
    """Runs `compute(show_cells, x, weights, state, steps)`, see `recur`, on the arrays of a cell.

    The arrays are cast to the dtype of the computation.
    """
    x, holds, gated = call.x, None, without_zoneout(cell)
    assert isinstance(gated, GatedCell)
    if isinstance(cell, ZoneoutCell):
        x, holds = cell.split(x)
        holds = gated.split_state(holds)
    arrays = x, gated.as_arrays(), gated.split_state(call.state), holds
    x, weights, state, holds = jax.tree.map(lambda a: a.astype(dtype_of(cell, call)), arrays)
    steps = steps_of(call)._replace(holds=holds)
    outputs, last, cells = compute(shows_cells(call, state), x, weights, state, steps)
    return outcome(gated, call, state, outputs, last, None if cells is None else jnp.swapaxes(cells, 0, 1))


def shows_cells(call: ScanCall, state: Halves) -> bool:
    """Returns whether a call asks for the cell states of every step."""
    return call.return_states and state[1] is not None


def steps_of(call: ScanCall) -> Steps:
    """Returns what the steps of a call without gaps are."""
    lengths = None if call.valid is None else call.valid.sum(axis=1, dtype=jnp.int32)
    return Steps(lengths, None if call.resets is None else call.resets.astype(jnp.int32), call.dropout_mask)


def outcome(
    cell: GatedCell, call: ScanCall, state: Halves, outputs: Array, last: Halves, cells: Array | None
) -> Result:
    """Returns the result of a call without gaps, given the state before it and the cell states shown, `[b, t, h]`."""
    if not call.return_states:
        return cell.merge_state(*last), outputs, None
    shown: Any = outputs, cells
    if call.valid is not None:
        # The steps beyond the end come last, or first in reverse: the state does not change there.
        beyond, valid = state if call.reverse else last, call.valid[:, :, None]
        shown = jax.tree.map(lambda of_steps, held: jnp.where(valid, of_steps, held[:, None]), shown, beyond)
    return cell.merge_state(*last), outputs, cell.merge_state(*shown)
