"""What every cell offers, and what `rowrnn.scan` needs of one."""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Inexact

from rowrnn.typing import Hidden, Output, Projected, State


class Cell(nnx.Module):
    """A recurrent cell: its input half for all steps at once, and one step.

    Args:
        features: number of input features of a step, `d`.
        hidden: size of the hidden state.
        dtype: dtype of the parameters; the computation follows parameters and inputs by JAX's promotion.
        rngs: source of the initial parameters.

    Raises:
        ValueError: if `features` or `hidden` is not positive.
    """

    gate_names: ClassVar[tuple[str, ...]]
    num_feature_axes: ClassVar[int] = 1
    """Number of axes of a step's input and of its output."""

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        if features < 1 or hidden < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one feature and one hidden unit, "
                f"not features={features} and hidden={hidden}."
            )
        self.features = features
        self.hidden = hidden
        self.input_kernel = nnx.Param(self._input_init(rngs, dtype))
        self.bias = nnx.Param(jnp.zeros((len(self.gate_names) * hidden,), dtype))

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
        return self.hidden

    def project(self, x: Float[Array, "*b d"]) -> Projected:
        """Input half of every gate, for all steps at once: `[..., d] → [..., gates·hidden]`."""
        product = x @ self.input_kernel[...]
        return product + row(self.bias[...], product)

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        """Activations of every gate by name, each `[..., hidden]`.

        Args:
            state: state before the step.
            projected: projected input of the step, `[..., gates·hidden]`.
        """
        raise NotImplementedError

    def step(self, state: State, projected: Projected) -> tuple[State, Output]:
        """One step: previous state and projected input `[..., gates·hidden]` to `(state, output)`."""
        raise NotImplementedError

    def initial_state(self, projected: Projected) -> State:
        """Zero state for one step of projected inputs `[..., gates·hidden]`."""
        return jnp.zeros_like(projected[..., : self.hidden])

    def _input_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Array:
        shape = (self.features, len(self.gate_names) * self.hidden)
        return nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)

    # What `flax.nnx.RNN` asks of a cell.

    def __call__(self, carry: State, x: Float[Array, "*b d"]) -> tuple[State, Output]:
        """One step from a raw input `[..., d]`: `→ (carry, output)`."""
        return self.step(carry, self.project(x))

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None) -> State:
        """Zero state for inputs of `input_shape` (`[..., d]`); nothing is random, so `rngs` is not used."""
        return self.initial_state(self.project(jnp.zeros(input_shape, self.bias.dtype)))


def row(vector: Inexact[Array, "k"], like: Inexact[Array, "*b k"]) -> Inexact[Array, "*one k"]:
    """A vector with leading axes of one, so that it meets `like` without implicit rank promotion."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)
