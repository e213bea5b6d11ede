"""Lines of handwriting: images of several digits side by side, in a random style for each line.

A style consists of size, width, slant and brightness of the digits, and of noise in the background. The gap between
neighbours, which may touch or overlap, and the vertical position vary from digit to digit.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Shaped

from rowrnn.lab.data.dataset import as_float

PITCH = 8
"""Smallest distance between the centres of neighbouring digits, in columns.

A reader has one output for every 4 columns, so that a line of n digits has at least 2·n outputs. CTC needs at most
2·n - 1: one for each digit, and a blank between equal neighbours."""
SIZE = (0.8, 1.0)  # range of the height, relative to that of the digit's image
BREADTH = (0.85, 1.1)  # range of the horizontal scale, relative to the vertical one
SLANT = 0.25  # largest slant to either side, in columns per row
GAP = (-2.0, 5.0)  # range of the gap between the ink of two digits, in columns
MARGIN = (4.0, 8.0)  # range of the margin before the first and after the last digit, in columns
WOBBLE = 2  # largest vertical offset of a digit, in rows
PRESSURE = (0.6, 1.0)  # range of the brightness, relative to that of the digit's image
NOISE = 0.15  # largest amplitude of the noise
INK = 0.25  # brightness above which a pixel is ink


class Lines(NamedTuple):
    """A batch of lines of digits, or of other characters.

    Args:
        images: `[b, h, w, 1]`, uint8 or floating point in [0, 1]; zero to the right of each line's width.
        widths: number of columns of each line, `[b]`.
        labels: digits, or numbers of characters, in the order of reading, `[b, n]`, padded with -1.
        lengths: number of labels of each line, `[b]`.
    """

    images: Any
    widths: Any
    labels: Any
    lengths: Any


class _Places(NamedTuple):
    """The horizontal layout of lines: centres of digits in columns, `[b, n]`, widths and horizontal scales of lines."""

    middles: Array
    widths: Array
    narrower: Array


def paper_width(digits: int) -> int:
    """Returns the width of the images of lines of up to `digits` digits, in columns."""
    return 16 * digits + 16


def write(
    key: Key[Array, ""],
    images: ArrayLike,
    labels: ArrayLike,
    *,
    lines: int,
    digits: tuple[int, int],
    room: int | None = None,
) -> Lines:
    """Generates lines of digits.

    Digits are drawn from the images in random order, each image once before any is drawn again; some of them are not
    used, as lines differ in length.

    Args:
        key: source of randomness.
        images: images of single digits, `[n, h, w, 1]`, uint8 or floating point in [0, 1].
        labels: their digits, `[n]`.
        lines: number of lines.
        digits: smallest and largest number of digits of a line; all lengths between them are equally likely.
        room: number of digits for which the images are wide enough, at least the largest number; default: that number.

    Returns:
        Lines with images of `h` rows and `paper_width(room)` columns, floating point in [0, 1]. A line that would
        exceed its image is compressed horizontally. Centres of neighbouring digits are at least `PITCH` columns apart.

    Raises:
        ValueError: if a shape does not fit, `lines` or a number of digits is below 1, or `digits` and `room` are not in
            ascending order.
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if images.ndim != 4 or images.shape[-1] != 1 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"Lines are written with images of one channel, [n, h, w, 1], and one label each, not images of shape "
            f"{list(images.shape)} and labels of shape {list(labels.shape)}."
        )
    (fewest, most), room = digits, digits[1] if room is None else room
    if lines < 1 or not 1 <= fewest <= most <= room:
        raise ValueError(
            f"Expected at least 1 line of at least 1 digit, and paper for the most, not {lines} lines of {fewest} to "
            f"{most} digits on paper for {room}."
        )
    count, height, width, _ = images.shape
    keys = iter(jax.random.split(key, 11))
    slots = lines * most
    rounds = jax.random.split(next(keys), -(-slots // count))
    picked = jax.vmap(partial(jax.random.permutation, x=count))(rounds).reshape(-1)[:slots]
    lengths = jax.random.randint(next(keys), (lines,), fewest, most + 1)
    present = jnp.arange(most)[None, :] < lengths[:, None]

    size = _between(next(keys), SIZE, (lines,))
    breadth = size * _between(next(keys), BREADTH, (lines,))
    slant = _between(next(keys), (-SLANT, SLANT), (lines,))
    glyphs = as_float(images[picked]).reshape(lines, most, height, width)
    places = _places(
        _extents(glyphs) * breadth[:, None, None],
        present,
        lengths,
        paper_width(room),
        gaps=_between(next(keys), GAP, (lines, most - 1)),
        margins=_between(next(keys), MARGIN, (lines, 2)),
    )
    wobble = jax.random.randint(next(keys), (lines, most), -WOBBLE, WOBBLE + 1)
    paper = _set(_resized(glyphs, size), places.middles, wobble, breadth * places.narrower, slant, paper_width(room))
    paper = paper * _between(next(keys), PRESSURE, (lines,))[:, None, None]
    dirt = jax.random.uniform(next(keys), (lines, 1, 1), maxval=NOISE)
    paper = paper + dirt * jax.random.uniform(next(keys), paper.shape, minval=-1)
    inside = jnp.arange(paper.shape[-1])[None, :] < places.widths[:, None]
    paper = jnp.where(inside[:, None, :], jnp.clip(paper, 0, 1), 0)
    return Lines(paper[..., None], places.widths, jnp.where(present, labels[picked].reshape(lines, most), -1), lengths)


def _between(key: Array, bounds: tuple[float, float], shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, minval=bounds[0], maxval=bounds[1])


def _extents(glyphs: Float[Array, "b n h w"]) -> Float[Array, "b n 2"]:
    """Returns how far the ink extends to the left and to the right of the centre of each image, in columns.

    An image without ink counts as full of it.
    """
    inked = glyphs.max(axis=2) > INK
    middle = inked.shape[-1] / 2
    left, right = inked.argmax(axis=-1), inked[..., ::-1].argmax(axis=-1)
    return middle - jnp.stack([left, right], axis=-1).astype(jnp.float32)


def _places(
    extents: Float[Array, "b n 2"],
    present: Bool[Array, "b n"],
    lengths: Int[Array, "b"],
    paper: int,
    *,
    gaps: Float[Array, "b m"],
    margins: Float[Array, "b 2"],
) -> _Places:
    """Computes the horizontal layout of lines.

    Absent digits are placed far to the right of the image.

    Args:
        extents: extents of the digits to the left and right of their centres, in columns.
        present: which digits belong to their line.
        lengths: number of digits of each line.
        paper: width of the images, in columns.
        gaps: columns between the ink of neighbouring digits.
        margins: columns before the first and after the last digit.
    """
    left, right = extents[..., 0], extents[..., 1]
    lead = left[:, 0] + margins[:, 0]
    tail = _taken(right, lengths[:, None] - 1)[:, 0] + margins[:, 1]
    beyond = jnp.maximum(right[:, :-1] + left[:, 1:] + gaps - PITCH, 0)  # distance of centres in excess of PITCH
    beyond = jnp.where(present[:, 1:], beyond, 0)
    least = (PITCH * (lengths - 1)).astype(jnp.float32)
    narrower = jnp.minimum(1, (paper - least) / (lead + tail + beyond.sum(axis=1)))
    steps = jnp.cumsum(PITCH + narrower[:, None] * beyond, axis=1)
    middles = (narrower * lead)[:, None] + jnp.pad(steps, ((0, 0), (1, 0)))
    ends = least + narrower * (lead + tail + beyond.sum(axis=1))
    widths = jnp.minimum(jnp.ceil(ends).astype(jnp.int32), paper)
    return _Places(jnp.where(present, middles, 4.0 * paper), widths, narrower)


def _resized(glyphs: Float[Array, "b n h w"], size: Float[Array, "b"]) -> Float[Array, "b h n w"]:
    """Scales digits vertically about their middle row by linear interpolation, as one matrix product for each line."""
    row = jnp.arange(glyphs.shape[2], dtype=jnp.float32)
    middle = (len(row) - 1) / 2
    source = (row[None, :] - middle) / size[:, None] + middle
    weights = jnp.maximum(0, 1 - jnp.abs(source[:, :, None] - row[None, None, :]))
    return jnp.einsum("brs,bnsc->brnc", weights, glyphs)


def _set(
    glyphs: Float[Array, "b h n w"],
    middles: Float[Array, "b n"],
    wobble: Int[Array, "b n"],
    breadth: Float[Array, "b"],
    slant: Float[Array, "b"],
    columns: int,
) -> Float[Array, "b h columns"]:
    """Renders lines of digits, scaled horizontally, slanted about the middle row and interpolated linearly along rows.

    Where two digits overlap, the maximum is taken. As only neighbours can overlap, two layers are rendered, of every
    second digit each, and each pixel of a layer needs only the digit whose centre is nearest.

    Args:
        glyphs: images of the digits.
        middles: their centres, in columns.
        wobble: their vertical offsets, in rows.
        breadth: horizontal scale of each line.
        slant: slant of each line, in columns per row.
        columns: width of the images.
    """
    b, height, digits, width = glyphs.shape
    flat = jnp.pad(glyphs, ((0, 0), (0, 0), (0, 0), (1, 1))).reshape(b, -1)  # zeros left and right of a digit
    row, column = jnp.arange(height), jnp.arange(columns, dtype=jnp.float32) + 0.5
    lean = slant[:, None] * ((height - 1) / 2 - row.astype(jnp.float32))[None, :]

    def layer(first: int) -> Array:
        of_layer = middles[:, first::2]
        borders = (of_layer[:, 1:] + of_layer[:, :-1]) / 2
        digit = 2 * (column[None, :, None] >= borders[:, None, :]).sum(axis=-1) + first
        from_middle = (column[None, :] - _taken(middles, digit))[:, None, :] - lean[:, :, None]
        source = jnp.clip(from_middle / breadth[:, None, None] + (width + 1) / 2, 0, width + 1)  # with the padding
        whole = jnp.minimum(source.astype(jnp.int32), width)
        part = source - whole.astype(jnp.float32)
        from_row = row[None, :, None] + _taken(wobble, digit)[:, None, :]
        start = (jnp.clip(from_row, 0, height - 1) * digits + digit[:, None, :]) * (width + 2)
        index = (start + whole).reshape(b, -1)
        before, after = (_taken(flat, index + beside).reshape(whole.shape) for beside in (0, 1))
        seen = before + part * (after - before)
        return jnp.where((from_row >= 0) & (from_row < height), seen, 0)

    return jnp.maximum(layer(0), layer(1)) if digits > 1 else layer(0)


def _taken(values: Shaped[Array, "b n"], index: Int[Array, "b m"]) -> Shaped[Array, "b m"]:
    return jnp.take_along_axis(values, index, axis=1, mode="promise_in_bounds")
