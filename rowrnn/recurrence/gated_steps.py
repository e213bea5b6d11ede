"""One step of each gated cell, forward and backward, by the equations in `rowrnn.recurrence.fused`."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.cells.gated import Halves, Weights
from rowrnn.cells.zoneout import hold_units

Arrays = tuple[Array, ...]
Activated = tuple[Array, Array | None, Arrays]
"""The hidden state, the cell state, and the gates, after a step."""
Differentiated = tuple[Arrays, Arrays, Array, Array | None]
"""Gradients of the projected input and of the recurrent product by gates, of the hidden state before other than through
that product, and of the cell state before."""


class ElmanStep:
    """Step of `rowrnn.cells.Elman`; the other cells' have the same functions."""

    equal_halves: ClassVar[bool] = True
    """Whether the projected input and the recurrent product have the same gradient."""

    @staticmethod
    def released(_gates: Any, after: Halves, before: Any, holds: Halves, /) -> Halves:
        """Returns what `differentiate` reads of the state of a step before zoneout, given it after and its gates.

        Of a unit that is held whole it is zero: nothing of the gradient reaches its step.
        """
        held, new = holds[0] == 1, after[0] - holds[0] * before[0]
        return jnp.where(held, jnp.zeros_like(new), new / jnp.where(held, 1, 1 - holds[0])), None

    @staticmethod
    def own_gradient(_recurrent: Arrays, _cells_before: Any, _cells: Any, /) -> Array | None:
        """Returns the gradient of the units' own weights, given those and cell states of all steps `[t, b, h]`."""
        return None

    @staticmethod
    def activate(projected: Arrays, recurrent: Arrays, _: Any, hidden: Array, cell: Any, /) -> Activated:
        """Computes the state after a step, given both halves of its gates, own weights and the state before."""
        return jnp.tanh(projected[0] + recurrent[0]), cell, ()

    @staticmethod
    def differentiate(
        _gates: Arrays,
        output: Array,
        _hidden: Any,
        _cell: Any,
        _before: Any,
        d_hidden: Array,
        d_cell: Any,
        _own: Any,
        /,
    ) -> Differentiated:
        """Computes the gradients of a step, given its gates and output, states before it and gradients after it."""
        d = d_hidden * (1 - output * output)
        return (d,), (d,), jnp.zeros_like(d), d_cell


class LSTMStep(ElmanStep):
    """Step of `rowrnn.cells.LSTM`."""

    @staticmethod
    def released(gates: Any, after: Halves, before: Any, _holds: Halves, /) -> Halves:
        return after[0], gates[1] * before[1] + gates[0] * gates[2]

    @staticmethod
    def activate(projected: Arrays, recurrent: Arrays, _: Any, hidden: Array, cell: Any, /) -> Activated:
        i, f, g, o = (x + h for x, h in zip(projected, recurrent, strict=True))
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        return o * jnp.tanh(cell), cell, (i, f, g, o)

    @staticmethod
    def differentiate(
        gates: Arrays,
        _output: Any,
        _hidden: Any,
        cell: Array,
        before: Array,
        d_hidden: Array,
        d_cell: Any,
        _own: Any,
        /,
    ) -> Differentiated:
        i, f, g, o = gates
        shown = jnp.tanh(cell)
        d_cell = d_cell + d_hidden * o * (1 - shown * shown)
        d_i, d_f = d_cell * g * i * (1 - i), d_cell * before * f * (1 - f)
        d_g, d_o = d_cell * i * (1 - g * g), d_hidden * shown * o * (1 - o)
        d = d_i, d_f, d_g, d_o
        return d, d, jnp.zeros_like(d_hidden), d_cell * f


class PeepholeLSTMStep(LSTMStep):
    """Step of `rowrnn.cells.PeepholeLSTM`."""

    @staticmethod
    def activate(projected: Arrays, recurrent: Arrays, own: Any, hidden: Array, cell: Any, /) -> Activated:
        i, f, g, o = (x + h for x, h in zip(projected, recurrent, strict=True))
        i, f, g = jax.nn.sigmoid(i + own[0] * cell), jax.nn.sigmoid(f + own[1] * cell), jnp.tanh(g)
        cell = f * cell + i * g
        o = jax.nn.sigmoid(o + own[2] * cell)
        return o * jnp.tanh(cell), cell, (i, f, g, o)

    @staticmethod
    def differentiate(
        gates: Arrays, _output: Any, _hidden: Any, cell: Array, before: Array, d_hidden: Array, d_cell: Any, own: Any, /
    ) -> Differentiated:
        i, f, g, o = gates
        shown = jnp.tanh(cell)
        d_o = d_hidden * shown * o * (1 - o)
        d_cell = d_cell + d_hidden * o * (1 - shown * shown) + d_o * own[2]
        d_i, d_f, d_g = d_cell * g * i * (1 - i), d_cell * before * f * (1 - f), d_cell * i * (1 - g * g)
        d = d_i, d_f, d_g, d_o
        return d, d, jnp.zeros_like(d_hidden), d_cell * f + d_i * own[0] + d_f * own[1]

    @staticmethod
    def own_gradient(d_recurrent: Arrays, cells_before: Any, cells: Any, /) -> Array | None:
        d_i, d_f, _, d_o = d_recurrent
        return jnp.stack(
            [(d * c).sum(axis=(0, 1)) for d, c in ((d_i, cells_before), (d_f, cells_before), (d_o, cells))]
        )


class GRUStep(ElmanStep):
    """Step of `rowrnn.cells.GRU`."""

    equal_halves = False

    @staticmethod
    def released(_gates: Any, after: Halves, _before: Any, _holds: Halves, /) -> Halves:
        return after

    @staticmethod
    def activate(projected: Arrays, recurrent: Arrays, own: Any, hidden: Array, cell: Any, /) -> Activated:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = projected, recurrent
        r, z, q = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z), h_n + own
        n = jnp.tanh(x_n + r * q)
        return n + z * (hidden - n), cell, (r, z, n, q)

    @staticmethod
    def differentiate(
        gates: Arrays, _output: Any, hidden: Array, _cell: Any, _before: Any, d_hidden: Array, d_cell: Any, _own: Any, /
    ) -> Differentiated:
        r, z, n, q = gates
        d_z, d_n = d_hidden * (hidden - n) * z * (1 - z), d_hidden * (1 - z) * (1 - n * n)
        d_r, d_q = d_n * q * r * (1 - r), d_n * r
        return (d_r, d_z, d_n), (d_r, d_z, d_q), d_hidden * z, d_cell

    @staticmethod
    def own_gradient(d_recurrent: Arrays, _cells_before: Any, _cells: Any, /) -> Array | None:
        return d_recurrent[2].sum(axis=(0, 1))


STEPS: dict[str, type[ElmanStep]] = {
    "elman": ElmanStep,
    "lstm": LSTMStep,
    "peephole_lstm": PeepholeLSTMStep,
    "gru": GRUStep,
}


class Marks(NamedTuple):
    """Which sequences are valid at a step, keep the state before it, and hold units; or all steps, `[t, b, ...]`.

    Args:
        valid: whether the state changes, `[b, 1]`; everywhere if None.
        keeps: whether the state before the step is kept, or zero in its place, `[b, 1]`; everywhere if None.
        holds: zoneout's rates or masks of both halves of the state, `[b, h]`; none if None.
    """

    valid: Array | None
    keeps: Array | None
    holds: Halves | None = None


def step(
    kind: type[ElmanStep],
    multiply: Callable[[Array], Arrays],
    own: Any,
    dropout: Array | None,
    state: Halves,
    projected: Arrays,
    marks: Marks,
) -> tuple[Halves, Array, Arrays]:
    """Computes the state, output and gates after a step.

    Args:
        kind: step of the cell.
        multiply: multiplies a hidden state with the recurrent kernel of each gate.
        own: see `own_weights`.
        dropout: multiplied with the hidden state where that enters a product, `[b, h]`; none if None.
        state: state before the step.
        projected: projected input of each gate, `[b, h]`.
        marks: those of this step.
    """
    state = jax.tree.map(lambda a: kept(a, marks.keeps), state)
    hidden, cell, gates = kind.activate(projected, multiply(dropped(state[0], dropout)), own, *state)
    if marks.holds is not None:
        hidden, cell = jax.tree.map(hold_units, (hidden, cell), state, marks.holds)
    output, after = hidden, (hidden, cell)
    if marks.valid is not None:
        output = kept(hidden, marks.valid)
        after = jax.tree.map(lambda new, old: jnp.where(marks.valid, new, old), after, state)
    return after, output, gates


def step_back(
    kind: type[ElmanStep],
    multiply: Callable[[Arrays], Array],
    own: Any,
    dropout: Array | None,
    d_state: Halves,
    of_step: Any,
    marks: Marks,
) -> tuple[Halves, Arrays, Arrays]:
    """Computes the gradients of the state before a step, of the projected input and of the recurrent product.

    Args:
        kind: step of the cell.
        multiply: multiplies gradients of the gates with their transposed recurrent kernels, and adds up.
        own: see `own_weights`.
        dropout: see `step`.
        d_state: gradient of the state after the step.
        of_step: gates and output of the step, hidden state before it, cell states after and before it, and the
            gradients of the output and of the cell state that is shown. Output and cell state after it are those that
            the cell computed, before zoneout.
        marks: those of this step.
    """
    gates, output, hidden, cell, cell_before, d_output, d_shown = of_step
    d_hidden, d_cell = d_state[0] + d_output, d_state[1] if d_shown is None else d_state[1] + d_shown
    d_held: Halves | None = None
    if marks.holds is not None:
        d_held = jax.tree.map(jnp.multiply, (d_hidden, d_cell), marks.holds)
        d_hidden, d_cell = jax.tree.map(jnp.subtract, (d_hidden, d_cell), d_held)
    d_input, d_recurrent, direct, d_cell = kind.differentiate(
        gates, output, hidden, cell, cell_before, d_hidden, d_cell, own
    )
    d_input, d_recurrent = jax.tree.map(lambda d: kept(d, marks.valid), (d_input, d_recurrent))
    d_before = direct + dropped(multiply(d_recurrent), dropout), d_cell
    if d_held is not None:
        d_before = jax.tree.map(jnp.add, d_before, d_held)
    if marks.valid is not None:
        d_before = jax.tree.map(lambda new, old: jnp.where(marks.valid, new, old), d_before, d_state)
    return jax.tree.map(lambda a: kept(a, marks.keeps), d_before), d_input, d_recurrent


def own_weights(weights: Weights) -> Any:
    """Returns the weights that each unit has for itself, with an axis for the batch, or None."""
    if weights.peephole is not None:
        return tuple(weights.peephole[:, None, :])
    return None if weights.recurrent_bias is None else weights.recurrent_bias[None]


def kept(a: Array, keeps: Array | None) -> Array:
    """Returns an array with zeros where it is not kept."""
    return a if keeps is None else jnp.where(keeps, a, jnp.zeros_like(a))


def dropped(hidden: Array, dropout: Array | None) -> Array:
    """Returns a hidden state multiplied with a mask, where there is one."""
    return hidden if dropout is None else hidden * jnp.broadcast_to(dropout, hidden.shape)
