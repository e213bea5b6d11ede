"""Residual blocks of layers over sequences."""

from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Key

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import check_cell, check_rate, check_sequence, valid_steps
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.typing import Outputs, State


class FeedForward(nnx.Module):
    """Two linear maps of each step, with the norm before them, added to their input: `x + W₂ gelu(W₁ LN(x))`.

    Args:
        width: number of features of a step.
        expansion: number of units between the linear maps, relative to `width`.
        dropout: probability with which a feature of the sum is dropped in training.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, width: int, expansion: int, dropout: float, *, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, expansion * width, rngs=rngs)
        self.down = nnx.Linear(expansion * width, width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x: Float[Array, "b t width"], key: Array | None = None) -> Float[Array, "b t width"]:
        """Adds what the linear maps compute; with a key features are dropped."""
        found = self.down(nnx.gelu(self.up(self.norm(x))))
        return x + self.dropout(found, deterministic=key is None, rngs=key)


class Residual(nnx.Module):
    """Residual block of a layer, and of two linear maps of each step, with the norms before them.

        x = x + W layer(LN(x))      x = x + W₂ gelu(W₁ LN(x))

    It is the block of a Transformer (Xiong et al. 2020) with a recurrent layer in the place of attention, as in Griffin
    (De et al. 2024): what is linear over time, as minGRU and LRU, needs the second part. A state is that of the layer.

    Args:
        layer: a layer over vectors, such as `Recurrent` or `Bidirectional`; a cell is wrapped in `Recurrent`.
        expansion: number of units between the linear maps, relative to the number of features.
        dropout: probability with which a feature of either sum is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if `expansion` is below 1, `dropout` is not in [0, 1), or the layer is one over images.
        TypeError: if `layer` is neither a layer nor a cell of rowrnn.
    """

    num_feature_axes = 1

    def __init__(self, layer: Any, *, expansion: int = 4, dropout: float = 0.0, rngs: nnx.Rngs) -> None:
        if isinstance(layer, Cell):
            layer = Recurrent(layer)
        if not isinstance(getattr(layer, "outputs", None), int):
            check_cell("Residual", layer)
        if getattr(layer, "num_feature_axes", None) != 1 or expansion < 1:
            raise ValueError("A residual block has a layer over vectors, and an expansion of at least 1.")
        check_rate("dropout", dropout)
        self.norm = nnx.LayerNorm(layer.features, rngs=rngs)
        self.layer = layer
        self.merge = nnx.Linear(layer.outputs, layer.features, rngs=rngs)
        self.feed_forward = FeedForward(layer.features, expansion, dropout, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    @property
    def features(self) -> int:
        """Number of input features of a step."""
        return self.layer.features

    @property
    def outputs(self) -> int:
        """Number of output features, which is that of the input."""
        return self.layer.features

    @property
    def causal(self) -> bool:
        """Whether each output depends on the steps up to it only."""
        return self.layer.causal

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: State | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, State]:
        """Runs the block over sequences `[b, t, features]`.

        Args:
            x: sequences.
            initial_state: state of the layer before the first step.
            key: random key of dropout, in training.
            options: options of `rowrnn.scan`, but for `hold_outputs`.

        Returns:
            Outputs `[b, t, features]` and the last state of the layer.

        Raises:
            ValueError: if a shape does not fit or an option cannot be used.
            TypeError: if the dtype of `x` or of an option is wrong.
        """
        if options.get("hold_outputs"):
            raise ValueError("hold_outputs is for layers and plain stacks, not for residual blocks.")
        x = jnp.asarray(x)
        check_sequence(x, self.features, 1)
        _, valid = valid_steps(x, options.get("lengths"), options.get("mask"))
        x = zero_where_invalid(x, valid)
        keys = split_key(key, 3)
        found, state = self.layer(self.norm(x), initial_state=initial_state, key=keys[0], **options)
        x = x + self.dropout(self.merge(found), deterministic=key is None, rngs=keys[1])
        return zero_where_invalid(self.feed_forward(x, keys[2]), valid), state
