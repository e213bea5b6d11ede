"""Cells whose gates see the input alone, so that the state is linear in the state before: `h' = a ⊙ h + b`.

All a and b are known before the first step, and the recurrence is computed in parallel over time
(`rowrnn.recurrence.linear`).
"""

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Inexact

from rowrnn.cells.cell import Cell, row
from rowrnn.typing import Hidden, Output, Projected, State

Coefficient = Inexact[Array, "*b hidden"]


class LinearCell(Cell):
    """A cell `h' = a ⊙ h + b`. The state is `h`, `[..., hidden]`; of complex units their real, then imaginary parts."""

    complex_units: ClassVar[bool] = False

    @abstractmethod
    def coefficients(self, projected: Projected) -> tuple[Coefficient, Coefficient]:
        """`a` and `b`, each `[..., hidden]`, of projected inputs `[..., gates·hidden]`."""

    def step(self, state: State, projected: Projected) -> tuple[State, Output]:
        decay, drive = self.coefficients(projected)
        state = self.parts(decay * self.units(state) + drive, state.dtype)
        return state, state

    def units(self, parts: Float[Array, "*b parts"]) -> Coefficient:
        """The units `[..., hidden]` of a state; complex ones have float32 parts at least."""
        if not self.complex_units:
            return parts
        wide = parts.astype(_of_parts(parts.dtype))
        return jax.lax.complex(*jnp.split(wide, 2, axis=-1))

    def parts(self, units: Coefficient, dtype: DTypeLike) -> Float[Array, "*b parts"]:
        """The state of units `[..., hidden]`; of complex ones in this dtype."""
        return jnp.concatenate([units.real, units.imag], axis=-1).astype(dtype) if self.complex_units else units


def _of_parts(dtype: DTypeLike) -> DTypeLike:
    """The dtype of parts of complex numbers nearest to this one: there are none of 16 bits."""
    return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.float32


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


class LRU(LinearCell):
    """Linear recurrent unit (Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences").

        λ = exp(−exp(ν) + i exp(θ))      h' = λ ⊙ h + √(1 − |λ|²) ⊙ (W x + b)

    with complex h, W and b: each unit turns and fades at its own pace, whatever comes in, so that the states of a slow
    layer hold a long sequence almost whole, as a Fourier transform would. State and output are the real, then the
    imaginary parts, `[..., 2·hidden]`; the linear map of the paper that follows is that of the next layer. Order on the
    last axis of the kernel: real, imaginary. ν is `decay` and θ `phase`, `[hidden]`.

    Args:
        features: as for every cell.
        hidden: number of complex units.
        radius: |λ|² starts uniform between the squares of these.
        learned: whether λ is learned. A step of an optimizer that suits other weights turns the units of a long
            sequence by whole circles: there λ needs a much smaller one, or stays, as in an LMU (Voelker et al. 2019).
        dtype: as for every cell.
        rngs: as for every cell.

    Raises:
        ValueError: if a size is not positive, or the radii are not 0 < first < second < 1.
    """

    gate_names = ("real", "imaginary")
    complex_units = True

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        radius: tuple[float, float] = (0.9, 0.999),
        learned: bool = True,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        self.learned = learned
        least, most = radius
        if not 0 < least < most < 1:
            raise ValueError(f"The radii of an LRU start between two numbers, 0 < least < most < 1, not {radius}.")
        square = jax.random.uniform(rngs.params(), (hidden,), jnp.float32, least**2, most**2)
        self.decay = nnx.Param(jnp.log(-0.5 * jnp.log(square)).astype(dtype))
        # Of real outputs a frequency and its negative are the same.
        phase = jax.random.uniform(rngs.params(), (hidden,), jnp.float32, 1e-3, jnp.pi)
        self.phase = nnx.Param(jnp.log(phase).astype(dtype))

    @property
    def outputs(self) -> int:
        return 2 * self.hidden

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        real, imaginary = jnp.split(projected, 2, axis=-1)
        return {"real": real, "imaginary": imaginary}

    def initial_state(self, projected: Projected) -> State:
        return jnp.zeros_like(projected)

    def coefficients(self, projected: Projected) -> tuple[Coefficient, Coefficient]:
        dtype = _of_parts(projected.dtype)
        rate, phase = jnp.exp(self.decay[...].astype(dtype)), jnp.exp(self.phase[...].astype(dtype))
        if not self.learned:
            rate, phase = jax.lax.stop_gradient((rate, phase))
        radius = jnp.exp(-rate)
        # 1 − |λ|² without cancellation; never 0, where the root has no gradient.
        room = jnp.sqrt(jnp.maximum(-jnp.expm1(-2 * rate), jnp.finfo(dtype).tiny))
        drive = self.units(row(jnp.concatenate([room, room]), projected) * projected.astype(dtype))
        turned = jax.lax.complex(radius * jnp.cos(phase), radius * jnp.sin(phase))
        return jnp.broadcast_to(row(turned, drive), drive.shape), drive
