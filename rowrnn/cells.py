"""Recurrent cells: Elman, LSTM and GRU, each a pure function of its parameters.

Every cell offers the same three things, and `rowrnn.scan` needs no more:

- `project(x)`: the input half of all gates for all steps at once, one matrix product;
- `step(state, projected)`: one step given its projected input, `→ (state, output)`;
- `initial_state(projected)`: zeros derived from the data, so that they inherit its dtype and sharding.

A cell is a `flax.nnx` module that is a plain pytree of float arrays: no stored random stream, no integer state, so
`jax.jit`, `jax.grad`, `jax.vmap` and `jax.lax.scan` work on it directly. It is also a valid `nnx.RNN` cell.

Gates lie side by side on the last axis of the kernels, in the order that each class states (cuDNN's and torch's).
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from rowrnn.typing import Hidden, Projected, State


class Cell(nnx.Module):
    """What the cells share: an input kernel, a recurrent kernel and a bias, gates side by side.

    Args:
        features: number of input features of a step, `d`.
        hidden: size of the hidden state.
        dtype: dtype of the parameters; the computation follows parameters and inputs by JAX's promotion.
        rngs: source of the initial parameters.

    Raises:
        ValueError: if `features` or `hidden` is not positive.
    """

    gate_names: ClassVar[tuple[str, ...]]

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        if features < 1 or hidden < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one feature and one hidden unit, "
                f"not features={features} and hidden={hidden}."
            )
        self.features = features
        self.hidden = hidden
        gates = len(self.gate_names)
        input_init = nnx.initializers.lecun_normal()
        self.input_kernel = nnx.Param(input_init(rngs.params(), (features, gates * hidden), dtype))
        self.recurrent_kernel = nnx.Param(_orthogonal_blocks(rngs.params(), gates, hidden, dtype))
        self.bias = nnx.Param(jnp.zeros((gates * hidden,), dtype))

    def project(self, x: Float[Array, "*b d"]) -> Projected:
        """Input half of every gate, for all steps at once: `[..., d] → [..., gates·hidden]`."""
        return _affine(x, self.input_kernel[...], self.bias[...])

    def gates(self, hidden: Hidden, projected: Projected) -> dict[str, Hidden]:
        """Activations of every gate by name, each `[..., hidden]`.

        Args:
            hidden: hidden state before the step, `[..., hidden]`.
            projected: projected input of the step, `[..., gates·hidden]`.
        """
        raise NotImplementedError

    def step(self, state: State, projected: Projected) -> tuple[State, Hidden]:
        """One step: previous state and projected input `[..., gates·hidden]` to `(state, output)`."""
        raise NotImplementedError

    def initial_state(self, projected: Projected) -> State:
        """Zero state for one step of projected inputs `[..., gates·hidden]`."""
        return jnp.zeros_like(projected[..., : self.hidden])

    # What `flax.nnx.RNN` asks of a cell.

    def __call__(self, carry: State, x: Float[Array, "*b d"]) -> tuple[State, Hidden]:
        """One step from a raw input `[..., d]`: `→ (carry, output)`."""
        return self.step(carry, self.project(x))

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None) -> State:
        """Zero state for inputs of `input_shape` (`[..., d]`); nothing is random, so `rngs` is not used."""
        projected_shape = (*input_shape[:-1], len(self.gate_names) * self.hidden)
        return self.initial_state(jnp.zeros(projected_shape, self.bias.dtype))

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input: 1."""
        return 1


class Elman(Cell):
    """The simple recurrent network, kept to show what gates are for (Elman 1990, "Finding structure in time").

        h' = tanh(W x + U h + b)

    The state is `h`, `[..., hidden]`.
    """

    gate_names = ("candidate",)

    def gates(self, hidden: Hidden, projected: Projected) -> dict[str, Hidden]:
        return {"candidate": jnp.tanh(projected + hidden @ self.recurrent_kernel[...])}

    def step(self, state: State, projected: Projected) -> tuple[State, Hidden]:
        hidden = self.gates(state, projected)["candidate"]
        return hidden, hidden


class LSTMState(NamedTuple):
    """State of an LSTM: what it shows, `hidden`, and what it keeps, `cell`, both `[..., hidden]`."""

    hidden: Array
    cell: Array


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

        i = σ(W_i x + U_i h + b_i)      f = σ(W_f x + U_f h + b_f)
        g = tanh(W_g x + U_g h + b_g)   o = σ(W_o x + U_o h + b_o)
        c' = f ⊙ c + i ⊙ g              h' = o ⊙ tanh(c')

    Gate order on the last axis of the kernels: input, forget, cell (g), output. The state is an `LSTMState`.

    Args:
        forget_bias: initial value of b_f; 1 keeps the memory open at the start (Jozefowicz et al. 2015).
    """

    gate_names = ("input", "forget", "cell", "output")

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

    def gates(self, hidden: Hidden, projected: Projected) -> dict[str, Hidden]:
        i, f, g, o = jnp.split(projected + hidden @ self.recurrent_kernel[...], 4, axis=-1)
        return {"input": nnx.sigmoid(i), "forget": nnx.sigmoid(f), "cell": jnp.tanh(g), "output": nnx.sigmoid(o)}

    def step(self, state: LSTMState, projected: Projected) -> tuple[LSTMState, Hidden]:
        gate = self.gates(state.hidden, projected)
        cell = gate["forget"] * state.cell + gate["input"] * gate["cell"]
        hidden = gate["output"] * jnp.tanh(cell)
        return LSTMState(hidden, cell), hidden

    def initial_state(self, projected: Projected) -> LSTMState:
        zeros = super().initial_state(projected)
        return LSTMState(zeros, zeros)


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014) in the cuDNN and torch form: the reset comes after the product.

        r = σ(W_r x + U_r h + b_r)      z = σ(W_z x + U_z h + b_z)
        n = tanh(W_n x + b_n + r ⊙ (U_n h + b_hn))
        h' = (1 − z) ⊙ n + z ⊙ h

    Gate order on the last axis of the kernels: reset, update, candidate (n). `b_hn`, the bias inside the reset, is
    `candidate_bias`. The state is `h`, `[..., hidden]`.
    """

    gate_names = ("reset", "update", "candidate")

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        self.candidate_bias = nnx.Param(jnp.zeros((hidden,), dtype))

    def gates(self, hidden: Hidden, projected: Projected) -> dict[str, Hidden]:
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(hidden @ self.recurrent_kernel[...], 3, axis=-1)
        reset, update = nnx.sigmoid(x_r + h_r), nnx.sigmoid(x_z + h_z)
        candidate = jnp.tanh(x_n + reset * (h_n + _row(self.candidate_bias[...], h_n)))
        return {"reset": reset, "update": update, "candidate": candidate}

    def step(self, state: State, projected: Projected) -> tuple[State, Hidden]:
        gate = self.gates(state, projected)
        # n + z ⊙ (h − n) is (1 − z) ⊙ n + z ⊙ h with one product less.
        hidden = gate["candidate"] + gate["update"] * (state - gate["candidate"])
        return hidden, hidden


CELLS: dict[str, type[Cell]] = {"elman": Elman, "lstm": LSTM, "gru": GRU}


def _affine(x: Float[Array, "*b d"], kernel: Float[Array, "d k"], bias: Float[Array, "k"]) -> Float[Array, "*b k"]:
    product = x @ kernel
    return product + _row(bias, product)


def _row(bias: Float[Array, "k"], like: Float[Array, "*b k"]) -> Float[Array, "*one k"]:
    """Bias with leading axes of one, so that it is added without implicit rank promotion."""
    return bias.reshape((1,) * (like.ndim - 1) + bias.shape)


def _orthogonal_blocks(key: Array, gates: int, hidden: int, dtype: DTypeLike) -> Float[Array, "hidden blocks"]:
    """One orthogonal matrix a gate, side by side (Saxe et al. 2013): each gate's recurrence starts norm-preserving."""
    orthogonal = nnx.initializers.orthogonal()
    drawn = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32  # There is no QR in half precision.
    blocks = [orthogonal(k, (hidden, hidden), drawn) for k in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=1).astype(dtype)
