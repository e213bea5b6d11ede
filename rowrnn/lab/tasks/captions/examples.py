"""Scenes of one to four digits, small and large, each with the one caption that describes it.

The digits of a scene stand in one or two rows of one or two; in its first place stands the digit of the batch that the
scene has the number of, in the others any of the same batch. Boxes keep `GAP` pixels apart. Centres of digits in a row
are at least twice as far apart across as down, those of two digits above each other at least twice as far down as
across, and rows overlap nowhere, so that a reader never hesitates between two captions.

Of the 200 combinations (digit, left of or above, digit) 20 are held out, each digit once on either side of both
relations: `unseen` scenes contain at least one of them, all other scenes none.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Split, as_float
from rowrnn.lab.tasks.captions.language import DIGITS, captions_of

CANVAS = 56  # pixels
SIDES = (16.0, 24.0)  # of the box of a small and a large digit, pixels
GAP = 3.0  # between boxes, pixels
JITTER = 6.0  # of a digit in its row, and of two above each other, pixels
HELD_OUT = (3, 7)  # second digit minus first, modulo ten, where the first is left of the second, and above it
CANDIDATES = 32  # drawn for each scene, of which the first that is allowed is taken
CHUNK = 500  # scenes that are made at once

# Places: upper left, upper right, lower left, lower right. A row by arrangement: one digit, one beside another, one
# above another, two above one, one above two, two above two.
PLACES = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1]], bool)
BESIDE, STACKED = 1, 2
# Which place has the digit that is named first, second, …, by sentence of `rowrnn.lab.tasks.captions.language`.
NAMED = np.array([[0] * 4, [0, 1, 0, 0], [1, 0, 0, 0], [0, 2, 0, 0], [2, 0, 0, 0], range(4), [0, 2, 3, 0], range(4)])


class Plan(NamedTuple):
    """What stands where in scenes; of places that are not taken the numbers mean nothing.

    Args:
        arrangement: row of `PLACES`, `[b]`.
        source: which digit of the batch stands in each place, `[b, 4]`.
        digits: its label.
        sizes: 0 small, 1 large, `[b, 4]`.
        top: upper edge of its box, pixels from the canvas's, `[b, 4]`.
        left: left edge of its box, likewise.
    """

    arrangement: Int[Array, "b"]
    source: Int[Array, "b 4"]
    digits: Int[Array, "b 4"]
    sizes: Int[Array, "b 4"]
    top: Float[Array, "b 4"]
    left: Float[Array, "b 4"]


class Scenes(NamedTuple):
    """Images `[b, 56, 56, 1]`, uint8 or floating point from 0 to 1, and their captions `[b, longest]`."""

    images: Any
    captions: Any


def scenes(key: Key[Array, ""], images: ArrayLike, labels: ArrayLike) -> Scenes:
    """A scene for each digit of a batch, without combinations that are held out.

    Args:
        key: what is random.
        images: square grey digits `[b, side, side, 1]`, uint8 or floating point from 0 to 1.
        labels: 0 to 9.

    Raises:
        ValueError: if the batch is empty or the images have another form, or labels, where known outside `jax.jit`,
            another value.
    """
    images, labels = _checked(images, labels)
    planned = plan(key, labels)
    return Scenes(render(planned, images), caption(planned))


def fixed_scenes(key: Key[Array, ""], split: Split, count: int, *, unseen: bool = False) -> Scenes:
    """So many scenes of the digits of a split, always the same, their images as uint8.

    Args:
        key: what is random.
        split: digits as for `scenes`.
        count: number of scenes, at least 1.
        unseen: scenes with a combination that is held out, instead of scenes without.

    Raises:
        ValueError: as `scenes`.
        InputError: if the digits of the split cannot make such scenes.
    """
    images, labels = _checked(split.images, split.labels)
    chunk, parts, made = min(CHUNK, len(split)), [], 0
    for number in range(10 + 3 * count // chunk):
        digits = (number * chunk + jnp.arange(chunk)) % len(split)
        part, fit = _chunk(jax.random.fold_in(key, number), images[digits], labels[digits], unseen)
        parts.append(Scenes(*(np.asarray(array)[np.asarray(fit)] for array in part)))
        made += len(parts[-1].captions)
        if made >= count:
            return jax.tree.map(lambda *arrays: jnp.asarray(np.concatenate(arrays)[:count]), *parts)
    raise InputError(f"{len(split)} digits make too few scenes with combinations that are held out: take more digits.")


@partial(jax.jit, static_argnames="unseen")
def _chunk(key: Array, images: Array, labels: Array, unseen: bool) -> tuple[Scenes, Array]:
    """Scenes, and which of them are as they should be."""
    planned = plan(key, labels, unseen=unseen)
    made = Scenes(jnp.round(255 * jnp.clip(render(planned, images), 0, 1)).astype(jnp.uint8), caption(planned))
    return made, held_out(planned.arrangement, planned.digits) == unseen


def plan(key: Key[Array, ""], labels: Int[Array, "b"], *, unseen: bool = False) -> Plan:
    """Draws what stands where.

    A scene for which no candidate is allowed has one digit only, which is always allowed in scenes without combinations
    that are held out.
    """
    b = len(labels)
    keys = jax.random.split(key, 7)
    arrangement = jax.random.randint(keys[0], (b,), int(unseen), len(PLACES))
    own = jnp.broadcast_to(jnp.arange(b)[None, :, None], (CANDIDATES, b, 1))
    source = jnp.concatenate([own, jax.random.randint(keys[1], (CANDIDATES, b, 3), 0, b)], axis=-1)
    allowed = jax.vmap(partial(held_out, arrangement))(labels[source]) == unseen
    source = source[allowed.argmax(axis=0), jnp.arange(b)]
    arrangement = jnp.where(allowed.any(axis=0), arrangement, 0)
    sizes = jax.random.bernoulli(keys[2], shape=(b, 4)).astype(jnp.int32)

    taken, sides = jnp.asarray(PLACES)[arrangement].reshape(b, 2, 2), jnp.asarray(SIDES)[sizes].reshape(b, 2, 2)
    rows = taken.any(axis=-1)
    heights = jnp.where(taken, sides, 0.0).max(axis=-1)
    between = jnp.where(rows.all(axis=-1, keepdims=True), GAP, 0.0)
    room = CANVAS - heights.sum(axis=-1, keepdims=True) - between
    heights = heights + jnp.minimum(JITTER, room / 3)
    within = (heights[..., None] - sides) * jax.random.uniform(keys[3], sides.shape)
    top = _apart(keys[4], heights, rows)[..., None] + within
    left = _apart(keys[5], sides, taken)
    # Of two above each other the lower keeps close to the upper one's axis.
    aside = JITTER * jax.random.uniform(keys[6], (b,), minval=-1.0)
    below = left[:, 0, 0] + (sides[:, 0, 0] - sides[:, 1, 0]) / 2 + aside
    below = jnp.where(arrangement == STACKED, jnp.clip(below, 0.0, CANVAS - sides[:, 1, 0]), left[:, 1, 0])
    left = left.at[:, 1, 0].set(below)
    return Plan(arrangement, source, labels[source], sizes, top.reshape(b, 4), left.reshape(b, 4))


def held_out(arrangement: Int[Array, "b"], digits: Int[Array, "b 4"]) -> Array:
    """Which scenes `[b]` contain a combination that is held out."""
    taken = jnp.asarray(PLACES)[arrangement]

    def has(first: int, second: int, apart: int) -> Array:
        met = (digits[:, second] - digits[:, first]) % len(DIGITS) == apart
        return met & taken[:, first] & taken[:, second]

    beside = [has(first, first + 1, HELD_OUT[0]) for first in (0, 2)]
    above = [has(first, second, HELD_OUT[1]) for first in (0, 1) for second in (2, 3)]
    return jnp.stack([*beside, *above]).any(axis=0)


def caption(planned: Plan) -> Int[Array, "b longest"]:
    """The captions of scenes."""
    sizes, arrangement = planned.sizes, planned.arrangement
    after = jnp.where(arrangement == BESIDE, sizes[:, 1], sizes[:, 2]) > sizes[:, 0]
    turned = (arrangement == BESIDE) | (arrangement == STACKED)
    # One arrangement has one sentence, but for two digits, of which the larger is named first.
    sentence = jnp.asarray([0, 1, 3, 5, 6, 7])[arrangement] + jnp.where(turned & after, 1, 0)
    order = jnp.asarray(NAMED)[sentence]
    named = partial(jnp.take_along_axis, indices=order, axis=1)
    return captions_of(sentence, named(sizes), named(planned.digits))


def render(planned: Plan, images: Array) -> Float[Array, "b 56 56 1"]:
    """The images of scenes: every digit resized into its box by two products with matrices of interpolation."""
    pixels, sides = images.shape[1], jnp.asarray(SIDES)[planned.sizes]
    down = _resize(planned.top, sides, pixels)
    across = _resize(planned.left, sides, pixels)
    down = jnp.where(jnp.asarray(PLACES)[planned.arrangement][..., None, None], down, 0.0)
    digits = as_float(images)[..., 0][planned.source]
    tall = jnp.einsum("bkyi,bkij->bykj", down, digits)
    return jnp.einsum("bykj,bkxj->byx", tall, across)[..., None]


def _resize(start: Float[Array, "b 4"], sides: Float[Array, "b 4"], pixels: int) -> Float[Array, "b 4 56 pixels"]:
    """What each pixel of a digit, without a fourteenth at each edge, adds to each of the canvas along one axis.

    Linear interpolation; where digits shrink, its triangle is as wide as a pixel of the canvas.
    """
    edge = pixels // 14
    scale = ((pixels - 2 * edge) / sides)[..., None, None]
    to = jnp.arange(CANVAS, dtype=jnp.float32)[None, None, :, None] + 0.5 - start[..., None, None]
    of = jnp.arange(pixels, dtype=jnp.float32)[None, None, None]
    width = jnp.maximum(scale, 1.0)
    weights = jax.nn.relu(1 - jnp.abs(to * scale - 0.5 + edge - of) / width)
    # Their sum is about the width; it is less only where the pixel sees nothing of the box.
    weights = weights / jnp.maximum(weights.sum(axis=-1, keepdims=True), width / 2)
    return jnp.where((of >= edge) & (of < pixels - edge), weights, 0.0)


def _apart(key: Array, lengths: Float[Array, "*b 2"], taken: Array) -> Float[Array, "*b 2"]:
    """Where one or two lengths begin on the canvas, in order and `GAP` apart, the rest divided at random."""
    both = taken.all(axis=-1, keepdims=True)
    room = CANVAS - jnp.where(taken, lengths, 0.0).sum(axis=-1, keepdims=True) - jnp.where(both, GAP, 0.0)
    drawn = jax.random.uniform(key, lengths.shape)
    drawn = jnp.where(both, jnp.sort(drawn, axis=-1), drawn)
    before = jnp.where(both, lengths[..., :1] + GAP, 0.0)
    return room * drawn + jnp.concatenate([jnp.zeros_like(before), before], axis=-1)


def _checked(images: ArrayLike, labels: ArrayLike) -> tuple[Array, Int[Array, "b"]]:
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 1 or labels.ndim != 1:
        raise ValueError(
            "Scenes are made of square grey digits [b, side, side, 1] with labels [b], not of "
            f"{list(images.shape)} with {list(labels.shape)}."
        )
    if len(images) != len(labels) or not len(labels):
        raise ValueError(
            f"Scenes need as many images as labels, at least one; there are {len(images)} images and {len(labels)} "
            "labels."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"Labels are integers from 0 to 9, not {labels.dtype}.")
    if not isinstance(labels, jax.core.Tracer) and not ((labels >= 0) & (labels < len(DIGITS))).all():
        raise ValueError(f"Labels are integers from 0 to 9; these run from {labels.min()} to {labels.max()}.")
    return images, labels.astype(jnp.int32)
