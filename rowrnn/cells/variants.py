"""Variants of LSTM and GRU: peepholes, projected output, layer normalization, and the reset before the product."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from rowrnn.cells.cell import expand_leading
from rowrnn.cells.gated import GRU, LSTM, GatedCell, LSTMState, Weights, apply_dropout, lerp, orthogonal_blocks
from rowrnn.typing import Hidden, Output, Projected, State


class PeepholeLSTM(LSTM):
    """LSTM with peephole connections (Gers & Schmidhuber 2000, "Recurrent nets that time and count").

        i = σ(… + p_i ⊙ c)      f = σ(… + p_f ⊙ c)      o = σ(… + p_o ⊙ c')

    and otherwise as `LSTM`. The weights p are `peephole`, `[3, hidden]`: input, forget, output.
    """

    recurrence = "peephole_lstm"

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs, **options: Any) -> None:
        super().__init__(features, hidden, rngs=rngs, **options)
        self.peephole = nnx.Param(nnx.initializers.normal(hidden**-0.5)(rngs.params(), (3, hidden), self.bias.dtype))

    def as_arrays(self) -> Weights:
        return super().as_arrays()._replace(peephole=self.peephole[...])

    def gates(self, state: LSTMState, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        i, f, g, o = jnp.split(projected + self.recur(state.hidden, dropout_mask), 4, axis=-1)
        p_i, p_f, p_o = (expand_leading(p, g) for p in self.peephole[...])
        i, f, g = nnx.sigmoid(i + p_i * state.cell), nnx.sigmoid(f + p_f * state.cell), jnp.tanh(g)
        o = nnx.sigmoid(o + p_o * (f * state.cell + i * g))
        return {"input": i, "forget": f, "cell": g, "output": o}


class ProjectedLSTM(LSTM):
    """LSTM with a projected output (Sak et al. 2014), torch's `proj_size`: a large cell state, a small recurrent
    product.

        h' = P (o ⊙ tanh(c'))

    and otherwise as `LSTM`. The state is an `LSTMState` of hidden `[..., projection]` and cell `[..., hidden]`.

    Args:
        features: number of input features of a step, `d`.
        hidden: size of the cell state.
        projection: size of the output.
        rngs: random streams; the initial parameters use "params".
        options: further arguments of `LSTM`: `forget_bias`, `dtype`.

    Raises:
        ValueError: if `projection` is not between 1 and `hidden`.
    """

    def __init__(self, features: int, hidden: int, projection: int, *, rngs: nnx.Rngs, **options: Any) -> None:
        if not 1 <= projection <= hidden:
            raise ValueError(f"A projection has between 1 and hidden = {hidden} features, not {projection}.")
        self.projection = projection
        super().__init__(features, hidden, rngs=rngs, **options)
        drawn = nnx.initializers.lecun_normal()(rngs.params(), (hidden, projection), self.bias.dtype)
        self.projection_kernel = nnx.Param(drawn)

    @property
    def outputs(self) -> int:
        return self.projection

    def _recurrent_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "projection gates"]:
        return orthogonal_blocks(rngs.params(), len(self.gate_names), self.hidden, dtype, rows=self.projection)

    def _shown(self, gate: Hidden, cell: Hidden) -> Output:
        return super()._shown(gate, cell) @ self.projection_kernel[...]


class LayerNormCell(GatedCell):
    """Gated cell with layer normalization (Ba et al. 2016) of the input and recurrent half of each gate.

    Each gate is normalized separately. The gains are `input_scale` and `recurrent_scale`, `[gates·hidden]`.
    """

    def __init__(self, features: int, hidden: int, **options: Any) -> None:
        super().__init__(features, hidden, **options)
        self.input_scale = nnx.Param(jnp.ones_like(self.bias[...]))
        self.recurrent_scale = nnx.Param(jnp.ones_like(self.bias[...]))

    def project(self, x: Float[Array, "*b d"]) -> Projected:
        product = _normalised(x @ self.input_kernel[...], self.input_scale[...], self.hidden)
        return product + expand_leading(self.bias[...], product)

    def recur(self, hidden: Output, dropout_mask: Output | None = None) -> Projected:
        return _normalised(super().recur(hidden, dropout_mask), self.recurrent_scale[...], self.hidden)


class LayerNormLSTM(LayerNormCell, LSTM):
    """LSTM with layer normalization (Ba et al. 2016, equations 20 to 22).

        gates from LN(W x) + LN(U h) + b        h' = o ⊙ tanh(LN(c'))

    Gain and bias of LN(c') are `cell_scale` and `cell_bias`, `[hidden]`; the other gains are those of `LayerNormCell`.
    """

    def __init__(self, features: int, hidden: int, **options: Any) -> None:
        super().__init__(features, hidden, **options)
        self.cell_scale = nnx.Param(jnp.ones_like(self.bias[...], shape=(hidden,)))
        self.cell_bias = nnx.Param(jnp.zeros_like(self.bias[...], shape=(hidden,)))

    def _shown(self, gate: Hidden, cell: Hidden) -> Output:
        normal = _normalised(cell, self.cell_scale[...], self.hidden)
        return super()._shown(gate, normal + expand_leading(self.cell_bias[...], normal))


class LayerNormGRU(LayerNormCell, GRU):
    """GRU with layer normalization.

        gates from LN(W x) + b and LN(U h)

    and otherwise as `GRU`.
    """


class ResetFirstGRU(GatedCell):
    """GRU as first published (Cho et al. 2014): the reset comes before the product, as in Keras with
    `reset_after=False`.

        n = tanh(W_n x + U_n (r ⊙ h) + b_n)

    and otherwise as `GRU`, which is faster: this cell has two dependent products in each step.
    """

    gate_names = ("reset", "update", "candidate")

    def gates(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> dict[str, Hidden]:
        x_g, x_n = jnp.split(projected, (2 * self.hidden,), axis=-1)
        recurrent_g, recurrent_n = jnp.split(self.recurrent_kernel[...], (2 * self.hidden,), axis=-1)
        seen = apply_dropout(state, dropout_mask)
        reset, update = jnp.split(nnx.sigmoid(x_g + seen @ recurrent_g), 2, axis=-1)
        candidate = jnp.tanh(x_n + (reset * seen) @ recurrent_n)
        return {"reset": reset, "update": update, "candidate": candidate}

    def step(self, state: State, projected: Projected, dropout_mask: Output | None = None) -> tuple[State, Output]:
        gate = self.gates(state, projected, dropout_mask)
        hidden = lerp(gate["candidate"], gate["update"], state)
        return hidden, hidden


def _normalised(x: Float[Array, "*b k"], scale: Float[Array, "k"], hidden: int) -> Float[Array, "*b k"]:
    """Normalizes every block of `hidden` features to mean 0 and variance 1, and multiplies by the scale."""
    # In float32 at least: squares overflow float16.
    wide = x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x
    blocks = wide.reshape(*x.shape[:-1], x.shape[-1] // hidden, hidden)
    centred = blocks - blocks.mean(axis=-1, keepdims=True)
    normal = centred * lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)
    return normal.reshape(x.shape).astype(x.dtype) * expand_leading(scale, x)
