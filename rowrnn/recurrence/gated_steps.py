"""One step of each gated cell, forward and backward, by the equations in `rowrnn.recurrence.fused`."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.cells.gated import Weights

Arrays = tuple[Array, ...]
Activated = tuple[Array, Array | None, Arrays]
"""The hidden state, the cell state, and the gates, after a step."""
Differentiated = tuple[Array, Array, Array, Array | None]
"""Gradients of the projected input, of the recurrent product, of the hidden state before other than through that
product, and of the cell state before."""


class ElmanStep:
    """Step of `rowrnn.cells.Elman`; the other cells' have the same functions."""

    @staticmethod
    def own_gradient(_recurrent: Array, _cells_before: Any, _cells: Any, /) -> Array | None:
        """Returns the gradient of the units' own weights, given those and cell states of all steps `[t, b, ...]`."""
        return None

    @staticmethod
    def activate(projected: Array, recurrent: Array, _: Any, hidden: Array, cell: Any, /) -> Activated:
        """Computes the state after a step, given both halves of its gates, own weights and the state before."""
        return jnp.tanh(projected + recurrent), cell, ()

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
        return d, d, jnp.zeros_like(d), d_cell


class LSTMStep(ElmanStep):
    """Step of `rowrnn.cells.LSTM`."""

    @staticmethod
    def activate(projected: Array, recurrent: Array, _: Any, hidden: Array, cell: Any, /) -> Activated:
        i, f, g, o = jnp.split(projected + recurrent, 4, axis=-1)
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
        d = jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1)
        return d, d, jnp.zeros_like(d_hidden), d_cell * f


class PeepholeLSTMStep(LSTMStep):
    """Step of `rowrnn.cells.PeepholeLSTM`."""

    @staticmethod
    def activate(projected: Array, recurrent: Array, own: Any, hidden: Array, cell: Any, /) -> Activated:
        i, f, g, o = jnp.split(projected + recurrent, 4, axis=-1)
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
        d = jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1)
        return d, d, jnp.zeros_like(d_hidden), d_cell * f + d_i * own[0] + d_f * own[1]

    @staticmethod
    def own_gradient(d_recurrent: Array, cells_before: Any, cells: Any, /) -> Array | None:
        d_i, d_f, _, d_o = jnp.split(d_recurrent, 4, axis=-1)
        return jnp.stack(
            [(d * c).sum(axis=(0, 1)) for d, c in ((d_i, cells_before), (d_f, cells_before), (d_o, cells))]
        )


class GRUStep(ElmanStep):
    """Step of `rowrnn.cells.GRU`."""

    @staticmethod
    def activate(projected: Array, recurrent: Array, own: Any, hidden: Array, cell: Any, /) -> Activated:
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(recurrent, 3, axis=-1)
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
        d_input, d_recurrent = (jnp.concatenate([d_r, d_z, d], axis=-1) for d in (d_n, d_q))
        return d_input, d_recurrent, d_hidden * z, d_cell

    @staticmethod
    def own_gradient(d_recurrent: Array, _cells_before: Any, _cells: Any, /) -> Array | None:
        return jnp.split(d_recurrent, 3, axis=-1)[2].sum(axis=(0, 1))


STEPS: dict[str, type[ElmanStep]] = {
    "elman": ElmanStep,
    "lstm": LSTMStep,
    "peephole_lstm": PeepholeLSTMStep,
    "gru": GRUStep,
}


def own_weights(weights: Weights) -> Any:
    """Returns the weights that each unit has for itself, with an axis for the batch, or None."""
    if weights.peephole is not None:
        return weights.peephole[:, None, :]
    return None if weights.recurrent_bias is None else weights.recurrent_bias[None]
