"""Chrono initialization: gate biases for long memories."""

import jax
import jax.numpy as jnp
from flax import nnx

from rowrnn.cells.cell import Cell
from rowrnn.cells.gated import GRU, LSTM
from rowrnn.errors import InputError


def chrono(cell: Cell, steps: int, *, rngs: nnx.Rngs) -> None:
    """Sets the gate biases of an LSTM or GRU so that its units initially remember 2 to `steps` steps.

    Chrono initialization (Tallec & Ollivier 2018, "Can recurrent neural networks warp time?", equations 16 and 17): a
    unit whose forget gate starts at σ(log u) keeps its state for about u + 1 steps. For an LSTM b_f = log u and
    b_i = −log u, for a GRU b_z = log u, with u drawn uniformly from [1, steps − 1]. With zero biases a GRU loses half
    of its state, and of its gradient, at every step.

    Args:
        cell: cell whose bias is changed in place.
        steps: length of the sequences.
        rngs: random streams; u is drawn from "params".

    Raises:
        InputError: if the cell is neither an LSTM nor a GRU, or `steps` is below 3.
    """
    if not isinstance(cell, LSTM | GRU):
        raise InputError(f"chrono sets the biases of an LSTM or a GRU, not of {type(cell).__name__}.")
    if steps < 3:
        raise InputError(f"chrono needs sequences of at least 3 steps, not {steps}.")
    log_u = jnp.log(jax.random.uniform(rngs.params(), (cell.hidden,), minval=1.0, maxval=steps - 1.0))
    bias = cell.bias[...]
    starts = {"forget": log_u, "input": -log_u} if isinstance(cell, LSTM) else {"update": log_u}
    for name, start in starts.items():
        first = cell.gate_names.index(name) * cell.hidden
        bias = bias.at[first : first + cell.hidden].set(start.astype(bias.dtype))
    cell.bias[...] = bias
