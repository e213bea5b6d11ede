"""Lines of handwriting: strings of digits set side by side, each line by a hand of its own.

A hand has a size, a breadth, a slant, a pressure and a paper that is more or less dirty; its gaps differ from digit to
digit, so that neighbours stand apart, touch or overlap, and so does the height at which a digit stands.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Shaped

from rowrnn.lab.data.dataset import as_float

PITCH = 8
"""Fewest columns from the middle of a digit to that of the next: two outputs of a reader with one output for every 4
columns. A line of n digits so has at least 2·n outputs, and CTC needs at most 2·n - 1: one a digit, and a blank between
two that are equal."""
SIZE = (0.8, 1.0)  # height beside that of the digit's own image
BREADTH = (0.85, 1.1)  # width beside the height
SLANT = 0.25  # columns to the right for each row up, at most, to either side
GAP = (-2.0, 5.0)  # columns between the ink of two digits
MARGIN = (4.0, 8.0)  # columns before the first digit and behind the last
WOBBLE = 2  # rows by which a digit stands higher or lower, at most
PRESSURE = (0.6, 1.0)  # brightness beside that of the digit's own image
NOISE = 0.15  # largest change of a pixel's brightness
INK = 0.25  # brightness that counts as ink


class Lines(NamedTuple):
    """Lines of digits, a pytree.

    Args:
        images: `[b, h, w, 1]`, uint8 or floating point in [0, 1]; zero from the line's width on.
        widths: number of columns of each line, `[b]`.
        labels: digits from left to right, `[b, n]`; behind a line's last one -1.
        lengths: number of digits of each line, `[b]`.
    """

    images: Any
    widths: Any
    labels: Any
    lengths: Any


class _Places(NamedTuple):
    """Middles of digits `[b, n]` in columns; widths of lines, and how much narrower they are written, `[b]`."""

    middles: Array
    widths: Array
    narrower: Array


def paper_width(digits: int) -> int:
    """Columns of the paper for lines of up to so many digits."""
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
    """New lines, their digits drawn from the images: each image once, then each once more, and so on, in random order.

    Of a line with fewer than the most digits, those that are too many are left out.

    Args:
        key: all that is random.
        images: images of single digits, `[n, h, w, 1]`, uint8 or in [0, 1].
        labels: their digits.
        lines: number of lines.
        digits: fewest and most digits of a line, each length as likely.
        room: number of digits that the paper is for, at least the most; the most where not given.

    Returns:
        Lines on paper of `h` rows and `paper_width(room)` columns, images in [0, 1], with labels `[lines, most]`. A
        line that would be longer is written narrower. Middles of digits are at least `PITCH` columns apart.

    Raises:
        ValueError: if images have another form, or there is no line, digit or room.
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
    """Columns of ink left and right of the middle of each image; those of the image where it has no ink."""
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
    """Places of digits with so many columns between them, narrower where the line would leave paper of so many columns.

    Absent digits stand far beyond the paper.
    """
    left, right = extents[..., 0], extents[..., 1]
    lead = left[:, 0] + margins[:, 0]
    tail = _taken(right, lengths[:, None] - 1)[:, 0] + margins[:, 1]
    beyond = jnp.maximum(right[:, :-1] + left[:, 1:] + gaps - PITCH, 0)  # what a step has above the fewest columns
    beyond = jnp.where(present[:, 1:], beyond, 0)
    least = (PITCH * (lengths - 1)).astype(jnp.float32)
    narrower = jnp.minimum(1, (paper - least) / (lead + tail + beyond.sum(axis=1)))
    steps = jnp.cumsum(PITCH + narrower[:, None] * beyond, axis=1)
    middles = (narrower * lead)[:, None] + jnp.pad(steps, ((0, 0), (1, 0)))
    ends = least + narrower * (lead + tail + beyond.sum(axis=1))
    widths = jnp.minimum(jnp.ceil(ends).astype(jnp.int32), paper)
    return _Places(jnp.where(present, middles, 4.0 * paper), widths, narrower)


def _resized(glyphs: Float[Array, "b n h w"], size: Float[Array, "b"]) -> Float[Array, "b h n w"]:
    """Images of another height about their middle row, by linear interpolation: one matrix product a line."""
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
    """Digits on paper of so many columns, slanted about the middle row, interpolated linearly along it.

    Where two overlap, the brighter is seen. Only neighbours do: the digits at odd places and those at even ones are set
    apart, and of each of the two a pixel sees the one nearest to it.
    """
    b, height, digits, width = glyphs.shape
    flat = jnp.pad(glyphs, ((0, 0), (0, 0), (0, 0), (1, 1))).reshape(b, -1)  # Beside a digit is nothing.
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
