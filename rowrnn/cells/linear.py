"""Cells whose gates see the input alone, so that the state is linear in the state before: `h' = a ⊙ h + b`.

All a and b are known before the first step, and the recurrence is computed in parallel over time
(`rowrnn.linear_recurrence`).
"""

from abc import abstractmethod

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import DTypeLike

from rowrnn.cells.cell import Cell, row
from rowrnn.typing import Hidden, Output, Projected, State


class LinearCell(Cell):
    """A cell `h' = a ⊙ h + b`. The state is `h`, `[..., hidden]`."""

    @abstractmethod
    def coefficients(self, projected: Projected) -> tuple[Hidden, Hidden]:
        """`a` and `b`, each `[..., hidden]`, of projected inputs `[..., gates·hidden]`."""

    def step(self, state: State, projected: Projected) -> tuple[State, Output]:
        decay, drive = self.coefficients(projected)
        hidden = decay * state + drive
        return hidden, hidden


class MinGRU(LinearCell):
    """Minimal GRU (Feng et al. 2024, "Were RNNs all we needed?", section 3.1).

        z = σ(W_z x + b_z)      h' = (1 − z) ⊙ h + z ⊙ (W_h x + b_h)

    Gate order on the last axis of the kernel: update, candidate.
    """

    gate_names = ("update", "candidate")

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        update, candidate = jnp.split(projected, 2, axis=-1)
        return {"update": nnx.sigmoid(update), "candidate": candidate}

    def coefficients(self, projected: Projected) -> tuple[Hidden, Hidden]:
        update, candidate = jnp.split(projected, 2, axis=-1)
        return nnx.sigmoid(-update), nnx.sigmoid(update) * candidate


class MinLSTM(LinearCell):
    """Minimal LSTM (Feng et al. 2024, section 3.2), its gates scaled to sum to one.

        f = σ(W_f x + b_f)      i = σ(W_i x + b_i)
        h' = f / (f + i) ⊙ h + i / (f + i) ⊙ (W_h x + b_h)

    Gate order on the last axis of the kernel: forget, input, candidate.
    """

    gate_names = ("forget", "input", "candidate")

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        forget, write = self._scaled(projected)
        return {"forget": forget, "input": write, "candidate": projected[..., 2 * self.hidden :]}

    def coefficients(self, projected: Projected) -> tuple[Hidden, Hidden]:
        forget, write = self._scaled(projected)
        return forget, write * projected[..., 2 * self.hidden :]

    def _scaled(self, projected: Projected) -> tuple[Hidden, Hidden]:
        forget, write, _ = jnp.split(projected, 3, axis=-1)
        # σ(x) / (σ(x) + σ(y)) = σ(log σ(x) − log σ(y)): no quotient of two numbers that both vanish.
        odds = nnx.log_sigmoid(forget) - nnx.log_sigmoid(write)
        return nnx.sigmoid(odds), nnx.sigmoid(-odds)


class RGLRU(LinearCell):
    """Real-gated linear recurrent unit (De et al. 2024, "Griffin", section 2.4), after a linear map of the input.

        r = σ(W_r x + b_r)      i = σ(W_i x + b_i)      log a = −8 softplus(Λ) ⊙ r
        h' = a ⊙ h + √(1 − a²) ⊙ i ⊙ (W_h x + b_h)

    Gate order on the last axis of the kernel: recurrence, input, candidate. Λ is `decay`, `[hidden]`, such that a is
    uniform between 0.9 and 0.999 where r is 1.
    """

    gate_names = ("recurrence", "input", "candidate")

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        slowest = jax.random.uniform(rngs.params(), (hidden,), jnp.float32, 0.9, 0.999)
        # The inverse of softplus, of −log(a) / 8.
        self.decay = nnx.Param(jnp.log(jnp.expm1(-jnp.log(slowest) / 8)).astype(dtype))

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        recurrence, write, candidate = jnp.split(projected, 3, axis=-1)
        return {"recurrence": nnx.sigmoid(recurrence), "input": nnx.sigmoid(write), "candidate": candidate}

    def coefficients(self, projected: Projected) -> tuple[Hidden, Hidden]:
        recurrence, write, candidate = jnp.split(projected, 3, axis=-1)
        log_decay = -8 * row(nnx.softplus(self.decay[...]), write) * nnx.sigmoid(recurrence)
        # 1 − a² without cancellation; never 0, where the root has no gradient.
        room = jnp.maximum(-jnp.expm1(2 * log_decay), jnp.finfo(log_decay.dtype).tiny)
        return jnp.exp(log_decay), jnp.sqrt(room) * nnx.sigmoid(write) * candidate
