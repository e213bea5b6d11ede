"""Image classifier that runs a cell over the rows of an image, with pooling and a linear head."""

from typing import Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells import Cell
from rowrnn.image.rows import Rows
from rowrnn.typing import Hidden, Integers, Logits, Outputs

Pooling = Literal["last", "mean"]


class Classifier(nnx.Module):
    """Image classifier that reads an image row by row.

    Args:
        cell: any of `rowrnn.cells`; its `features` are the width of a row times its channels.
        classes: number of classes.
        pooling: input of the head: "last" for the output after the last row, "mean" for the mean over rows.
        dropout: probability with which a pooled feature is dropped in training.
        rngs: random streams; the head's initial parameters use "params".

    Raises:
        ValueError: if `pooling` is unknown.
        TypeError: if `cell` is not a cell of rowrnn.
    """

    def __init__(
        self, cell: Cell, classes: int, *, pooling: str = "last", dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        check_pooling("Classifier", pooling)
        self.rows = Rows(cell)
        self.head = nnx.Linear(cell.outputs, classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.pooling = pooling

    def __call__(self, images: ArrayLike, *, heights: Integers | None = None, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` of images `[b, h, w, c]`.

        Args:
            images: floating-point images.
            heights: number of valid rows of each image, `[b]`; rows below have no influence. Default: all.
            key: random key of dropout, in training.

        Raises:
            ValueError: if a shape does not fit the cell, or a height known outside `jax.jit` is outside [0, h].
            TypeError: if images are not floating point, or heights are not integers.
        """
        outputs = self._outputs(images, heights)
        pooled = outputs[:, -1] if self.pooling == "last" else mean_of_valid(outputs, heights)
        return self.head(self.dropout(pooled, deterministic=key is None, rngs=key))

    def logits_by_row(self, images: ArrayLike, *, heights: Integers | None = None) -> Float[Array, "b h classes"]:
        """Computes logits after each row of images `[b, h, w, c]`, as if the image ended there.

        Args:
            images: floating-point images.
            heights: number of valid rows of each image, `[b]`; default: all.

        Returns:
            Logits `[b, h, classes]`; below an image's height those of its last valid row.

        Raises:
            ValueError: if a shape does not fit the cell, or a height known outside `jax.jit` is outside [0, h].
            TypeError: if images are not floating point, or heights are not integers.
        """
        outputs = self._outputs(images, heights)
        return self.head(outputs if self.pooling == "last" else running_mean(outputs, heights))

    def _outputs(self, images: ArrayLike, heights: Integers | None) -> Outputs:
        """Returns the outputs of all rows; below an image's height the last valid one, or zeros for the mean."""
        hold = self.pooling == "last"
        outputs, _ = self.rows(images, heights=heights, hold_outputs=hold)
        return outputs


def check_pooling(model: str, pooling: str) -> None:
    """Checks that a model knows a pooling.

    Raises:
        ValueError: if it does not.
    """
    if pooling not in get_args(Pooling):
        raise ValueError(f"{model} pools by {' or '.join(get_args(Pooling))}, not by {pooling!r}.")


def mean_of_valid(outputs: Outputs, lengths: Integers | None) -> Hidden:
    """Returns the mean over the valid steps, `[b, d]`, of outputs `[b, t, d]` that are zero beyond the lengths."""
    if lengths is None:
        return outputs.mean(axis=1)
    # As in a scan, a length outside [0, t] acts as the nearest bound. A narrower dtype may overflow.
    count = jnp.clip(jnp.asarray(lengths).astype(jnp.int32), 1, outputs.shape[1])
    return outputs.sum(axis=1) / count.astype(outputs.dtype)[:, None]


def running_mean(outputs: Outputs, lengths: Integers | None) -> Outputs:
    """Returns the mean over the valid steps up to each one, of outputs `[b, t, d]` that are zero beyond the lengths."""
    seen = jnp.arange(1, outputs.shape[1] + 1, dtype=outputs.dtype)[None, :]
    if lengths is not None:
        seen = jnp.minimum(seen, jnp.maximum(jnp.asarray(lengths), 1).astype(outputs.dtype)[:, None])
    return jnp.cumsum(outputs, axis=1) / seen[..., None]
