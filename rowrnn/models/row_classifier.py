"""A classifier that reads an image row by row: any cell, pooled over the rows, one linear head."""

from typing import Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rowrnn.cells import Cell
from rowrnn.image.rows import Rows
from rowrnn.typing import Hidden, Images, Integers, Logits, Outputs

Pooling = Literal["last", "mean"]


class Classifier(nnx.Module):
    """Row-by-row image classifier.

    Args:
        cell: any of `rowrnn.cells`, its `features` the width of a row times its channels.
        classes: number of classes.
        pooling: what the head reads: the output after the last row, or the mean over rows.
        dropout: probability with which a pooled feature is dropped while training.
        rngs: source of the head's initial parameters.

    Raises:
        ValueError: for another pooling.
    """

    def __init__(
        self, cell: Cell, classes: int, *, pooling: str = "last", dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        if pooling not in get_args(Pooling):
            raise ValueError(f"Classifier pools by {' or '.join(get_args(Pooling))}, not by {pooling!r}.")
        self.rows = Rows(cell)
        self.head = nnx.Linear(cell.outputs, classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.pooling = pooling

    def __call__(self, images: Images, *, heights: Integers | None = None, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` of images `[b, h, w, c]`; with a `key`, as in training, features are dropped.

        Args:
            images: floating-point images.
            heights: number of valid rows of each image, `[b]`; rows below have no influence. All where not given.
            key: randomness of dropout.

        Raises:
            ValueError: as `Rows`.
        """
        outputs = self._outputs(images, heights)
        pooled = outputs[:, -1] if self.pooling == "last" else mean_of_valid(outputs, heights)
        return self.head(self.dropout(pooled, deterministic=key is None, rngs=key))

    def logits_by_row(self, images: Images, *, heights: Integers | None = None) -> Float[Array, "b h classes"]:
        """Logits after each row, `[b, h, classes]`, of images `[b, h, w, c]`: the answer had the image ended there.

        Below an image's height its last answer stays.
        """
        outputs = self._outputs(images, heights)
        return self.head(outputs if self.pooling == "last" else running_mean(outputs, heights))

    def _outputs(self, images: Images, heights: Integers | None) -> Outputs:
        """Outputs after every row; below an image's height the last one, or zeros where the mean is taken."""
        hold = self.pooling == "last"
        outputs, _ = self.rows(images, heights=heights, hold_outputs=hold)
        return outputs


def mean_of_valid(outputs: Outputs, lengths: Integers | None) -> Hidden:
    """The mean over the valid steps of outputs `[b, t, d]`, which are zero past the lengths."""
    if lengths is None:
        return outputs.mean(axis=1)
    return outputs.sum(axis=1) / jnp.maximum(jnp.asarray(lengths), 1).astype(outputs.dtype)[:, None]


def running_mean(outputs: Outputs, lengths: Integers | None) -> Outputs:
    """The mean over the steps up to each one, `[b, t, d]`, of outputs that are zero past the lengths."""
    seen = jnp.arange(1, outputs.shape[1] + 1, dtype=outputs.dtype)[None, :]
    if lengths is not None:
        seen = jnp.minimum(seen, jnp.maximum(jnp.asarray(lengths), 1).astype(outputs.dtype)[:, None])
    return jnp.cumsum(outputs, axis=1) / seen[..., None]
