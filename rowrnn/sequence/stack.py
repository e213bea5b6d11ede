"""Stacked recurrent layers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Unpack, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import (
    check_cell,
    check_cell_class,
    check_rate,
    check_sequence,
    per_layer_states,
    valid_steps,
)
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.bidirectional import Bidirectional
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.sequence.residual import Residual
from rowrnn.typing import Outputs, State

Connection = Literal["plain", "residual", "skip"]


class Stack(nnx.Module):
    """Stack of recurrent layers. Its state is a tuple of the states of the layers.

    Args:
        layers: `Recurrent`, `Bidirectional`, `Residual` or `Stack`, from the bottom up; a cell is wrapped in
            `Recurrent`.
        dropout: probability with which a feature between two layers is dropped in training.
        variational: whether the same features are dropped at all steps of a sequence (Gal & Ghahramani 2016).
        connection: "plain"; "residual": the input of every layer whose input and output have one size is added to its
            output (He et al. 2016); "skip": the input of the stack is concatenated to that of every layer above the
            first, and the stack's output is the concatenation of the outputs of all layers (Graves 2013).

    Raises:
        ValueError: if there is no layer, a layer's size does not fit the one below, `dropout` is not in [0, 1), or
            `connection` is unknown.
        TypeError: if an element of `layers` is neither a layer nor a cell of rowrnn.
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
            if not isinstance(layer, Recurrent | Bidirectional | Residual | Stack):
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
        """Number of input features of a step."""
        return self.layers[0].features

    @property
    def causal(self) -> bool:
        """Whether each output depends on the steps up to it only."""
        return all(layer.causal for layer in self.layers)

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input and of an output: 1 for vectors, 3 for images."""
        return self.layers[0].num_feature_axes

    @property
    def outputs(self) -> int:
        """Number of output features."""
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
        """Runs all layers over sequences `[b, t, features]`.

        Args:
            x: sequences.
            initial_state: one state for each layer; default: learned states or zeros.
            key: random key of dropout and zoneout, in training.
            options: options of `rowrnn.scan`.

        Returns:
            Outputs `[b, t, outputs]` and a tuple of the layers' last states.

        Raises:
            ValueError: if the number of initial states is not that of layers, a shape does not fit, an option cannot be
                used, or `hold_outputs` is used with residual or skip connections.
            TypeError: if the dtype of `x` or of an option is wrong.
        """
        states = per_layer_states(initial_state, len(self.layers), "layers of the stack")
        bottom = jnp.asarray(x)
        if self.connection != "plain":
            if options.get("hold_outputs"):
                raise ValueError(f"hold_outputs is for layers and plain stacks, not for {self.connection} connections.")
            check_sequence(bottom, self.features, self.num_feature_axes)
            _, valid = valid_steps(bottom, options.get("lengths"), options.get("mask"))
            bottom = zero_where_invalid(bottom, valid)  # Else a connection would pass invalid steps on.
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
    """Returns a stack of equal layers, like torch's `nn.LSTM(features, hidden, layers, bidirectional=...)`.

    Args:
        cell: a class of `rowrnn.cells`.
        features: number of input features of a step.
        hidden: size of each cell's state.
        layers: number of layers.
        bidirectional: whether each layer is bidirectional.
        merge: how outputs of both directions are combined: "concatenate", "sum" or "mean".
        dropout: probability with which a feature between two layers is dropped in training.
        connection: "plain", "residual" or "skip", see `Stack`.
        rngs: random streams; the initial parameters use "params".
        options: further arguments of the cell.

    Raises:
        ValueError: if a size is not positive, `merge` or `connection` is unknown, or `dropout` is not in [0, 1).
        TypeError: if `cell` is not a class of cells.
    """
    check_cell_class("stack", cell)
    made: list[Recurrent | Bidirectional] = []
    for _ in range(layers):
        width = features if not made else made[-1].outputs + (features if connection == "skip" else 0)
        cells = [cell(width, hidden, rngs=rngs, **options) for _ in range(1 + bidirectional)]
        made.append(Bidirectional(*cells, merge=merge) if bidirectional else Recurrent(*cells))
    return Stack(made, dropout=dropout, connection=connection)
