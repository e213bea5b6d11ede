"""Gated cells with a recurrent matrix product: Elman, LSTM, GRU and MGU."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from rowrnn.cells.cell import Cell, expand_leading
from rowrnn.typing import Hidden, Output, Projected, State

Halves = tuple[Array, Array | None]
"""A state as arrays: hidden state `[b, h]`, and the cell state `[b, h]` of an LSTM or None."""


class Weights(NamedTuple):
    """Parameters of a gated cell as arrays.

    Args:
        input_kernel: `[d, gates·h]`.
        bias: `[gates·h]`.
        recurrent_kernel: `[outputs, gates·h]`.
        recurrent_bias: bias of the last gate's recurrent product, `[h]`, for a GRU; None for other cells.
        peephole: weights by which the cell state enters input, forget and output gate, `[3, h]`; None without.
    """

    input_kernel: Array
    bias: Array
    recurrent_kernel: Array
    recurrent_bias: Array | None = None
    peephole: Array | None = None


class GatedCell(Cell):
    """Cell with a recurrent kernel, whose gates are concatenated in the order of the input kernel.

    Its `gates` and `step` take one more argument: `dropout_mask`, `[..., outputs]`, is multiplied with the hidden state
    where that enters a product, and only there (variational dropout, Gal & Ghahramani 2016).
    """

    takes_dropout = True
    recurrence: ClassVar[str]
    """Name of the recurrence in `rowrnn.recurrence.fused` with the equations of exactly this class, if there is one."""

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        self.recurrent_kernel = nnx.Param(self._recurrent_init(rngs, dtype))

    def as_arrays(self) -> Weights:
        """Returns the parameters as arrays."""
        return Weights(self.input_kernel[...], self.bias[...], self.recurrent_kernel[...])

    def split_state(self, state: State) -> Halves:
        """Splits a state into the hidden state, which enters the recurrent product, and the cell state or None."""
        return state, None

    def merge_state(self, hidden: Array, cell: Array | None) -> State:
        """Makes a state from a hidden state and a cell state or None; the inverse of `split_state`."""
        return hidden

    def _recurrent_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "outputs gates"]:
        return orthogonal_blocks(rngs.params(), len(self.gate_names), self.hidden, dtype)

    def recur(self, hidden: Output, dropout_mask: Output | None = None) -> Projected:
        """Computes the recurrent half of every gate: `[..., hidden] → [..., gates·hidden]`."""
        return apply_dropout(hidden, dropout_mask) @ self.recurrent_kernel[...]


class Elman(GatedCell):
    """Simple recurrent network (Elman 1990, "Finding structure in time"), the baseline without gates.

        h' = tanh(W x + U h + b)

    The state is `h`, `[..., hidden]`.
    """

    gate_names = ("candidate",)
    recurrence = "elman"

    def gates(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        return {"candidate": jnp.tanh(projected + self.recur(state, dropout_mask))}

    def step(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> tuple[State, Output]:
        hidden = self.gates(state, projected, dropout_mask)["candidate"]
        return hidden, hidden


class LSTMState(NamedTuple):
    """State of an LSTM: the hidden state, which is the output, and the cell state, both `[..., hidden]`."""

    hidden: Array
    cell: Array


class LSTM(GatedCell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

        i = σ(W_i x + U_i h + b_i)      f = σ(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)   o = σ(W_o x + U_o h + b_o)
        c' = f ⊙ c + i ⊙ g              h' = o ⊙ tanh(c')

    Gate order on the last axis of the kernels: input, forget, cell (g), output. The state is an `LSTMState`.

    Args:
        forget_bias: initial value of b_f; 1 keeps the memory open at the start (Jozefowicz et al. 2015).
    """

    gate_names = ("input", "forget", "cell", "output")
    recurrence = "lstm"

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        forget_bias: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        self.bias[...] = self.bias[...].at[hidden : 2 * hidden].set(forget_bias)

    def gates(self, state: LSTMState, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        i, f, g, o = jnp.split(projected + self.recur(state.hidden, dropout_mask), 4, axis=-1)
        return {"input": nnx.sigmoid(i), "forget": nnx.sigmoid(f), "cell": jnp.tanh(g), "output": nnx.sigmoid(o)}

    def step(
        self, state: LSTMState, projected: Projected, dropout_mask: Output | None = None
    ) -> tuple[LSTMState, Output]:
        gate = self.gates(state, projected, dropout_mask)
        cell = gate["forget"] * state.cell + gate["input"] * gate["cell"]
        hidden = self._shown(gate["output"], cell)
        return LSTMState(hidden, cell), hidden

    def split_state(self, state: LSTMState) -> tuple[Array, Array]:
        return state.hidden, state.cell

    def merge_state(self, hidden: Array, cell: Any) -> LSTMState:
        return LSTMState(hidden, cell)

    def _shown(self, gate: Hidden, cell: Hidden) -> Output:
        """Computes the output, `o ⊙ tanh(c')`."""
        return gate * jnp.tanh(cell)

    def initial_state(self, projected: Projected) -> LSTMState:
        zeros = jnp.zeros_like(projected[..., : self.hidden])
        return LSTMState(zeros[..., : self.outputs], zeros)


class GRU(GatedCell):
    """Gated recurrent unit (Cho et al. 2014) in the form of cuDNN and torch: the reset comes after the product.

        r = σ(W_r x + U_r h + b_r)      z = σ(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r ⊙ (U_n h + b_hn))
        h' = (1 − z) ⊙ n + z ⊙ h

    Gate order on the last axis of the kernels: reset, update, candidate (n). `b_hn`, the bias multiplied by the reset
    gate, is `candidate_bias`. The state is `h`, `[..., hidden]`.
    """

    gate_names = ("reset", "update", "candidate")
    recurrence = "gru"

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        self.candidate_bias = nnx.Param(jnp.zeros((hidden,), dtype))

    def as_arrays(self) -> Weights:
        return super().as_arrays()._replace(recurrent_bias=self.candidate_bias[...])

    def gates(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(self.recur(state, dropout_mask), 3, axis=-1)
        reset, update = nnx.sigmoid(x_r + h_r), nnx.sigmoid(x_z + h_z)
        candidate = jnp.tanh(x_n + reset * (h_n + expand_leading(self.candidate_bias[...], h_n)))
        return {"reset": reset, "update": update, "candidate": candidate}

    def step(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> tuple[State, Output]:
        gate = self.gates(state, projected, dropout_mask)
        hidden = lerp(gate["candidate"], gate["update"], state)
        return hidden, hidden


class MGU(GatedCell):
    """Minimal gated unit (Zhou et al. 2016, "Minimal gated unit for recurrent neural networks"): one gate.

        f = σ(W_f x + U_f h + b_f)      n = tanh(W_n x + U_n (f ⊙ h) + b_n)
        h' = (1 − f) ⊙ h + f ⊙ n

    Gate order on the last axis of the kernels: forget, candidate (n). The state is `h`, `[..., hidden]`.
    """

    gate_names = ("forget", "candidate")

    def gates(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        x_f, x_n = jnp.split(projected, 2, axis=-1)
        recurrent_f, recurrent_n = jnp.split(self.recurrent_kernel[...], 2, axis=-1)
        seen = apply_dropout(state, dropout_mask)
        forget = nnx.sigmoid(x_f + seen @ recurrent_f)
        return {"forget": forget, "candidate": jnp.tanh(x_n + (forget * seen) @ recurrent_n)}

    def step(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> tuple[State, Output]:
        gate = self.gates(state, projected, dropout_mask)
        hidden = lerp(state, gate["forget"], gate["candidate"])
        return hidden, hidden


def apply_dropout(hidden: Output, dropout_mask: Output | None) -> Output:
    """Multiplies the hidden state by the dropout mask, if there is one."""
    return hidden if dropout_mask is None else hidden * dropout_mask


def lerp(start: Hidden, gate: Hidden, end: Hidden) -> Hidden:
    """Interpolates linearly: `(1 − gate) ⊙ start + gate ⊙ end`, computed with one product."""
    return start + gate * (end - start)


def orthogonal_blocks(
    key: Array, gates: int, hidden: int, dtype: DTypeLike, rows: int | None = None
) -> Float[Array, "rows blocks"]:
    """Returns an orthogonal matrix for each gate, concatenated: `[rows, gates·hidden]`.

    Each gate's recurrent product initially preserves norms (Saxe et al. 2013).

    Args:
        key: random key.
        gates: number of gates.
        hidden: columns of each matrix.
        dtype: dtype of the result.
        rows: rows of each matrix; default: `hidden`.
    """
    orthogonal = nnx.initializers.orthogonal()
    drawn = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32  # JAX has no QR decomposition in half precision.
    shape = (hidden if rows is None else rows, hidden)
    blocks = [orthogonal(k, shape, drawn) for k in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=1).astype(dtype)
