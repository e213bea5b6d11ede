"""Layers one above the other."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Unpack, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import check_sequence, per_layer_states, valid_steps
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.bidirectional import Bidirectional
from rowrnn.sequence.noise import check_cell, check_rate, split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.typing import Outputs, State

Connection = Literal["plain", "residual", "skip"]


class Stack(nnx.Module):
    """Layers one above the other.

    Args:
        layers: `Recurrent`, `Bidirectional` or `Stack`, from the bottom up; a cell becomes a `Recurrent`.
        dropout: probability with which a feature between two layers is dropped.
        variational: whether the same features are dropped at all steps of a sequence (Gal & Ghahramani 2016).
        connection: "plain"; "residual": every layer whose input and output have one size adds its input to its output
            (He et al. 2016); "skip": every layer above the first sees the stack's input beside the outputs of the one
            below, and all outputs are the stack's (Graves 2013).

    The state is a tuple of the layers' states.

    Raises:
        ValueError: if there is no layer, a layer's size does not fit the one below, or a connection is unknown.
        TypeError: for what is neither a layer nor a cell of rowrnn.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        *,
        dropout: float = 0.0,
        variational: bool = False,
        connection: str = "plain",
    ) -> None:
        check_rate("dropout", dropout)
        if connection not in get_args(Connection):
            raise ValueError(f"A stack connects by {', '.join(get_args(Connection))}, not by {connection!r}.")
        if not layers:
            raise ValueError("A stack has at least one layer.")
        layers = [Recurrent(layer) if isinstance(layer, Cell) else layer for layer in layers]
        for layer in layers:
            if not isinstance(layer, Recurrent | Bidirectional | Stack):
                check_cell("Stack", layer)
        beside = layers[0].features if connection == "skip" else 0
        for number, (below, above) in enumerate(pairwise(layers), 1):
            if above.features != below.outputs + beside:
                raise ValueError(
                    f"Layer {number} of the stack takes {above.features} features, and is given "
                    f"{below.outputs + beside}."
                )
        self.layers = nnx.List(layers)
        self.dropout = nnx.Dropout(dropout, broadcast_dims=(1,) if variational else ())
        self.connection = connection

    @property
    def features(self) -> int:
        """Number of features of a step."""
        return self.layers[0].features

    @property
    def num_feature_axes(self) -> int:
        """Number of axes of a step's input and of its output."""
        return self.layers[0].num_feature_axes

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
        sizes = [layer.outputs for layer in self.layers]
        return sum(sizes) if self.connection == "skip" else sizes[-1]

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: Sequence[State] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, tuple[State, ...]]:
        """As `Recurrent`, with a state for each layer.

        Raises:
            ValueError: if there are more or fewer initial states than layers, or `hold_outputs` is asked of other than
                plain connections.
        """
        states = per_layer_states(initial_state, len(self.layers), "layers of the stack")
        bottom = jnp.asarray(x)
        if self.connection != "plain":
            if options.get("hold_outputs"):
                raise ValueError(f"hold_outputs is for layers and plain stacks, not for {self.connection} connections.")
            check_sequence(bottom, self.features, self.num_feature_axes)
            _, valid = valid_steps(bottom, options.get("lengths"), options.get("mask"))
            bottom = zero_where_invalid(bottom, valid)  # What a step that is not valid contains goes past no layer.
        below = bottom
        last, shown = [], []
        keys = split_key(key, 2 * len(self.layers))
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if number > 0:
                below = self.dropout(below, deterministic=key is None, rngs=keys[2 * number])
                below = jnp.concatenate([bottom, below], axis=-1) if self.connection == "skip" else below
            outputs, state = layer(below, initial_state=state, key=keys[2 * number + 1], **options)
            if self.connection == "residual" and outputs.shape == below.shape:
                outputs = outputs + below
            below = outputs
            shown.append(outputs)
            last.append(state)
        return jnp.concatenate(shown, axis=-1) if self.connection == "skip" else below, tuple(last)


def stack(
    cell: type[Cell],
    features: int,
    hidden: int,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    merge: str = "concatenate",
    dropout: float = 0.0,
    connection: str = "plain",
    rngs: nnx.Rngs,
    **options: Any,
) -> Stack:
    """A stack of equal layers, torch's `nn.LSTM(features, hidden, layers, bidirectional=...)`.

    Args:
        cell: a class of `rowrnn.cells`.
        features: number of features of a step.
        hidden: size of each cell's state.
        layers: number of layers.
        bidirectional: whether each layer has both directions.
        merge: as in `Bidirectional`.
        dropout: as in `Stack`.
        connection: as in `Stack`.
        rngs: source of the initial parameters.
        options: those of the cell.
    """
    made: list[Recurrent | Bidirectional] = []
    for _ in range(layers):
        width = features if not made else made[-1].outputs + (features if connection == "skip" else 0)
        cells = [cell(width, hidden, rngs=rngs, **options) for _ in range(1 + bidirectional)]
        made.append(Bidirectional(*cells, merge=merge) if bidirectional else Recurrent(*cells))
    return Stack(made, dropout=dropout, connection=connection)
