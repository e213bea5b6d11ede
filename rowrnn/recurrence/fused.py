"""The backend "fused": recurrences with backward passes derived by hand.

JAX's automatic derivative of the loop saves twice the necessary residuals and computes a product for the weights'
gradient in every step. Here, with δ the gradient of the loss and `a = W x + b + U h` the gates before activation,

    Elman   h' = tanh(a)                     δa = δh' (1 − h'²)
    LSTM    c' = f c + i g, h' = o tanh(c')  δc' += δh' o (1 − tanh² c'), δc = δc' f,
                                             δa_i = δc' g i (1 − i),   δa_f = δc' c f (1 − f),
                                             δa_g = δc' i (1 − g²),    δa_o = δh' tanh(c') o (1 − o)
    peepholes: i and f also of p_i c and p_f c, o of p_o c'; then δc' has δa_o p_o too, δc also δa_i p_i + δa_f p_f, and
            δp_i = δa_i c, δp_f = δa_f c, δp_o = δa_o c'
    GRU     h' = n + z (h − n),              δa_z = δh' (h − n) z (1 − z),   δa_n = δh' (1 − z) (1 − n²),
            n = tanh(W x + b + r q),         δa_r = δa_n q r (1 − r),        δq = δa_n r,
            q = U h + b_hn                   δh = δh' z + …

and `δh = Uᵀ δa` (for the candidate of a GRU `Uᵀ δq`); beyond a sequence's end δh' and δc' are passed on unchanged. The
weights' gradients are one product each after the loop, over all steps and sequences: `δW = xᵀ δa`, `δU = hᵀ δa`.
Residuals are the activated gates, the outputs and the cell states. On a CPU, in float32, `rowrnn.recurrence.native`
computes both passes by the same equations.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

from rowrnn.cells import Cell, LinearCell
from rowrnn.machine.sharding import summed_over_batch
from rowrnn.recurrence import linear, loop
from rowrnn.recurrence.array_form import (
    Halves,
    Residuals,
    Saved,
    Steps,
    Weights,
    gaps_reason,
    no_recurrence_reason,
    recur,
    recurrence_of,
    run_on_arrays,
)
from rowrnn.recurrence.backend import Backend, Result, ScanCall, no_rounding_reason
from rowrnn.recurrence.gated_steps import STEPS, own_weights


@dataclasses.dataclass(frozen=True)
class FusedPasses:
    """Both passes of a recurrence as JAX loops.

    Args:
        recurrence: "elman", "lstm", "peephole_lstm" or "gru".
        reverse: whether to run from the last valid step to the first.
        compute_dtype: dtype to which the factors of products are rounded; not rounded if None. Sums, gates and states
            keep the dtype of the arrays.
    """

    recurrence: str
    reverse: bool
    compute_dtype: DTypeLike | None = None

    def forward(
        self, x: Array, weights: Weights, state: Halves, steps: Steps, *, train: bool
    ) -> tuple[Array, Halves, Residuals]:
        """Runs the forward pass, see `Passes.forward`.

        Residuals are time-major, `[t, b, h]`: the gates and, last, the cell state after every step.
        """
        x, valid = _valid(x, steps.lengths)
        projected = self._product(x, weights.input_kernel)
        activate, own = STEPS[self.recurrence].activate, own_weights(weights)

        def step(state: Halves, inputs: Any) -> tuple[Halves, tuple[Array, Residuals]]:
            projected, valid, keeps = inputs
            state = jax.tree.map(lambda a: _kept(a, keeps), state)
            recurrent = self._product(_dropped(state[0], steps.dropout), weights.recurrent_kernel)
            hidden, cell, gates = activate(projected, recurrent, own, *state)
            output, after = hidden, (hidden, cell)
            if valid is not None:
                output = jnp.where(valid, hidden, jnp.zeros_like(hidden))
                after = jax.tree.map(lambda new, old: jnp.where(valid, new, old), after, state)
            return after, (output, (*gates, after[1]) if train else ())

        inputs = projected + weights.bias[None, None], valid, _keeps(steps.resets)
        last, (outputs, residuals) = loop.steps(step, state, inputs, reverse=self.reverse)
        return jnp.swapaxes(outputs, 0, 1), last, residuals

    def backward(
        self, saved: Saved, d_outputs: Array, d_state: Halves, d_cells: Array | None, *, input_gradient: bool
    ) -> tuple[Array | None, Weights, Halves]:
        """Runs the backward pass, see `Passes.backward`."""
        x, weights, state, (lengths, resets, dropout), outputs, residuals = saved
        (masked, valid), keeps = _valid(x, lengths), _keeps(resets)
        outputs, d_outputs = jnp.swapaxes(outputs, 0, 1), jnp.swapaxes(d_outputs, 0, 1)
        gates, cells = residuals[:-1], residuals[-1]
        hidden_before, cells_before = jax.tree.map(
            lambda after, initial: _kept(_before(after, initial, lengths, self.reverse), keeps), (outputs, cells), state
        )
        kind, own = STEPS[self.recurrence], own_weights(weights)

        def step(d_state: Halves, inputs: Any) -> tuple[Halves, tuple[Array, Array]]:
            gates, output, hidden, cell, cell_before, d_output, d_shown, valid, keeps = inputs
            d_hidden, d_cell = d_state[0] + d_output, d_state[1] if d_shown is None else d_state[1] + d_shown
            d_input, d_recurrent, direct, d_cell = kind.differentiate(
                gates, output, hidden, cell, cell_before, d_hidden, d_cell, own
            )
            if valid is not None:
                d_input, d_recurrent = (jnp.where(valid, d, jnp.zeros_like(d)) for d in (d_input, d_recurrent))
            d_before = direct + _dropped(self._product(d_recurrent, weights.recurrent_kernel.T), dropout), d_cell
            if valid is not None:
                d_before = jax.tree.map(lambda new, old: jnp.where(valid, new, old), d_before, d_state)
            return jax.tree.map(lambda a: _kept(a, keeps), d_before), (d_input, d_recurrent)

        inputs = (gates, outputs, hidden_before, cells, cells_before, d_outputs, d_cells, valid, keeps)
        d_initial, (d_input, d_recurrent) = loop.steps(step, d_state, inputs, reverse=not self.reverse)
        d_own = kind.own_gradient(d_recurrent, cells_before, cells)
        d_weights = Weights(
            self._outer(masked, d_input),
            d_input.sum(axis=(0, 1)),
            self._outer(_dropped(hidden_before, dropout), d_recurrent),
            *(None if a is None else d_own for a in weights[3:]),
        )
        if not input_gradient:
            return None, d_weights, d_initial
        return jnp.swapaxes(self._product(d_input, weights.input_kernel.T), 0, 1), d_weights, d_initial

    def _product(self, a: Array, b: Array) -> Array:
        """Multiplies factors rounded to `compute_dtype`, accumulating in their own dtype."""
        return jnp.matmul(*self._factors(a, b), preferred_element_type=a.dtype)

    def _outer(self, a: Array, b: Array) -> Array:
        """Sums outer products over all steps and sequences, `[t, b, m], [t, b, n] → [m, n]`."""
        factors, placed = self._factors(a, b), summed_over_batch(a, b)
        return jnp.einsum("tbm,tbn->mn", *factors, preferred_element_type=a.dtype, out_sharding=placed)

    def _factors(self, a: Array, b: Array) -> tuple[Array, Array]:
        return (a, b) if self.compute_dtype is None else (a.astype(self.compute_dtype), b.astype(self.compute_dtype))


def _run(cell: Cell, call: ScanCall) -> Result:
    if linear.is_linear(cell):
        return linear.run(cell, call, parallel=False)
    passes = FusedPasses(recurrence_of(cell), call.reverse, call.compute_dtype)
    return run_on_arrays(cell, call, partial(recur, passes))


def _unfit(cell: Cell, call: ScanCall) -> str:
    return no_rounding_reason(call) if linear.is_linear(cell) else no_recurrence_reason(cell) or gaps_reason(call)


def _passed_over(cell: Cell, call: ScanCall) -> str:
    # The plain loop never writes the coefficients of complex units to memory.
    return "complex units step faster" if isinstance(cell, LinearCell) and cell.complex_units else ""


FUSED = Backend(
    "fused", unfit=_unfit, run=_run, knows_gaps=linear.is_linear, passed_over=_passed_over, instead_of="native"
)


def _dropped(hidden: Array, dropout: Array | None) -> Array:
    return hidden if dropout is None else hidden * jnp.broadcast_to(dropout, hidden.shape)


def _valid(x: Array, lengths: Array | None) -> tuple[Array, Array | None]:
    """Returns time-major sequences, zero at invalid steps, and the mask of valid steps, `[t, b, 1]`, or None."""
    x = jnp.swapaxes(x, 0, 1)
    if lengths is None:
        return x, None
    valid = (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None, :])[:, :, None]
    # The weights' gradient multiplies the padding by zero, and 0 · NaN is NaN.
    return jnp.where(valid, x, jnp.zeros_like(x)), valid


def _keeps(resets: Array | None) -> Array | None:
    """Returns where a step keeps the state before it, `[t, b, 1]`; everywhere if None."""
    return None if resets is None else resets.T[:, :, None] == 0


def _kept(a: Array, keeps: Array | None) -> Array:
    return a if keeps is None else jnp.where(keeps, a, jnp.zeros_like(a))


def _before(after: Array, initial: Array, lengths: Array | None, reverse: bool) -> Array:
    """Returns the values before every step, given those after it and the initial one: `[t, b, h]`."""
    if not reverse:
        return jnp.concatenate([initial[None], after[:-1]])
    before = jnp.concatenate([after[1:], initial[None]])
    if lengths is None:
        return before
    first = jnp.arange(after.shape[0], dtype=lengths.dtype)[:, None] == lengths[None, :] - 1
    return jnp.where(first[:, :, None], initial[None], before)
