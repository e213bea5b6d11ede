"""The backend "native" of cells whose step has stages; each needs all units of the one before (`kernels/staged.h`).

These are cells with a second product in each step (MGU, the GRU with the reset first, the projected LSTM), and those
with layer normalization. What a step reads of its input is projected for all steps at once; the compiled code runs the
recurrence and its gradient, and the gradients of its kernels are one product each over all steps, by XLA.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rowrnn.cells import MGU, Cell, LayerNormGRU, LayerNormLSTM, ProjectedLSTM, ResetFirstGRU
from rowrnn.machine.compiled_call import call_compiled, differentiable_once, or_empty, over_batch
from rowrnn.recurrence import plain
from rowrnn.recurrence.array_form import Halves, Steps, outcome, shows_cells, steps_of
from rowrnn.recurrence.backend import Result, ScanCall, dtype_of
from rowrnn.recurrence.masking import zero_where_invalid


class StagedWeights(NamedTuple):
    """Parameters of a recurrence as arrays.

    Args:
        first: kernel of the product of the hidden state, `[outputs, gates·h]`.
        second: kernel of the product that follows in a step, `[h, outputs]`; None without.
        own: weights that each unit has for itself, `[count, h]`; None without.
    """

    first: Array
    second: Array | None = None
    own: Array | None = None


class StagedKind(NamedTuple):
    """What the compiled code and the products around it need to know of a recurrence.

    Args:
        name: name of its functions.
        weights: returns the weights of its cell.
        project: computes what steps read of the input, given the cell and sequences.
        other: which gradient the backward pass returns beside that of the projected inputs: "first", that of the first
            product where that differs, "second", that of the second product, or "". Where "first" differs, the gradient
            needs what was projected too.
    """

    name: str
    weights: Callable[[Any], StagedWeights]
    project: Callable[[Any, Array], Array] = lambda cell, x: cell.project(x)
    other: str = ""


def _split(cell: MGU | ResetFirstGRU) -> StagedWeights:
    """Returns the kernel of the gates, and that of the candidate, which is the last."""
    kernel = cell.recurrent_kernel[...]
    return StagedWeights(kernel[:, : -cell.hidden], kernel[:, -cell.hidden :])


def _normalized(name: str, further: Callable[[Any], Sequence[Any]]) -> StagedKind:
    """Returns the kind of a cell with layer normalization, of both halves of its gates in the compiled code.

    Args:
        name: see `StagedKind`.
        further: returns own weights of the cell beside those of the normalized gates.
    """

    def weights(cell: Any) -> StagedWeights:
        of_gates = (cell.recurrent_scale, cell.input_scale, cell.bias)
        own = jnp.concatenate([*(a[...] for a in (*of_gates, *further(cell)))])
        return StagedWeights(cell.recurrent_kernel[...], own=own.reshape(-1, cell.hidden))

    return StagedKind(name, weights, lambda cell, x: x @ cell.input_kernel[...], other="first")


KINDS: dict[type[Cell], StagedKind] = {
    MGU: StagedKind("mgu", _split),
    ResetFirstGRU: StagedKind("reset_first_gru", _split),
    ProjectedLSTM: StagedKind(
        "projected_lstm",
        lambda cell: StagedWeights(cell.recurrent_kernel[...], cell.projection_kernel[...]),
        other="second",
    ),
    LayerNormLSTM: _normalized("layer_norm_lstm", lambda cell: (cell.cell_scale, cell.cell_bias)),
    LayerNormGRU: _normalized("layer_norm_gru", lambda cell: (cell.candidate_bias,)),
}


def is_staged(cell: Cell) -> bool:
    """Returns whether this is one of the cells here; a subclass, which may have other equations, is not."""
    return type(cell) in KINDS


class StagedRecurrence(NamedTuple):
    """Static arguments of a recurrence: its cell, number of units, and direction."""

    cell: type[Cell]
    units: int
    reverse: bool

    def call(self, which: str, shapes: Any, *arrays: Array) -> Any:
        """Calls the compiled function "forward" or "backward"."""
        numbers = {"units": np.int64(self.units), "reverse": self.reverse}
        return call_compiled(f"{KINDS[self.cell].name}_{which}", shapes, *arrays, **numbers)


def run(cell: Cell, call: ScanCall) -> Result:
    """Computes a call; on other platforms than a CPU as "plain" does."""
    # Checkpointed, so that a gradient outside of `jax.jit` has no zeros in place of what the loop would save.
    return jax.lax.platform_dependent(cell, call, cpu=_compiled, default=jax.checkpoint(plain.run))


def _compiled(cell: Any, call: ScanCall) -> Result:
    x, weights, state = jax.tree.map(
        lambda a: a.astype(dtype_of(cell, call)),
        (zero_where_invalid(call.x, call.valid), KINDS[type(cell)].weights(cell), cell.split_state(call.state)),
    )
    recurrence = StagedRecurrence(type(cell), cell.hidden, call.reverse)
    outputs, last, cells = _recur(
        recurrence, shows_cells(call, state), KINDS[type(cell)].project(cell, x), weights, state, steps_of(call)
    )
    return outcome(cell, call, state, outputs, last, cells)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(
    recurrence: StagedRecurrence,
    show_cells: bool,
    projected: Array,
    weights: StagedWeights,
    state: Halves,
    steps: Steps,
) -> tuple[Array, Halves, Array | None]:
    """Computes outputs `[b, t, o]`, the last state, and, with `show_cells`, the cell states `[b, t, h]`."""
    outputs, last, _, cells = _passed(recurrence, projected, weights, state, steps, train=show_cells)
    return outputs, last, cells if show_cells else None


def _passed(recurrence: StagedRecurrence, *arguments: Any, train: bool) -> Any:
    return differentiable_once(partial(_forward, recurrence, train=train), instead="plain")(*arguments)


def _forward(
    recurrence: StagedRecurrence, projected: Array, weights: StagedWeights, state: Halves, steps: Steps, *, train: bool
) -> tuple[Array, Halves, Array | None, Array | None]:
    """Computes outputs, the last state and, with `train`, what is kept, `[b, t, gates, h]`, and the cell states."""

    def call(of_batch: Any, _: Any, weights: StagedWeights) -> tuple[Any, Any, Any]:
        projected, state, steps = of_batch
        (hidden, cell), (b, t, _) = state, projected.shape
        before = or_empty(cell, hidden, b)
        of_gates = (b, t, len(recurrence.cell.gate_names), recurrence.units) if train else (0,)
        of_cells = (b, t, before.shape[1]) if train else (0,)
        shapes = (b, t, hidden.shape[1]), hidden.shape, before.shape, of_gates, of_cells
        found = recurrence.call("forward", shapes, *_inputs(weights, state, steps), projected)
        outputs, last, last_cell, kept, cells = found
        if cell is None:
            last_cell = cells = None
        return (outputs, (last, last_cell), *((kept, cells) if train else (None, None))), (), ()

    return over_batch(call, (projected, state, steps), (), weights)[0]


def _recur_forward(recurrence: StagedRecurrence, show_cells: bool, *arguments: Any) -> tuple[Any, Any]:
    outputs, last, kept, cells = _passed(recurrence, *arguments, train=True)
    projected = arguments[0] if KINDS[recurrence.cell].other == "first" else None
    return (outputs, last, cells if show_cells else None), (projected, *arguments[1:], outputs, kept, cells)


def _recur_backward(recurrence: StagedRecurrence, _show_cells: bool, saved: Any, gradients: Any) -> tuple[Any, ...]:
    return differentiable_once(partial(_backward, recurrence), instead="plain")(saved, gradients)


def _backward(recurrence: StagedRecurrence, saved: Any, gradients: Any) -> tuple[Any, ...]:
    """Computes the gradients of what is projected, the weights and the initial state."""
    projected, weights, state, steps, outputs, kept, cells = saved
    kind, units = KINDS[recurrence.cell], recurrence.units

    def call(of_batch: Any, _: Any, weights: StagedWeights) -> tuple[Any, Any, Any]:
        projected, state, steps, outputs, kept, cells, d_outputs, d_state, d_cells = of_batch
        (hidden, cell), (b, t, o) = state, outputs.shape
        before, first = or_empty(cell, hidden, b), weights.first.shape[1]
        others = {"first": first, "second": o, "": 0}[kind.other]
        own = (0,) if weights.own is None else weights.own.shape
        of_gates = b, t, len(recurrence.cell.gate_names) * units
        lefts = (b, t, o), (b, t, 0 if weights.second is None else units)
        shapes = of_gates, (b, t, others), (b, *own), hidden.shape, before.shape, *lefts
        arguments = (
            *(*_inputs(weights, state, steps), or_empty(projected, outputs, b, t), outputs, kept),
            or_empty(cells, outputs, b, t),
            *(d_outputs, d_state[0], or_empty(d_state[1], hidden, b), or_empty(d_cells, hidden, b, t)),
        )
        found = recurrence.call("backward", shapes, *arguments)
        d_projected, d_other, d_own, d_hidden, d_cell, left, left_of_second = found
        d_first = d_other if kind.other == "first" else d_projected[..., :first]
        d_second = d_other if kind.other == "second" else d_projected[..., first:]
        d_weights = StagedWeights(
            _outer(left, d_first),
            None if weights.second is None else _outer(left_of_second, d_second),
            None if weights.own is None else d_own.sum(axis=0),
        )
        return (d_projected, (d_hidden, None if cell is None else d_cell)), (), d_weights

    of_batch = (projected, state, steps, outputs, kept, cells, *gradients)
    (d_projected, d_state), _, d_weights = over_batch(call, of_batch, (), weights)
    return d_projected, d_weights, d_state, steps.gradient()


_recur.defvjp(_recur_forward, _recur_backward)


def _inputs(weights: StagedWeights, state: Halves, steps: Steps) -> tuple[Array, ...]:
    """Returns weights, state and what the steps are, with empty arrays for None, as the kernels expect."""
    hidden, cell = state
    of_cell = (
        or_empty(weights.second, hidden),
        or_empty(weights.own, hidden),
        hidden,
        or_empty(cell, hidden, len(hidden)),
    )
    return weights.first, *of_cell, *steps.as_given(hidden)


def _outer(left: Array, right: Array) -> Array:
    """Sums outer products over all steps and sequences: `[b, t, m], [b, t, n] → [m, n]`."""
    return jnp.einsum("btm,btn->mn", left, right)
