"""Image classifier of layers that scan an image in any order, with pooling and a linear head."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.image.image_scan import Grid, ImageScan
from rowrnn.image.renet import ReNet
from rowrnn.models.row_classifier import Pooling
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Bidirectional, Recurrent, Stack, Transformer
from rowrnn.typing import Hidden, Logits, Outputs


class ScanClassifier(nnx.Module):
    """Image classifier of stacked layers, each of which scans the output grid of the layer below.

    Args:
        layers: `ImageScan` or `ReNet` layers, the first reads the image.
        classes: number of classes.
        pooling: input of the head: "last" for the top layer's output at the last step of each direction, "mean" for the
            mean over its grid.
        dropout: probability with which a pooled feature is dropped in training.
        head_hidden: number of units of a ReLU layer before the linear head, which models of linear cells need; default:
            no such layer.
        rngs: random streams; the head's initial parameters use "params".

    Raises:
        ValueError: if `pooling` is unknown, or it is "last" and the top layer is not an `ImageScan` of a `Recurrent`
            layer, of a `Bidirectional` layer that concatenates, of a causal `Transformer`, or of a plain `Stack` with
            one of the first two on top.
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
                "concatenates, or of a plain Stack of such, or of a causal Transformer: pool by mean."
            )
        self.layers = nnx.List(layers)
        features = layers[-1].outputs
        self.between = None if head_hidden is None else nnx.Linear(features, head_hidden, rngs=rngs)
        self.head = nnx.Linear(features if head_hidden is None else head_hidden, classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.pooling = pooling

    def __call__(
        self,
        images: ArrayLike,
        *,
        heights: ArrayLike | None = None,
        widths: ArrayLike | None = None,
        key: Array | None = None,
    ) -> Logits:
        """Computes logits `[b, classes]` of images `[b, h, w, c]`.

        Args:
            images: floating-point images.
            heights: number of valid rows of each image, `[b]`; rows below have no influence. Default: all.
            widths: number of valid columns of each image, `[b]`; columns beyond have no influence. Default: all.
            key: random key of dropout, in training.

        Raises:
            ValueError: if a shape does not fit the layers, patches do not divide the images, heights or widths known
                outside `jax.jit` exceed the images, or pooling is "last" and the top layer reads an image as several
                sequences.
            TypeError: if images are not floating point, or heights or widths are not integers.
        """
        images = jnp.asarray(images)
        *below, top = self.layers
        grid: Array = images
        sizes: dict[str, Any] = {"heights": heights, "widths": widths}
        # The head takes the key itself: its dropout is that of models whose layers have none.
        keys = [None if key is None else jax.random.fold_in(key, number) for number in range(len(self.layers))]
        for layer, of_layer in zip(below, keys, strict=False):
            (outputs, _), before = layer(grid, key=of_layer, **sizes), grid
            grid, sizes = outputs, _grid_sizes(sizes, before, outputs)
        if self.pooling == "last" and isinstance(top, ImageScan):
            hold = heights is not None or widths is not None
            _, outputs, _ = top.sequence_outputs(grid, key=keys[-1], **sizes, hold_outputs=hold)
            if outputs.shape[0] != images.shape[0]:
                raise ValueError(
                    "The top layer reads an image as several sequences, which have no one end: pool by mean."
                )
            pooled = _ends(_top(top), outputs)
        else:
            outputs, _ = top(grid, key=keys[-1], **sizes)
            pooled = _mean_of_valid(outputs, **_grid_sizes(sizes, grid, outputs))
        if self.between is not None:
            pooled = nnx.relu(self.between(pooled))
        return self.head(self.dropout(pooled, deterministic=key is None, rngs=key))

    def logits_by_row(self, images: ArrayLike) -> Float[Array, "b h classes"]:
        """Computes logits after each row of images `[b, h, w, c]`, as if the image ended there: h times the whole.

        Raises:
            ValueError: as for a call.
            TypeError: if images are not floating point.
        """
        images = jnp.asarray(images)
        heights = jnp.arange(1, images.shape[1] + 1, dtype=jnp.int32)
        upper = jax.lax.map(lambda rows: self(images, heights=jnp.full(images.shape[:1], rows)), heights)
        return jnp.swapaxes(upper, 0, 1)


def _top(layer: ImageScan | ReNet) -> Any:
    """Returns the layer whose last step is pooled: that of an `ImageScan`, or the top one if it is a plain `Stack`."""
    inner = layer.layer if isinstance(layer, ImageScan) else None
    while isinstance(inner, Stack) and inner.connection == "plain":
        inner = inner.layers[-1]
    return inner


def _has_ends(layer: ImageScan | ReNet) -> bool:
    top = _top(layer)
    if isinstance(top, Transformer):
        return top.causal
    return isinstance(top, Recurrent) or (isinstance(top, Bidirectional) and top.merge == "concatenate")


def _ends(layer: Any, outputs: Outputs) -> Hidden:
    """Concatenates the outputs at the last step of each direction; invalid steps must hold the last valid output."""
    if isinstance(layer, Bidirectional):
        there, back = jnp.split(outputs, (layer.forward.outputs,), axis=-1)
        return jnp.concatenate([_ends(layer.forward, there), _ends(layer.backward, back)], axis=-1)
    return outputs[:, 0 if layer.reverse else -1]


def _grid_sizes(sizes: Mapping[str, ArrayLike | None], images: Array, grid: Array) -> dict[str, Any]:
    """Converts valid heights and widths of images to those of a grid over them; a partly valid place is valid."""
    pairs = zip(sizes.items(), images.shape[1:3], grid.shape[1:3], strict=True)
    return {
        # In int32, since the given dtype may be unsigned or too small for the product.
        name: None if given is None else (jnp.asarray(given).astype(jnp.int32) * places + (side - 1)) // side
        for (name, given), side, places in pairs
    }


def _mean_of_valid(grid: Grid, heights: Array | None, widths: Array | None) -> Hidden:
    """Returns the mean over the valid places of a grid, `[b, k]`; zero if an image has none."""
    if heights is None and widths is None:
        return grid.mean((1, 2))
    b, rows, columns, _ = grid.shape
    heights = jnp.full((b,), rows, jnp.int32) if heights is None else heights
    widths = jnp.full((b,), columns, jnp.int32) if widths is None else widths
    within = (jnp.arange(rows)[None, :, None] < heights[:, None, None]) & (
        jnp.arange(columns)[None, None, :] < widths[:, None, None]
    )
    count = jnp.maximum(within.sum((1, 2)), 1).astype(grid.dtype)
    return zero_where_invalid(grid, within).sum((1, 2)) / count[:, None]
