"""Handwriting reader: computes scores of the classes from left to right along a line of text, for CTC."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Int

from rowrnn.cells import Cell
from rowrnn.cells.convolution import conv
from rowrnn.recurrence.arguments import check_rate
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Bidirectional, Recurrent
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Images, State

STRIP = 4
"""Width of a strip in columns; a strip is one step of the reader."""
KERNEL = 3  # rows and columns of a kernel; that of the last convolution has all remaining rows
STRIDES = ((2, 2), (2, 2), (2, 1))  # vertical and horizontal, of the first convolutions; others have stride 1
FEWEST_CONVOLUTIONS = 3
"""Minimum number of convolutions: two that halve the width, so that a strip becomes one column, and the last."""

FAINT = 1e-2
"""Epsilon of the layer normalization, large enough that it does not amplify noise where there is no ink."""


class ReaderState(NamedTuple):
    """State of a reader: the last columns that each convolution has read, `[b, h, k, c]`, and the state of its cell."""

    seen: tuple[Float[Array, "b h k c"], ...]
    cell: State


class LineReader(nnx.Module):
    """Handwriting reader: convolutions, a recurrent layer, and scores of every class for each strip of 4 columns.

    3x3 convolutions with ReLU and a last one, whose kernel has all remaining rows, reduce a strip of 4 columns to one
    step. The first two halve height and width, a third 3x3 convolution halves the height again; all but the first are
    followed by layer normalization over channels (Ba et al. 2016).

    The convolutions are causal: a step depends on its strip and the columns to the left. Padding to the right of a line
    therefore has no influence, and a reader with one cell can read a line while it is written (`step`). A reader with a
    cell for each direction needs the whole line. Without a cell the scores of a step depend only on the receptive field
    of the convolutions: 15 columns with three convolutions, 8 more with each further one.

    Args:
        height: number of rows of a line.
        classes: number of classes; the scores have one more, last, for the blank of CTC.
        hidden: size of a cell's state; without a cell, number of units of a ReLU layer.
        cell: a class of `rowrnn.cells`; None for a reader without recurrence.
        both_ways: whether a second cell reads from right to left.
        channels: numbers of output channels of the convolutions, at least three.
        dropout: probability with which a feature before or after the cell is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive, there are fewer than three convolutions, or `dropout` is not in [0, 1).
    """

    def __init__(
        self,
        height: int,
        classes: int,
        hidden: int,
        *,
        cell: type[Cell] | None,
        both_ways: bool = True,
        channels: Sequence[int] = (16, 32, 48, 48, 64),
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        if min(height, classes, hidden, *channels) < 1 or len(channels) < FEWEST_CONVOLUTIONS:
            raise ValueError(
                "A LineReader needs at least one row, class, unit and channel of each of "
                f"{FEWEST_CONVOLUTIONS} or more convolutions, not height={height}, classes={classes}, hidden={hidden} "
                f"and channels={list(channels)}."
            )
        check_rate("dropout", dropout)
        self.height = height
        # Zeros above and below; on the left `_features` adds the columns that were read before.
        padding = ((KERNEL // 2, KERNEL // 2), (0, 0))
        *stages, last = pairwise((1, *channels))
        self.strides = (*STRIDES, *[(1, 1)] * len(stages))[: len(stages)]
        self.convolutions = nnx.List()
        for sizes, strides in zip(stages, self.strides, strict=True):
            self.convolutions.append(conv(*sizes, KERNEL, strides, padding, rngs=rngs))
            height = -(-height // strides[0])
        self.convolutions.append(conv(*last, (height, KERNEL), rngs=rngs, padding=((0, 0), (0, 0))))
        self.norms = nnx.List([nnx.LayerNorm(outputs, epsilon=FAINT, rngs=rngs) for outputs in channels[1:]])
        self.layer = _layer(channels[-1], hidden, cell, both_ways, rngs)
        outputs = self.layer.out_features if isinstance(self.layer, nnx.Linear) else self.layer.outputs
        self.head = nnx.Linear(outputs, classes + 1, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(
        self, images: ArrayLike, widths: ArrayLike | None = None, *, key: Array | None = None
    ) -> Float[Array, "b t scores"]:
        """Computes the scores of every strip of lines.

        Args:
            images: floating-point lines `[b, h, w, 1]`.
            widths: number of valid columns of each line, `[b]`; columns beyond have no influence on the first
                `strips(width)` steps, and the other steps are meaningless. Default: all.
            key: random key of dropout, in training.

        Returns:
            Logits of the classes and, last, of the blank, `[b, ⌈w / 4⌉, classes + 1]`.

        Raises:
            ValueError: if images have another shape or are not floating point, widths are not one integer for each
                line, or a width known outside `jax.jit` is outside [1, w].
        """
        images = self._checked(images, "w")
        columns, lengths = images.shape[2], None
        if widths is not None:
            widths = _within(widths, images)
            lengths = strips(widths)
            images = jnp.swapaxes(images, 1, 2)
            images = jnp.swapaxes(zero_where_invalid(images, jnp.arange(columns)[None, :] < widths[:, None]), 1, 2)
        images = jnp.pad(images, ((0, 0), (0, 0), (0, -columns % STRIP), (0, 0)))
        before, behind = split_key(key, 2)
        x, _ = self._features(images, self._nothing(images))
        x = self.dropout(x, deterministic=key is None, rngs=before)
        x = nnx.relu(self.layer(x)) if isinstance(self.layer, nnx.Linear) else self.layer(x, lengths=lengths)[0]
        return self.head(self.dropout(x, deterministic=key is None, rngs=behind))

    def initial_state(self, strip: ArrayLike) -> ReaderState:
        """Returns the state before the first strip, for strips `[b, h, 4, 1]`.

        Raises:
            ValueError: if the strips have another shape or are not floating point, or the reader has no cell or two.
        """
        cell, strip = self._followed(strip)
        nothing = self._nothing(strip)
        features, _ = self._features(strip, nothing)
        return ReaderState(nothing, cell.initial_state(cell.project(features[:, 0])))

    def step(self, state: ReaderState, strip: ArrayLike) -> tuple[ReaderState, Float[Array, "b scores"]]:
        """Reads the next strip of each line, `[b, h, 4, 1]`, while the line is written.

        The caller passes the state on, starting from `initial_state`: `state, scores = reader.step(state, strip)`. The
        scores, `[b, classes + 1]`, equal those of the whole line. The last strip must be padded with zeros on the right
        if it has fewer than 4 columns.

        Raises:
            ValueError: if the strips have another shape or are not floating point, or the reader has no cell or two.
        """
        cell, strip = self._followed(strip)
        features, seen = self._features(strip, state.seen)
        carried, output = cell(state.cell, features[:, 0])
        return ReaderState(seen, carried), self.head(output)

    def _features(self, x: Images, seen: tuple[Array, ...]) -> tuple[Float[Array, "b t d"], tuple[Array, ...]]:
        """Computes the features of the next columns, `[b, t, d]`, and the columns that the convolutions read last.

        Args:
            x: the next columns, `[b, h, w, 1]`.
            seen: for each convolution the columns to the left that it has read before.
        """
        then = []
        for convolution, norm, before in zip(self.convolutions, (None, *self.norms), seen, strict=True):
            x = jnp.concatenate([before, x], axis=2)
            then.append(x[:, :, x.shape[2] - before.shape[2] :])
            x = convolution(x)
            x = nnx.relu(norm(x) if norm else x)
        return x[:, 0], tuple(then)

    def _nothing(self, images: Images) -> tuple[Array, ...]:
        """Returns the columns to the left of a line: for each convolution zeros of the images' dtype and sharding."""
        seen, rows = [], self.height
        for convolution, (down, right) in zip(self.convolutions, (*self.strides, (1, 1)), strict=True):
            like = jnp.zeros_like(images[:, :1, :1])
            seen.append(jnp.broadcast_to(like, (images.shape[0], rows, KERNEL - right, convolution.in_features)))
            rows = -(-rows // down)
        return tuple(seen)

    def _followed(self, strip: ArrayLike) -> tuple[Cell, Images]:
        """Returns the cell and the checked strip, for reading strip by strip."""
        strip = self._checked(strip, str(STRIP))
        if not isinstance(self.layer, Recurrent):
            raise ValueError(
                "A line can be followed while it is written by a reader with a cell that reads from the left: make it "
                "with a cell and both_ways=False."
            )
        return self.layer.cell, strip

    def _checked(self, images: ArrayLike, columns: str) -> Images:
        """Checks images and promotes them with the dtype of the parameters, so that a state keeps its dtype."""
        images = jnp.asarray(images)
        whole = images.ndim == 4 and images.shape[1] == self.height and images.shape[3] == 1 and 0 not in images.shape
        if not whole or (columns != "w" and images.shape[2] != STRIP) or not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"This LineReader takes floating-point images [b, {self.height}, {columns}, 1], b and columns "
                f"at least 1, not {images.dtype} of shape {list(images.shape)}."
            )
        return images.astype(jnp.result_type(images, self.head.kernel[...]))


def strips(widths: Any) -> Any:
    """Returns the number of strips of lines with these widths, `⌈width / 4⌉`."""
    return (widths + (STRIP - 1)) // STRIP


def _within(widths: ArrayLike, images: Images) -> Int[Array, "b"]:
    known = None if isinstance(widths, jax.core.Tracer) else np.asarray(widths)
    batch, _, columns, _ = images.shape
    if jnp.shape(widths) != (batch,) or not jnp.issubdtype(jnp.result_type(widths), jnp.integer):
        raise ValueError(
            f"Widths are one integer for each of {batch} lines, not {jnp.result_type(widths)} of shape "
            f"{list(jnp.shape(widths))}."
        )
    if known is not None and not ((known >= 1) & (known <= columns)).all():
        raise ValueError(
            f"Lines on paper of {columns} columns are 1 to {columns} columns wide; the widths run from {known.min()} "
            f"to {known.max()}. Leave out empty lines, or widen the paper."
        )
    return jnp.asarray(widths).astype(jnp.int32)


def _layer(
    features: int, hidden: int, cell: type[Cell] | None, both_ways: bool, rngs: nnx.Rngs
) -> nnx.Linear | Bidirectional | Recurrent:
    if cell is None:
        return nnx.Linear(features, hidden, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
    if both_ways:
        return Bidirectional(*(cell(features, hidden, rngs=rngs) for _ in range(2)))
    return Recurrent(cell(features, hidden, rngs=rngs))
