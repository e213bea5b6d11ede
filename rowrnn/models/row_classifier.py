"""A classifier that reads an image row by row: any cell, pooled over the rows, one linear head."""

from typing import Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rowrnn.cells import Cell
from rowrnn.image.rows import Rows
from rowrnn.typing import Images, Logits, Outputs

Pooling = Literal["last", "mean"]


class Classifier(nnx.Module):
    """Row-by-row image classifier.

    Args:
        cell: any of `rowrnn.cells`, its `features` the width of a row times its channels.
        classes: number of classes.
        pooling: what the head reads: the state after the last row, or the mean over rows.
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

    def __call__(self, images: Images, *, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` of images `[b, h, w, c]`; with a `key`, as in training, features are dropped."""
        outputs, _ = self.rows(images)
        pooled = outputs[:, -1] if self.pooling == "last" else outputs.mean(axis=1)
        return self.head(self.dropout(pooled, deterministic=key is None, rngs=key))

    def logits_by_row(self, images: Images) -> Float[Array, "b h classes"]:
        """Logits after each row, `[b, h, classes]`, of images `[b, h, w, c]`: the answer had the image ended there."""
        return self.head(self._pooled_by_row(self.rows(images)[0]))

    def _pooled_by_row(self, outputs: Outputs) -> Outputs:
        if self.pooling == "last":
            return outputs
        seen = jnp.arange(1, outputs.shape[1] + 1, dtype=outputs.dtype)
        return jnp.cumsum(outputs, axis=1) / seen[None, :, None]
