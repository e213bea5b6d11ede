"""The base class of all cells: the interface that `rowrnn.scan` uses."""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Inexact

from rowrnn.typing import Hidden, Output, Projected, State


class Cell(nnx.Module):
    """Recurrent cell: an input projection for all steps at once, and one step.

    Args:
        features: number of input features of a step, `d`.
        hidden: size of the hidden state.
        dtype: dtype of the parameters; the computation follows JAX's promotion of parameters and inputs.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if `features` or `hidden` is not positive.
        TypeError: if `rngs` is a seed or a key.
    """

    gate_names: ClassVar[tuple[str, ...]]
    any_state: ClassVar[bool] = True
    """Whether any values are a state, each unit apart; false where arrays of the state share a factor."""
    takes_dropout: bool = False
    """Whether `step` takes a mask by which the hidden state is multiplied where it enters a product."""
    num_feature_axes: ClassVar[int] = 1
    """Number of feature axes of an input and of an output: 1 for vectors, 3 for images."""

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        if features < 1 or hidden < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one feature and one hidden unit, "
                f"not features={features} and hidden={hidden}."
            )
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(
                f"{type(self).__name__} takes random streams, rngs=nnx.Rngs(0), not {type(rngs).__name__}: "
                "nnx.Rngs makes them of a seed or a key."
            )
        self.features = features
        self.hidden = hidden
        self.input_kernel = nnx.Param(self._input_init(rngs, dtype))
        self.bias = nnx.Param(jnp.zeros((len(self.gate_names) * hidden,), dtype))

    @property
    def outputs(self) -> int:
        """Number of output features."""
        return self.hidden

    def project(self, x: Float[Array, "*b d"]) -> Projected:
        """Computes the input half of every gate for all steps at once: `[..., d] → [..., gates·hidden]`."""
        product = x @ self.input_kernel[...]
        return product + expand_leading(self.bias[...], product)

    def gates(self, state: State, projected: Projected) -> dict[str, Hidden]:
        """Computes the activations of all gates, each `[..., hidden]`, by name.

        Args:
            state: state before the step.
            projected: projected input of the step, `[..., gates·hidden]`.
        """
        raise NotImplementedError

    def step(self, state: State, projected: Projected) -> tuple[State, Output]:
        """Computes one step: `(state, projected [..., gates·hidden]) → (new state, output [..., outputs])`."""
        raise NotImplementedError

    def initial_state(self, projected: Projected) -> State:
        """Returns the zero state for projected inputs of one step, `[..., gates·hidden]`."""
        return jnp.zeros_like(projected[..., : self.hidden])

    def _input_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Array:
        shape = (self.features, len(self.gate_names) * self.hidden)
        return nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)

    # The interface of a `flax.nnx.RNN` cell.

    def __call__(self, carry: State, x: Float[Array, "*b d"]) -> tuple[State, Output]:
        """Computes one step from an input that is not projected yet, `[..., d]`: `→ (carry, output)`."""
        return self.step(carry, self.project(x))

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Any = None) -> State:
        """Returns the zero state for inputs of shape `input_shape`, `[..., d]`; `rngs` is not used."""
        return self.initial_state(self.project(jnp.zeros(input_shape, self.bias.dtype)))


def expand_leading(vector: Inexact[Array, "k"], like: Inexact[Array, "*b k"]) -> Inexact[Array, "*one k"]:
    """Reshapes a vector `[k]` to `[1, ..., 1, k]`, to broadcast with `like` without implicit rank promotion."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)
