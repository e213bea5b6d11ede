"""Handwriting reader: computes scores of the classes from left to right along a line of text, for CTC."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Int

from rowrnn.cells import Cell
from rowrnn.cells.convolution import Pair, conv
from rowrnn.models.line_layer import Kind, layer_of
from rowrnn.recurrence.arguments import check_rate, known_values
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Recurrent, Stack
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Images, State

STRIP = 4
"""Width of a strip in columns; a strip is one step of the reader."""
KERNEL = 3  # rows and columns of a kernel; that of the last convolution may have all remaining rows
STRIDES = ((2, 2), (2, 2), (2, 1))  # vertical and horizontal, of the first convolutions; others have stride 1
FEWEST_CONVOLUTIONS = 3
"""Minimum number of convolutions: two that halve the width, so that a strip becomes one column, and the last."""

HANDWRITING: dict[str, Any] = {
    **{"channels": (8, 16, 32, 64, 64, 96), "strides": ((1, 1), (2, 2), (2, 2), (2, 1))},
    **{"pool_rows": True, "residual": True, "shortcut": True, "layers": 2, "dropout": 0.25},
}
"""Options of a reader of real handwriting, for lines of 40 to 64 rows and some thousand of them to learn from.

Two bidirectional layers and a maximum over rows as in Retsinas et al. 2022, with fewer channels; the first convolution
sees every pixel, as in Puigcerver 2017, since strokes are two pixels wide. With LSTMs of 128 units and 100 classes
780,000 parameters, and 0.4 GFLOP for a line of 40 x 640 pixels."""

FAINT = 1e-2
"""Epsilon of the layer normalization, large enough that it does not amplify noise where there is no ink."""


class ReaderState(NamedTuple):
    """State of a reader: the last columns that each convolution has read, `[b, h, k, c]`, and the cells' states."""

    seen: tuple[Float[Array, "b h k c"], ...]
    cells: tuple[State, ...]


class LineReader(nnx.Module):
    """Handwriting reader: convolutions, recurrent layers, and scores of every class for each strip of 4 columns.

    3x3 convolutions with ReLU and a last one, whose kernel has all remaining rows, reduce a strip of 4 columns to one
    step. By default the first two halve height and width, and the third halves the height again; all but the first are
    followed by layer normalization over channels (Ba et al. 2016). `HANDWRITING` has the options of a deeper reader.

    The convolutions are causal: a step depends on its strip and the columns to the left. Padding to the right of a line
    therefore has no influence, and a reader with cells from the left only can read a line while it is written (`step`).
    A reader with cells for both directions needs the whole line. Without a cell the scores of a step depend only on the
    receptive field of the convolutions: by default 15 columns with three convolutions, 8 more with each further one.

    Args:
        height: number of rows of a line.
        classes: number of classes; the scores have one more, last, for the blank of CTC.
        hidden: size of a cell's state; without a cell, number of units of a ReLU layer.
        cell: a class of `rowrnn.cells`; None for a reader without recurrence; or `Transformer`, two of whose blocks,
            `hidden` wide, are a layer.
        both_ways: whether a second cell reads from right to left; a Transformer sees both sides, or the left one only.
        layers: number of recurrent layers.
        channels: numbers of output channels of the convolutions, at least three.
        strides: vertical and horizontal strides, 1 to 3, of the first convolutions, not of the last; further ones have
            stride 1. The horizontal ones multiply to 4.
        pool_rows: whether the last convolution too is 3x3, followed by the maximum over rows (Retsinas et al. 2022).
        residual: whether the input of a convolution is added to its output, before ReLU, where both have one shape.
        shortcut: whether scores can be computed from the convolutions alone too, by `with_shortcut`, for a second loss.
        dropout: probability with which a feature before, between or after the recurrent layers is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive, there are fewer than three convolutions, the strides do not reduce 4
            columns to one, or `dropout` is not in [0, 1).
    """

    def __init__(
        self,
        height: int,
        classes: int,
        hidden: int,
        *,
        cell: Kind,
        both_ways: bool = True,
        layers: int = 1,
        channels: Sequence[int] = (16, 32, 48, 48, 64),
        strides: Sequence[Pair] = STRIDES,
        pool_rows: bool = False,
        residual: bool = False,
        shortcut: bool = False,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        if min(height, classes, hidden, layers, *channels) < 1 or len(channels) < FEWEST_CONVOLUTIONS:
            raise ValueError(
                "A LineReader needs at least one row, class, unit, layer and channel of each of "
                f"{FEWEST_CONVOLUTIONS} or more convolutions, not height={height}, classes={classes}, hidden={hidden}, "
                f"layers={layers} and channels={list(channels)}."
            )
        *stages, last = pairwise((1, *channels))
        self.strides = (*[(down, right) for down, right in strides], *[(1, 1)] * len(stages))[: len(stages)]
        steps = [step for stride in self.strides for step in stride]
        if prod(steps[1::2]) != STRIP or not 1 <= min(steps) <= max(steps) <= KERNEL:
            raise ValueError(
                f"The convolutions before the last reduce {STRIP} columns to one, by strides (down, right) of 1 to "
                f"{KERNEL}, not by {list(self.strides)}."
            )
        self.height = height
        # Zeros above and below; on the left `_features` adds the columns that were read before.
        around, none = (KERNEL // 2, KERNEL // 2), (0, 0)
        self.convolutions = nnx.List()
        for sizes, stride in zip(stages, self.strides, strict=True):
            self.convolutions.append(conv(*sizes, KERNEL, stride, (around, none), rngs=rngs))
            height = -(-height // stride[0])
        high, above = (KERNEL, around) if pool_rows else (height, none)
        self.convolutions.append(conv(*last, (high, KERNEL), rngs=rngs, padding=(above, none)))
        keep = [*[stride == (1, 1) for stride in self.strides], pool_rows]  # whether height and width stay
        self.adds = tuple(residual and k and i == o for k, (i, o) in zip(keep, [*stages, last], strict=True))
        self.norms = nnx.List([nnx.LayerNorm(outputs, epsilon=FAINT, rngs=rngs) for outputs in channels[1:]])
        self.layer = layer_of(channels[-1], hidden, cell, both_ways, layers, dropout, rngs)
        outputs = self.layer.out_features if isinstance(self.layer, nnx.Linear) else self.layer.outputs
        self.head = nnx.Linear(outputs, classes + 1, rngs=rngs)
        self.shortcut = nnx.Linear(channels[-1], classes + 1, rngs=rngs) if shortcut else None
        check_rate("dropout", dropout)
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
        _, outputs = self._outputs(images, widths, key)
        return self.head(outputs)

    def with_shortcut(
        self, images: ArrayLike, widths: ArrayLike | None = None, *, key: Array | None = None
    ) -> tuple[Float[Array, "b t scores"], Float[Array, "b t scores"]]:
        """Computes the scores of every strip, and those of the convolutions alone, for a second loss in training.

        A tenth of that loss, added to the first, trains the convolutions sooner (Retsinas et al. 2022).

        Raises:
            ValueError: as a call, and if the reader has no shortcut.
        """
        if self.shortcut is None:
            raise ValueError("This LineReader has no shortcut: make it with shortcut=True.")
        features, outputs = self._outputs(images, widths, key)
        return self.head(outputs), self.shortcut(features)

    def _outputs(
        self, images: ArrayLike, widths: ArrayLike | None, key: Array | None
    ) -> tuple[Float[Array, "b t d"], Float[Array, "b t outputs"]]:
        """Computes the features and the outputs of the recurrent layers, of every strip, both after dropout."""
        images = self._checked(images, "w")
        columns, lengths = images.shape[2], None
        if widths is not None:
            widths = _within(widths, images)
            lengths = strips(widths)
            images = jnp.swapaxes(images, 1, 2)
            images = jnp.swapaxes(zero_where_invalid(images, jnp.arange(columns)[None, :] < widths[:, None]), 1, 2)
        # Up to a whole strip. A symbolic width gets as many as can be missing: strides leave out what is too much.
        missing = -columns % STRIP if isinstance(columns, int) else STRIP - 1
        images = jnp.pad(images, ((0, 0), (0, 0), (0, missing), (0, 0)))
        before, behind = split_key(key, 2)
        x, _ = self._features(images, self._nothing(images))
        x = features = self.dropout(x, deterministic=key is None, rngs=before)
        if isinstance(self.layer, nnx.Linear):
            x = nnx.relu(self.layer(x))
        else:
            between = None if key is None else jax.random.fold_in(key, 2)
            x, _ = self.layer(x, lengths=lengths, key=between)
        return features, self.dropout(x, deterministic=key is None, rngs=behind)

    def initial_state(self, strip: ArrayLike) -> ReaderState:
        """Returns the state before the first strip, for strips `[b, h, 4, 1]`.

        Raises:
            ValueError: if strips have another shape or are not floating point, or no cell or one each way reads them.
        """
        cells, strip = self._followed(strip)
        nothing, states = self._nothing(strip), []
        x = self._features(strip, nothing)[0][:, 0]
        for cell in cells:
            states.append(cell.initial_state(cell.project(x)))
            _, x = cell(states[-1], x)  # for its form: no state depends on values
        return ReaderState(nothing, tuple(states))

    def step(self, state: ReaderState, strip: ArrayLike) -> tuple[ReaderState, Float[Array, "b scores"]]:
        """Reads the next strip of each line, `[b, h, 4, 1]`, while the line is written.

        The caller passes the state on, starting from `initial_state`: `state, scores = reader.step(state, strip)`. The
        scores, `[b, classes + 1]`, equal those of the whole line. The last strip, if narrower, is padded on the right
        with zeros.

        Raises:
            ValueError: as `initial_state`.
        """
        cells, strip = self._followed(strip)
        features, seen = self._features(strip, state.seen)
        x, carried = features[:, 0], []
        for cell, of_cell in zip(cells, state.cells, strict=True):
            of_cell, x = cell(of_cell, x)
            carried.append(of_cell)
        return ReaderState(seen, tuple(carried)), self.head(x)

    def _features(self, x: Images, seen: tuple[Array, ...]) -> tuple[Float[Array, "b t d"], tuple[Array, ...]]:
        """Computes the features of the next columns, `[b, t, d]`, and the columns that the convolutions read last.

        Args:
            x: the next columns, `[b, h, w, 1]`.
            seen: for each convolution the columns to the left that it has read before.
        """
        then, norms = [], (None, *self.norms)
        for convolution, norm, adds, before in zip(self.convolutions, norms, self.adds, seen, strict=True):
            read = jnp.concatenate([before, x], axis=2)
            then.append(read[:, :, read.shape[2] - before.shape[2] :])
            y = norm(convolution(read)) if norm else convolution(read)
            x = nnx.relu(y + x if adds else y)
        return x.max(axis=1), tuple(then)  # A kernel over all rows has left one.

    def _nothing(self, images: Images) -> tuple[Array, ...]:
        """Returns the columns to the left of a line: for each convolution zeros of the images' dtype and sharding."""
        seen, rows = [], self.height
        for convolution, (down, right) in zip(self.convolutions, (*self.strides, (1, 1)), strict=True):
            like = jnp.zeros_like(images[:, :1, :1])
            seen.append(jnp.broadcast_to(like, (images.shape[0], rows, KERNEL - right, convolution.in_features)))
            rows = -(-rows // down)
        return tuple(seen)

    def _followed(self, strip: ArrayLike) -> tuple[list[Cell], Images]:
        """Returns the cells from the bottom up and the checked strip, for reading strip by strip."""
        strip = self._checked(strip, str(STRIP))
        layers = self.layer.layers if isinstance(self.layer, Stack) else [self.layer]
        cells = [layer.cell for layer in layers if isinstance(layer, Recurrent)]
        if len(cells) < len(layers):
            raise ValueError(
                "A line can be followed while it is written by a reader with a cell that reads from the left: make it "
                "with a cell and both_ways=False."
            )
        return cells, strip

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
    known = known_values(widths)
    batch, _, columns, _ = images.shape
    if jnp.shape(widths) != (batch,) or not jnp.issubdtype(jnp.result_type(widths), jnp.integer):
        raise ValueError(
            f"Widths are one integer for each of {batch} lines, not {jnp.result_type(widths)} {[*jnp.shape(widths)]}."
        )
    if known is not None and not ((known >= 1) & (known <= columns)).all():
        raise ValueError(
            f"Lines on paper of {columns} columns are 1 to {columns} columns wide; the widths run from {known.min()} "
            f"to {known.max()}. Leave out empty lines, or widen the paper."
        )
    return jnp.asarray(widths).astype(jnp.int32)
