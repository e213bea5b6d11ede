"""Cells with exponential gates (Beck et al. 2024, "xLSTM: Extended long short-term memory"): sLSTM and mLSTM.

An input gate exp(ĩ) can outweigh everything that was written before, so that a memory can be revised. Written in plain
numbers it overflows. Both cells therefore keep their memory divided by exp(m), with the largest exponent so far

    m' = max(log f + m, ĩ),

which cancels where the output is computed. A zero state is an empty memory.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from rowrnn.cells.cell import Cell
from rowrnn.cells.gated import GatedCell
from rowrnn.typing import Hidden, Output, Projected, State

FORGET_BIASES = (3.0, 6.0)
"""Initial biases of the first and the last forget gate, evenly spaced between: memories of 21 to 404 steps."""


class SLSTMState(NamedTuple):
    """State of an sLSTM, each array `[..., hidden]`.

    Args:
        hidden: hidden state, which is the output.
        cell: sum of what was written, divided by exp(stabilizer).
        normalizer: sum of the input gates, divided likewise.
        stabilizer: exponent m.
    """

    hidden: Array
    cell: Array
    normalizer: Array
    stabilizer: Array


class SLSTM(GatedCell):
    """Scalar LSTM (Beck et al. 2024, section 2.2): exponential input gates and a normalizer.

        i = exp(W_i x + U_i h + b_i)    f = σ(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)   o = σ(W_o x + U_o h + b_o)
        c' = f ⊙ c + i ⊙ g              n' = f ⊙ n + i              h' = o ⊙ c' / n'

    Gate order on the last axis of the kernels: input, forget, cell (g), output. The state is an `SLSTMState`. The
    paper's recurrent kernels have a block for each head; here they are whole.
    """

    gate_names = ("input", "forget", "cell", "output")
    any_state = False

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        self.bias[...] = self.bias[...].at[hidden : 2 * hidden].set(jnp.linspace(*FORGET_BIASES, hidden, dtype=dtype))

    def gates(self, state: SLSTMState, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        """Computes the activations of all gates; input and forget gate are relative to the new stabilizer."""
        return self._gates(state, projected, dropout_mask)[0]

    def step(
        self, state: SLSTMState, projected: Projected, dropout_mask: Output | None = None
    ) -> tuple[SLSTMState, Output]:
        gate, stabilizer = self._gates(state, projected, dropout_mask)
        cell = gate["forget"] * state.cell + gate["input"] * gate["cell"]
        normalizer = gate["forget"] * state.normalizer + gate["input"]
        hidden = gate["output"] * cell / normalizer
        return SLSTMState(hidden, cell, normalizer, stabilizer), hidden

    def initial_state(self, projected: Projected) -> SLSTMState:
        zeros = jnp.zeros_like(projected[..., : self.hidden])
        return SLSTMState(zeros, zeros, zeros, zeros)

    def _gates(
        self, state: SLSTMState, projected: Projected, dropout_mask: Output | None
    ) -> tuple[dict[str, Hidden], Hidden]:
        i, f, g, o = jnp.split(projected + self.recur(state.hidden, dropout_mask), 4, axis=-1)
        # An empty memory has no exponent: were it 0, small input gates would leave a normalizer near 0.
        before = jnp.where(state.normalizer == 0, -jnp.inf, state.stabilizer)
        write, forget, stabilizer = stabilized(i, f, before)
        return {"input": write, "forget": forget, "cell": jnp.tanh(g), "output": nnx.sigmoid(o)}, stabilizer


class MLSTMState(NamedTuple):
    """State of an mLSTM, of `heads` heads with keys and values of `size = hidden / heads` numbers.

    Args:
        memory: for each head a matrix of keys by values, divided by exp(stabilizer), `[..., heads · size · size]`.
        normalizer: for each head the sum of its keys, divided likewise, `[..., heads · size]`.
        stabilizer: exponent m of each head, `[..., heads]`.
    """

    memory: Array
    normalizer: Array
    stabilizer: Array


class MLSTM(Cell):
    """Matrix LSTM (Beck et al. 2024, section 2.3): each head keeps a matrix in which it looks values up by keys.

        q = W_q x + b_q                 k = (W_k x + b_k) / √size       v = W_v x + b_v
        i = exp(w_i · x + b_i)          f = σ(w_f · x + b_f)            o = σ(W_o x + b_o)
        C' = f C + i k vᵀ               n' = f n + i k
        h' = o ⊙ C'ᵀ q / max(|n'ᵀ q|, 1)

    Gates see the input alone, so that many steps can be computed at once (`rowrnn.recurrence.chunkwise`). Order on the
    last axis of the kernel: query, key, value, output, each `hidden` wide, then input and forget gate, each one number
    a head. The state is an `MLSTMState`.

    Args:
        features: number of input features of a step, `d`.
        hidden: number of output features, all heads together.
        heads: number of heads.
        dtype: dtype of the parameters.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive, or `heads` does not divide `hidden`.
    """

    gate_names = ("query", "key", "value", "output", "input", "forget")
    any_state = False

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        heads: int = 1,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.heads = heads
        if heads < 1 or hidden % heads:
            raise ValueError(f"An MLSTM has a number of heads that divides hidden = {hidden}, not {heads}.")
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        forget_biases = jnp.linspace(*FORGET_BIASES, self.heads, dtype=dtype)
        self.bias = nnx.Param(jnp.zeros((4 * hidden + 2 * self.heads,), dtype).at[-self.heads :].set(forget_biases))

    def _input_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Array:
        shape = (self.features, 4 * self.hidden + 2 * self.heads)
        return nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)

    def gates(self, state: MLSTMState, projected: Projected) -> dict[str, Hidden]:
        """Computes the activations of all gates; a head's input and forget gate, relative to its new stabilizer, are
        repeated for each of its units.
        """
        query, key, value, output, i, f = self.parts(projected)
        write, forget, _ = stabilized(i, f, state.stabilizer)
        by_head = {"query": query, "key": key, "value": value, "output": output}
        gate = {name: array.reshape(*array.shape[:-2], self.hidden) for name, array in by_head.items()}
        repeats = self.hidden // self.heads
        return gate | {"input": jnp.repeat(write, repeats, -1), "forget": jnp.repeat(forget, repeats, -1)}

    def parts(self, projected: Projected) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Splits projected inputs, `[..., 4·hidden + 2·heads]`.

        Returns:
            Query, key, value and output gate, `[..., heads, size]`, and the exponent of the input gate and the forget
            gate before σ, `[..., heads]`.
        """
        wide, i, f = jnp.split(projected, [4 * self.hidden, 4 * self.hidden + self.heads], axis=-1)
        wide = wide.reshape(*wide.shape[:-1], 4, self.heads, self.hidden // self.heads)
        query, key, value, output = (wide[..., n, :, :] for n in range(4))
        return query, key * key.shape[-1] ** -0.5, value, nnx.sigmoid(output), i, f

    def by_head(self, state: MLSTMState) -> tuple[Array, Array, Array]:
        """Returns memory `[..., heads, size, size]`, normalizer `[..., heads, size]` and stabilizer `[..., heads]`."""
        leading, size = state.stabilizer.shape, self.hidden // self.heads
        return state.memory.reshape(*leading, size, size), state.normalizer.reshape(*leading, size), state.stabilizer

    def step(self, state: MLSTMState, projected: Projected) -> tuple[MLSTMState, Output]:
        query, key, value, output, i, f = self.parts(projected)
        memory, normalizer, stabilizer = self.by_head(state)
        write, forget, stabilizer = stabilized(i, f, stabilizer)
        written = write[..., None] * key
        memory = forget[..., None, None] * memory + written[..., None] * value[..., None, :]
        normalizer = forget[..., None] * normalizer + written
        found = jnp.einsum("...k,...kv->...v", query, memory)
        weight = jnp.abs(jnp.einsum("...k,...k->...", query, normalizer))
        found = output * found / jnp.maximum(weight, inverse(stabilizer))[..., None]
        leading, sizes = projected.shape[:-1], self._state_sizes()
        state = MLSTMState(memory.reshape(*leading, sizes[0]), normalizer.reshape(*leading, sizes[1]), stabilizer)
        return state, found.reshape(*leading, self.hidden)

    def initial_state(self, projected: Projected) -> State:
        zeros = jnp.zeros_like(projected[..., :1])
        return MLSTMState(*(jnp.broadcast_to(zeros, (*zeros.shape[:-1], size)) for size in self._state_sizes()))

    def _state_sizes(self) -> tuple[int, int, int]:
        return self.hidden * (self.hidden // self.heads), self.hidden, self.heads


def inverse(stabilizer: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    """Computes exp(−m), at most a large number whose gradient is finite: what is divided by it is 0 either way."""
    return jnp.exp(jnp.minimum(-stabilizer, jnp.log(jnp.finfo(stabilizer.dtype).max) * 0.9))


def stabilized(
    i: Float[Array, "*b n"], f: Float[Array, "*b n"], stabilizer: Float[Array, "*b n"]
) -> tuple[Float[Array, "*b n"], Float[Array, "*b n"], Float[Array, "*b n"]]:
    """Computes input and forget gate relative to the new stabilizer, and that: `(exp(i − m'), f exp(m − m'), m')`.

    Args:
        i: exponent of the input gate.
        f: forget gate before σ.
        stabilizer: exponent m before the step.
    """
    kept = nnx.log_sigmoid(f) + stabilizer
    after = jnp.maximum(kept, i)
    return jnp.exp(i - after), jnp.exp(kept - after), after
