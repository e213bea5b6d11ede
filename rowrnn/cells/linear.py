"""Linear recurrent cells: gates depend on the input alone, so the new state is linear in the old: `h' = a ⊙ h + b`.

All a and b are known before the first step, so that the recurrence can be computed in parallel over time
(`rowrnn.recurrence.linear`).
"""

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Inexact

from rowrnn.cells.cell import Cell, expand_leading
from rowrnn.typing import Hidden, Output, Projected, State

Coefficient = Inexact[Array, "*b hidden"]


class LinearCell(Cell):
    """Linear cell, `h' = a ⊙ h + b`, with the state `h`, `[..., hidden]`.

    A state of complex units is stored as real numbers, `[..., 2·hidden]`: the real parts, then the imaginary parts.
    """

    complex_units: ClassVar[bool] = False

    @abstractmethod
    def coefficients(self, projected: Projected) -> tuple[Coefficient, Coefficient]:
        """Computes `a` and `b`, each `[..., hidden]`, from projected inputs `[..., gates·hidden]`."""

    def step(self, state: State, projected: Projected) -> tuple[State, Output]:
        decay, drive = self.coefficients(projected)
        state = self.parts(decay * self.units(state) + drive, state.dtype)
        return state, state

    def units(self, parts: Float[Array, "*b parts"]) -> Coefficient:
        """Converts a state to its units, `[..., hidden]`; complex units are at least complex64."""
        if not self.complex_units:
            return parts
        wide = parts.astype(_of_parts(parts.dtype))
        return jax.lax.complex(*jnp.split(wide, 2, axis=-1))

    def parts(self, units: Coefficient, dtype: DTypeLike) -> Float[Array, "*b parts"]:
        """Converts units `[..., hidden]` to a state, the inverse of `units`; complex units are cast to `dtype`."""
        return jnp.concatenate([units.real, units.imag], axis=-1).astype(dtype) if self.complex_units else units


def _of_parts(dtype: DTypeLike) -> DTypeLike:
    """Returns the dtype of the real and imaginary parts: `dtype`, but at least float32, the smallest that JAX has."""
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
    """Minimal LSTM (Feng et al. 2024, section 3.2), with its gates normalized to sum to one.

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
        # σ(x) / (σ(x) + σ(y)) = σ(log σ(x) − log σ(y)), which avoids 0 / 0 when both underflow.
        odds = nnx.log_sigmoid(forget) - nnx.log_sigmoid(write)
        return nnx.sigmoid(odds), nnx.sigmoid(-odds)


class RGLRU(LinearCell):
    """Real-gated linear recurrent unit (De et al. 2024, "Griffin", section 2.4), preceded by a linear map of the input.

        r = σ(W_r x + b_r)      i = σ(W_i x + b_i)      log a = −8 softplus(Λ) ⊙ r
        h' = a ⊙ h + √(1 − a²) ⊙ i ⊙ (W_h x + b_h)

    Gate order on the last axis of the kernel: recurrence, input, candidate. Λ is `decay`, `[hidden]`, initialized such
    that a is uniform in [0.9, 0.999] for r = 1.
    """

    gate_names = ("recurrence", "input", "candidate")

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, dtype=dtype, rngs=rngs)
        slowest = jax.random.uniform(rngs.params(), (hidden,), jnp.float32, 0.9, 0.999)
        # Λ = softplus⁻¹(−log(a) / 8).
        self.decay = nnx.Param(jnp.log(jnp.expm1(-jnp.log(slowest) / 8)).astype(dtype))

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        recurrence, write, candidate = jnp.split(projected, 3, axis=-1)
        return {"recurrence": nnx.sigmoid(recurrence), "input": nnx.sigmoid(write), "candidate": candidate}

    def coefficients(self, projected: Projected) -> tuple[Hidden, Hidden]:
        recurrence, write, candidate = jnp.split(projected, 3, axis=-1)
        log_decay = -8 * expand_leading(nnx.softplus(self.decay[...]), write) * nnx.sigmoid(recurrence)
        # 1 − a² without cancellation; positive, since the square root has no gradient at 0.
        room = jnp.maximum(-jnp.expm1(2 * log_decay), jnp.finfo(log_decay.dtype).tiny)
        return jnp.exp(log_decay), jnp.sqrt(room) * nnx.sigmoid(write) * candidate


class LRU(LinearCell):
    """Linear recurrent unit (Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences").

        λ = exp(−exp(ν) + i exp(θ))      h' = λ ⊙ h + √(1 − |λ|²) ⊙ (W x + b)

    with complex h, W and b. Each unit rotates and decays at its own constant rate, so that slow units represent a long
    sequence much as a Fourier transform does. State and output are `[..., 2·hidden]`: the real parts, then the
    imaginary parts. The linear map that follows in the paper is left to the next layer. Order on the last axis of the
    kernel: real, imaginary. ν is `decay` and θ is `phase`, both `[hidden]`.

    Args:
        features: number of input features of a step, `d`.
        hidden: number of complex units.
        radius: lower and upper bound of |λ| at initialization; |λ|² is drawn uniformly.
        learned: whether λ is learned. On long sequences a learning rate that suits the other weights changes the phase
            of a unit by whole turns: use a much smaller rate for λ, or keep it fixed, as in an LMU (Voelker et al.
            2019).
        dtype: dtype of the parameters.
        rngs: random streams; the initial parameters use "params".

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
        # Phases in [0, π] suffice: for real outputs λ and its conjugate are equivalent.
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
        # 1 − |λ|² without cancellation; positive, since the square root has no gradient at 0.
        room = jnp.sqrt(jnp.maximum(-jnp.expm1(-2 * rate), jnp.finfo(dtype).tiny))
        drive = self.units(expand_leading(jnp.concatenate([room, room]), projected) * projected.astype(dtype))
        turned = jax.lax.complex(radius * jnp.cos(phase), radius * jnp.sin(phase))
        return jnp.broadcast_to(expand_leading(turned, drive), drive.shape), drive
