"""Both directions of a sequence."""

from typing import Any, Literal, Unpack, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import per_layer_states
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.noise import check_cell, split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.typing import Outputs, State

Merge = Literal["concatenate", "sum", "mean"]


class Bidirectional(nnx.Module):
    """One cell from the first step on and another from the last valid step back (Schuster & Paliwal 1997).

    Args:
        forward: cell of the way there.
        backward: cell of the way back.
        merge: how the two outputs of a step become one.
        options: those of `Recurrent`, for both directions.

    The state is a tuple of both directions' states.

    Raises:
        ValueError: for another merge, or cells whose sizes do not fit each other.
        TypeError: for what is no cell of rowrnn.
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
        """Number of features of a step."""
        return self.forward.features

    @property
    def num_feature_axes(self) -> int:
        """Number of axes of a step's input and of its output."""
        return self.forward.num_feature_axes

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
        return self.forward.outputs + (self.backward.outputs if self.merge == "concatenate" else 0)

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: tuple[State, State] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, tuple[State, State]]:
        """As `Recurrent`, with a state of two.

        Raises:
            ValueError: if there is another number of initial states than two.
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
