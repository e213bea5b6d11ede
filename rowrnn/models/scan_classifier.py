"""A classifier that reads an image in any order: layers over it, pooled, one linear head."""

from collections.abc import Sequence
from typing import Any, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from rowrnn.cells import LSTMState
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.renet import ReNet
from rowrnn.models.row_classifier import Pooling
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.typing import Hidden, Images, Logits, State


class ScanClassifier(nnx.Module):
    """Image classifier of layers that read the image, or what the layer below made of it, in their orders.

    Args:
        layers: `ImageScan` or `ReNet`, from the bottom up.
        classes: number of classes.
        pooling: what the head reads of the top layer: where each direction ended, "last", or the mean over its grid.
        dropout: probability with which a pooled feature is dropped while training.
        head_hidden: units of a layer with ReLU between the pooled features and the answer, which linear cells need;
            none where not given.
        rngs: source of the head's initial parameters.

    Raises:
        ValueError: for another pooling, or for "last" of a top layer other than an `ImageScan` of a `Recurrent` layer,
            of a `Bidirectional` one that concatenates or of a plain `Stack` with one of them on top; when called, of
            one that reads an image as several sequences.
    """

    def __init__(
        self,
        layers: Sequence[ImageScan | ReNet],
        classes: int,
        *,
        pooling: str = "last",
        dropout: float = 0.0,
        head_hidden: int | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        if pooling not in get_args(Pooling):
            raise ValueError(f"ScanClassifier pools by {' or '.join(get_args(Pooling))}, not by {pooling!r}.")
        if pooling == "last" and not _has_ends(layers[-1]):
            raise ValueError(
                "Pooling by last needs an ImageScan of a Recurrent layer on top, or of a Bidirectional one that "
                "concatenates, or of a plain Stack of such: pool by mean."
            )
        self.layers = nnx.List(layers)
        features = layers[-1].outputs
        self.between = None if head_hidden is None else nnx.Linear(features, head_hidden, rngs=rngs)
        self.head = nnx.Linear(features if head_hidden is None else head_hidden, classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.pooling = pooling

    def __call__(self, images: Images, *, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` of images `[b, h, w, c]`; with a `key`, as in training, features are dropped."""
        grid, state, top = images, None, self.layers[-1]
        for layer in self.layers:
            grid, state = layer(grid)
        pooled = _ends(top.layer, state) if self.pooling == "last" and isinstance(top, ImageScan) else grid.mean((1, 2))
        if pooled.shape[0] != images.shape[0]:
            raise ValueError("The top layer reads an image as several sequences, which have no one end: pool by mean.")
        if self.between is not None:
            pooled = nnx.relu(self.between(pooled))
        return self.head(self.dropout(pooled, deterministic=key is None, rngs=key))


def _top(layer: ImageScan | ReNet) -> Any:
    """The layer whose states are where the reading ended; of a stack the top one, if its outputs are the stack's."""
    inner = layer.layer if isinstance(layer, ImageScan) else None
    while isinstance(inner, Stack) and inner.connection == "plain":
        inner = inner.layers[-1]
    return inner


def _has_ends(layer: ImageScan | ReNet) -> bool:
    top = _top(layer)
    return isinstance(top, Recurrent) or (isinstance(top, Bidirectional) and top.merge == "concatenate")


def _ends(layer: Any, state: State) -> Hidden:
    """The hidden state where each direction of a layer ended, side by side."""
    if isinstance(layer, Stack):
        return _ends(layer.layers[-1], state[-1])
    each = state if isinstance(layer, Bidirectional) else (state,)
    return jnp.concatenate([end.hidden if isinstance(end, LSTMState) else end for end in each], axis=-1)
