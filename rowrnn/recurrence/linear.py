"""The backend "parallel": the recurrence of linear cells, `h' = a ⊙ h + b`, computed in parallel over time.

The backend "fused" uses the same code step by step. The gradient is derived by hand: with δ the gradient of the loss,
the gradients of the states obey the same recurrence backwards,

    δh_t = δy_t + a_{t+1} ⊙ δh_{t+1},      δb_t = δh_t,      δa_t = δh_t ⊙ h_{t-1},

so that the only residuals are a and the outputs. All values may be complex: JAX's gradients are not conjugated.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from rowrnn.cells import Cell, LinearCell
from rowrnn.machine.sharding import placed_as
from rowrnn.recurrence import loop
from rowrnn.recurrence.backend import Backend, Result, ScanCall, no_rounding_reason
from rowrnn.recurrence.masking import expand_to, zero_where_invalid

Coefficients = Inexact[Array, "t b hidden"]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def linear_recurrence(
    decay: Coefficients, drive: Coefficients, initial: Inexact[Array, "b hidden"], reverse: bool, parallel: bool
) -> Coefficients:
    """Computes the states of `h' = a ⊙ h + b` after every step, time-major `[t, b, hidden]`.

    Args:
        decay: a of every step, `[t, b, hidden]`.
        drive: b of every step, `[t, b, hidden]`.
        initial: state before the first step, `[b, hidden]`.
        reverse: whether to run from the last step to the first.
        parallel: whether to use a parallel prefix scan, about 2·log₂ t operations on all steps (Blelloch 1990), instead
            of a loop of t steps.
    """
    if not parallel:

        def step(state: Array, coefficients: tuple[Array, Array]) -> tuple[Array, Array]:
            state = _decayed(coefficients[0], state) + coefficients[1]
            return state, state

        return loop.steps(step, initial, (decay, drive), reverse=reverse)[1]

    def combine(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return _decayed(second[0], first[0]), _decayed(second[0], first[1]) + second[1]

    product, states = jax.lax.associative_scan(combine, (decay, drive), reverse=reverse)
    return _decayed(product, jnp.broadcast_to(initial[None], product.shape)) + states


def _decayed(decay: Array, state: Array) -> Array:
    """Computes `a ⊙ h`, and exactly 0 where a is 0, so that a reset also removes NaN from the state."""
    return jnp.where(decay == 0, jnp.zeros_like(state), decay * state)


def _forward(
    decay: Array, drive: Array, initial: Array, reverse: bool, parallel: bool
) -> tuple[Array, tuple[Array, Array, Array]]:
    states = linear_recurrence(decay, drive, initial, reverse, parallel)
    return states, (decay, states, initial)


def _backward(
    reverse: bool, parallel: bool, residuals: tuple[Array, Array, Array], d_states: Array
) -> tuple[Array, Array, Array]:
    decay, states, initial = residuals
    # The decay of a step multiplies the gradient that flows to the step before.
    after = _shifted(decay, jnp.zeros_like(initial), not reverse)
    d = linear_recurrence(after, d_states, jnp.zeros_like(initial), not reverse, parallel)
    first = -1 if reverse else 0
    return d * _shifted(states, initial, reverse), d, _decayed(decay[first], d[first])


linear_recurrence.defvjp(_forward, _backward)


def _shifted(array: Array, initial: Array, reverse: bool) -> Array:
    """Returns the values of the step before each step, `initial` for the first."""
    if reverse:
        return jnp.concatenate([array[1:], initial[None]])
    return jnp.concatenate([initial[None], array[:-1]])


def is_linear(cell: Cell) -> bool:
    """Returns whether a cell is linear; a subclass of `LinearCell` that overrides `step` is not."""
    return isinstance(cell, LinearCell) and type(cell).step is LinearCell.step


def run(cell: Cell, call: ScanCall, *, parallel: bool) -> Result:
    """Computes a call of a linear cell; an invalid step has a = 1 and b = 0."""
    assert isinstance(cell, LinearCell)
    x, valid, resets = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (call.x, call.valid, call.resets))
    coefficients = cell.coefficients(cell.project(zero_where_invalid(x, valid)))
    units = cell.units(call.state)
    decay, drive = (coefficient.astype(units.dtype) for coefficient in coefficients)
    decay = placed_as(decay, drive)  # A decay shared by all sequences is replicated.
    if valid is not None:
        decay = jnp.where(expand_to(valid, decay), decay, jnp.ones_like(decay))
        drive = zero_where_invalid(drive, valid)
    decay = decay if resets is None else zero_where_invalid(decay, ~resets)
    states = linear_recurrence(decay, drive, units, call.reverse, parallel)
    states = cell.parts(states, call.state.dtype)
    last = states[0 if call.reverse else -1]
    outputs, states = (jnp.swapaxes(a, 0, 1) for a in (zero_where_invalid(states, valid), states))
    return last, outputs, states if call.return_states else None


def _parallel_unfit(cell: Cell, call: ScanCall) -> str:
    return no_rounding_reason(call) if is_linear(cell) else f"{type(cell).__name__} is no linear cell"


def _parallel_passed_over(cell: Cell, call: ScanCall) -> str:
    # On a CPU the sequential loop reads each coefficient once, from the cache.
    return "on a CPU step by step is faster" if jax.default_backend() == "cpu" else ""


PARALLEL = Backend(
    "parallel",
    unfit=_parallel_unfit,
    run=partial(run, parallel=True),
    knows_gaps=is_linear,
    passed_over=_parallel_passed_over,
)
