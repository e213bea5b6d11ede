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

and `δh = Uᵀ δa` (for the candidate of a GRU `Uᵀ δq`); beyond a sequence's end δh' and δc' are passed on unchanged. With
zoneout a step leads from a state s to `s'' = (1 − m) s' + m s`, for masks or rates m of each half; then
`δs' = (1 − m) δs''`, and δs has `m δs''` too. The s' that the equations need follows from what is kept: c' from the
gates, h' of Elman's cell as `(s'' − m s) / (1 − m)`; of a GRU none is needed.

The weights' gradients are one product each after the loop, over all steps and sequences: `δW = xᵀ δa`, `δU = hᵀ δa`.
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
from rowrnn.recurrence.gated_steps import STEPS, Marks, dropped, kept, own_weights, step, step_back


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
        projected = self._product(x, weights.input_kernel) + weights.bias[None, None]
        marks = Marks(valid, _keeps(steps.resets), _time_major(steps.holds))
        last, outputs, residuals = self._forward_loop(projected, weights, state, marks, steps.dropout, train=train)
        return jnp.swapaxes(outputs, 0, 1), last, residuals

    def backward(
        self, saved: Saved, d_outputs: Array, d_state: Halves, d_cells: Array | None, *, input_gradient: bool
    ) -> tuple[Array | None, Weights, Halves]:
        """Runs the backward pass, see `Passes.backward`."""
        x, weights, state, (lengths, resets, dropout, holds), outputs, residuals = saved
        (masked, valid), keeps = _valid(x, lengths), _keeps(resets)
        outputs, d_outputs, holds = _time_major((outputs, d_outputs, holds))
        kind, cells = STEPS[self.recurrence], residuals[-1]
        hidden_before, cells_before = jax.tree.map(
            lambda after, initial: kept(_before(after, initial, lengths, self.reverse), keeps), (outputs, cells), state
        )
        if holds is not None:
            before = hidden_before, cells_before
            outputs, cells = kind.released(residuals[:-1], (outputs, cells), before, holds)
        of_steps = residuals[:-1], outputs, hidden_before, cells, cells_before, d_outputs, d_cells
        marks = Marks(valid, keeps, holds)
        d_initial, d_input, d_recurrent = self._backward_loop(of_steps, weights, d_state, marks, dropout)
        gates = tuple(jnp.split(d_recurrent, _gates(weights), axis=-1))
        d_own = kind.own_gradient(gates, cells_before, cells)
        d_weights = Weights(
            self._outer(masked, d_input),
            d_input.sum(axis=(0, 1)),
            self._outer(dropped(hidden_before, dropout), d_recurrent),
            *(None if a is None else d_own for a in weights[3:]),
        )
        if not input_gradient:
            return None, d_weights, d_initial
        return jnp.swapaxes(self._product(d_input, weights.input_kernel.T), 0, 1), d_weights, d_initial

    def _forward_loop(
        self, projected: Array, weights: Weights, state: Halves, marks: Marks, dropout: Array | None, *, train: bool
    ) -> tuple[Halves, Array, Residuals]:
        """Computes the last state, outputs `[t, b, h]` and residuals, given the projected inputs `[t, b, gates·h]`."""
        kind, own = STEPS[self.recurrence], own_weights(weights)

        def split(a: Array) -> tuple[Array, ...]:
            return tuple(jnp.split(a, _gates(weights), axis=-1))

        def multiply(hidden: Array) -> tuple[Array, ...]:
            return split(self._product(hidden, weights.recurrent_kernel))

        def turn(state: Halves, inputs: Any) -> tuple[Halves, tuple[Array, Residuals]]:
            after, output, gates = step(kind, multiply, own, dropout, state, split(inputs[0]), inputs[1])
            return after, (output, (*gates, after[1]) if train else ())

        last, (outputs, residuals) = loop.steps(turn, state, (projected, marks), reverse=self.reverse)
        return last, outputs, residuals

    def _backward_loop(
        self, of_steps: Any, weights: Weights, d_state: Halves, marks: Marks, dropout: Array | None
    ) -> tuple[Halves, Array, Array]:
        """Computes the gradients of the initial state, the projected inputs and the products, `[t, b, gates·h]`."""
        kind, own, transposed = STEPS[self.recurrence], own_weights(weights), weights.recurrent_kernel.T

        def multiply(gates: tuple[Array, ...]) -> Array:
            return self._product(jnp.concatenate(gates, axis=-1), transposed)

        def turn(d_state: Halves, inputs: Any) -> tuple[Halves, tuple[Array, Array]]:
            d_before, d_input, d_recurrent = step_back(kind, multiply, own, dropout, d_state, *inputs)
            return d_before, (jnp.concatenate(d_input, axis=-1), jnp.concatenate(d_recurrent, axis=-1))

        d_initial, (d_input, d_recurrent) = loop.steps(turn, d_state, (of_steps, marks), reverse=not self.reverse)
        return d_initial, d_input, d_recurrent

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


def _valid(x: Array, lengths: Array | None) -> tuple[Array, Array | None]:
    """Returns time-major sequences, zero at invalid steps, and the mask of valid steps, `[t, b, 1]`, or None."""
    x = jnp.swapaxes(x, 0, 1)
    if lengths is None:
        return x, None
    valid = (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None, :])[:, :, None]
    # The weights' gradient multiplies the padding by zero, and 0 · NaN is NaN.
    return jnp.where(valid, x, jnp.zeros_like(x)), valid


def _time_major(of_steps: Any) -> Any:
    """Swaps the axes of sequences and steps."""
    return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), of_steps)


def _keeps(resets: Array | None) -> Array | None:
    """Returns where a step keeps the state before it, `[t, b, 1]`; everywhere if None."""
    return None if resets is None else resets.T[:, :, None] == 0


def _gates(weights: Weights) -> int:
    return weights.recurrent_kernel.shape[1] // weights.recurrent_kernel.shape[0]


def _before(after: Array, initial: Array, lengths: Array | None, reverse: bool) -> Array:
    """Returns the values before every step, given those after it and the initial one: `[t, b, h]`."""
    if not reverse:
        return jnp.concatenate([initial[None], after[:-1]])
    before = jnp.concatenate([after[1:], initial[None]])
    if lengths is None:
        return before
    first = jnp.arange(after.shape[0], dtype=lengths.dtype)[:, None] == lengths[None, :] - 1
    return jnp.where(first[:, :, None], initial[None], before)
