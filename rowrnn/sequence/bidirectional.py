"""Bidirectional recurrent layer."""

from typing import Any, Literal, Unpack, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import check_cell, per_layer_states
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.typing import Outputs, State

Merge = Literal["concatenate", "sum", "mean"]


class Bidirectional(nnx.Module):
    """Bidirectional layer (Schuster & Paliwal 1997): one cell runs forward, another backward from the last valid step.

    The state is a tuple of the states of both directions.

    Args:
        forward: cell of the forward direction.
        backward: cell of the backward direction.
        merge: how the outputs of both directions are combined: "concatenate", "sum" or "mean".
        options: options of `Recurrent` for both directions, except `reverse`.

    Raises:
        ValueError: if `merge` is unknown, the sizes of the cells do not fit each other, or an option does not fit a
            cell.
        TypeError: if an argument is not a cell of rowrnn.
    """

    def __init__(self, forward: Cell, backward: Cell, *, merge: str = "concatenate", **options: Any) -> None:
        if merge not in get_args(Merge):
            raise ValueError(f"Bidirectional merges by {', '.join(get_args(Merge))}, not by {merge!r}.")
        check_cell("Bidirectional", forward)
        check_cell("Bidirectional", backward)
        if forward.num_feature_axes != backward.num_feature_axes:
            raise ValueError(f"{type(forward).__name__} and {type(backward).__name__} do not take the same sequences.")
        if forward.features != backward.features or (merge != "concatenate" and forward.outputs != backward.outputs):
            raise ValueError(
                f"Both directions need the same number of features, and to {merge} outputs of one size: forward has "
                f"{forward.features} → {forward.outputs}, backward {backward.features} → {backward.outputs}."
            )
        self.forward = Recurrent(forward, **options)
        self.backward = Recurrent(backward, reverse=True, **options)
        self.merge = merge

    @property
    def features(self) -> int:
        """Number of input features of a step."""
        return self.forward.features

    @property
    def causal(self) -> bool:
        """Whether each output depends on the steps up to it only."""
        return False

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input and of an output: 1 for vectors, 3 for images."""
        return self.forward.num_feature_axes

    @property
    def outputs(self) -> int:
        """Number of output features."""
        return self.forward.outputs + (self.backward.outputs if self.merge == "concatenate" else 0)

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: tuple[State, State] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, tuple[State, State]]:
        """Runs both directions over sequences `[b, t, features]`.

        Args:
            x: sequences.
            initial_state: states of both directions before their first step; default: learned states or zeros.
            key: random key of dropout and zoneout, in training.
            options: options of `rowrnn.scan`.

        Returns:
            Outputs `[b, t, outputs]` and the last states of both directions.

        Raises:
            ValueError: if the number of initial states is not two, a shape does not fit, or an option cannot be used.
            TypeError: if the dtype of `x` or of an option is wrong.
        """
        there, back = per_layer_states(initial_state, 2, "directions")
        key_there, key_back = split_key(key, 2)
        forward, last_there = self.forward(x, initial_state=there, key=key_there, **options)
        backward, last_back = self.backward(x, initial_state=back, key=key_back, **options)
        if self.merge == "concatenate":
            outputs = jnp.concatenate([forward, backward], axis=-1)
        else:
            outputs = forward + backward if self.merge == "sum" else (forward + backward) / 2
        return outputs, (last_there, last_back)
