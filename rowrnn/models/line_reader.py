"""A reader of lines of handwriting: from columns of pixels to scores of the classes, left to right, for CTC."""

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
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Bidirectional, Recurrent
from rowrnn.sequence.noise import check_rate, split_key
from rowrnn.typing import Images, State

STRIP = 4
"""Columns of a strip: for each the reader says something once."""
KERNEL = 3  # rows and columns; the last convolution sees all rows that are left
STRIDES = ((2, 2), (2, 2), (2, 1))  # down and right, of the first convolutions; those behind them move by one
FEWEST_CONVOLUTIONS = 3
"""Convolutions that make a strip one column: two that halve its width, and the last."""

FAINT = 1e-2
"""Variance beside which that of a place's channels is little: where there is no ink, noise is not amplified."""


class ReaderState(NamedTuple):
    """What a reader carries from strip to strip: of every convolution the last columns it saw, and the cell's state."""

    seen: tuple[Float[Array, "b h k c"], ...]
    cell: State


class LineReader(nnx.Module):
    """Convolutions over a line, a recurrent layer over its columns, and scores of every class for every strip.

    3x3 convolutions with ReLU and a last one over all rows that are left make a strip of 4 columns one step. The first
    two halve height and width, a third 3x3 one the height once more; behind all but the first the channels of a place
    are normalized (Ba et al. 2016). They look to the left, never to the right: padding behind a line cannot reach its
    steps, and a step is known when its strip has been seen. A cell that reads from the left can so follow a line while
    it is written (`step`); with one for each direction a line is read when it is whole. Without a cell every step
    answers on its own, from the columns that the convolutions see: 15 with three in all, 8 more with each further one.

    Args:
        height: rows of a line.
        classes: number of classes; the scores have one more, the blank of CTC, last.
        hidden: size of a cell's state; without a cell, units of a layer with ReLU.
        cell: class of `rowrnn.cells`; None for a reader without memory.
        both_ways: whether a second cell reads from the right.
        channels: output channels of the convolutions, at least three.
        dropout: probability with which a feature of a step is dropped, before the cell and behind it, while training.
        rngs: source of the initial parameters.

    Raises:
        ValueError: if a size is not positive, there are fewer than three channels, or the dropout is no probability
            below 1.
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
        # Padding above and below; to the left stands what was seen before (`_features`).
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
        """Scores of every strip, `[b, ⌈w / 4⌉, classes + 1]`: logits of the classes and, last, of the blank.

        Args:
            images: lines `[b, h, w, 1]`, floating point.
            widths: number of columns of each line, `[b]`; what lies beyond has no influence on its first
                `strips(width)` steps, and the others mean nothing. All columns where not given.
            key: randomness of dropout, in training.

        Raises:
            ValueError: if images have another form, or widths, where known outside `jax.jit`, leave [1, w].
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
        """State before the first strip, for strips `[b, h, 4, 1]`.

        Raises:
            ValueError: as `step`.
        """
        cell, strip = self._followed(strip)
        nothing = self._nothing(strip)
        features, _ = self._features(strip, nothing)
        return ReaderState(nothing, cell.initial_state(cell.project(features[:, 0])))

    def step(self, state: ReaderState, strip: ArrayLike) -> tuple[ReaderState, Float[Array, "b scores"]]:
        """The next 4 columns of each line, `[b, h, 4, 1]`, as they are written.

        The caller carries the state from `initial_state` on: `state, scores = reader.step(state, strip)`. The scores
        are those of the whole line. A last strip is filled up with zeros.

        Raises:
            ValueError: if the strip has another form, or the reader has no cell or one that reads from the right.
        """
        cell, strip = self._followed(strip)
        features, seen = self._features(strip, state.seen)
        carried, output = cell(state.cell, features[:, 0])
        return ReaderState(seen, carried), self.head(output)

    def _features(self, x: Images, seen: tuple[Array, ...]) -> tuple[Float[Array, "b t d"], tuple[Array, ...]]:
        """Steps of columns that follow those which the convolutions have `seen`, and what they have seen then."""
        then = []
        for convolution, norm, before in zip(self.convolutions, (None, *self.norms), seen, strict=True):
            x = jnp.concatenate([before, x], axis=2)
            then.append(x[:, :, x.shape[2] - before.shape[2] :])
            x = convolution(x)
            x = nnx.relu(norm(x) if norm else x)
        return x[:, 0], tuple(then)

    def _nothing(self, images: Images) -> tuple[Array, ...]:
        """What the convolutions have seen before a line begins: zeros of the images' dtype and sharding."""
        seen, rows = [], self.height
        for convolution, (down, right) in zip(self.convolutions, (*self.strides, (1, 1)), strict=True):
            like = jnp.zeros_like(images[:, :1, :1])
            seen.append(jnp.broadcast_to(like, (images.shape[0], rows, KERNEL - right, convolution.in_features)))
            rows = -(-rows // down)
        return tuple(seen)

    def _followed(self, strip: ArrayLike) -> tuple[Cell, Images]:
        """The cell that follows a line, and a strip that it can take."""
        strip = self._checked(strip, str(STRIP))
        if not isinstance(self.layer, Recurrent):
            raise ValueError(
                "A line can be followed while it is written by a reader with a cell that reads from the left: make it "
                "with a cell and both_ways=False."
            )
        return self.layer.cell, strip

    def _checked(self, images: ArrayLike, columns: str) -> Images:
        images = jnp.asarray(images)
        whole = images.ndim == 4 and images.shape[1] == self.height and images.shape[3] == 1 and 0 not in images.shape
        if not whole or (columns != "w" and images.shape[2] != STRIP) or not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"This LineReader takes floating-point images [b, {self.height}, {columns}, 1], b and columns "
                f"at least 1, not {images.dtype} of shape {list(images.shape)}."
            )
        return images


def strips(widths: Any) -> Any:
    """Number of strips of lines of so many columns: the last may be shorter than 4."""
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
