"""Scenes: images of one to four small or large digits, with their captions.

The digits of a scene stand in one or two rows of one or two digits. The upper left digit of scene i is digit i of the
batch; the others are drawn from the same batch.

Each scene has exactly one correct caption, because its layout is unambiguous: bounding boxes are at least `GAP` pixels
apart and rows do not overlap; the centres of two digits in a row are at least twice as far apart horizontally as
vertically; in a scene of two digits one above the other, their centres are at least twice as far apart vertically as
horizontally.

To test generalization, 20 of the 200 combinations (digit, "left of" or "above", digit) are held out; for each of the
two relations, every digit is held out once as the first and once as the second. Every `unseen` scene contains at least
one of these combinations, all other scenes contain none.
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
SIDES = (16.0, 24.0)  # side of the bounding box of a small and of a large digit, in pixels
GAP = 3.0  # smallest distance between bounding boxes, in pixels
JITTER = 6.0  # largest random offset of digits in a row or one above the other, in pixels
HELD_OUT = (3, 7)  # second digit minus first, modulo 10, of the combinations held out of "left of" and of "above"
CANDIDATES = 32  # random choices of digits for each scene, of which the first allowed one is used
CHUNK = 500  # scenes generated at a time

# Which places are occupied: upper left, upper right, lower left, lower right. One line for each arrangement: one digit,
# two side by side, two one above the other, two above one, one above two, two above two.
PLACES = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1]], bool)
BESIDE, STACKED = 1, 2
# Places of the digits in the order in which each sentence of `rowrnn.lab.tasks.captions.language` names them.
NAMED = np.array([[0] * 4, [0, 1, 0, 0], [1, 0, 0, 0], [0, 2, 0, 0], [2, 0, 0, 0], range(4), [0, 2, 3, 0], range(4)])


class Plan(NamedTuple):
    """The layouts of a batch of scenes; values at unoccupied places have no meaning.

    Args:
        arrangement: index into `PLACES`, `[b]`.
        source: index into the batch of the digit at each place, `[b, 4]`.
        digits: label of the digit at each place, `[b, 4]`.
        sizes: 0 for small, 1 for large, `[b, 4]`.
        top: distance of the bounding box from the upper edge of the canvas, in pixels, `[b, 4]`.
        left: distance of the bounding box from the left edge of the canvas, in pixels, `[b, 4]`.
    """

    arrangement: Int[Array, "b"]
    source: Int[Array, "b 4"]
    digits: Int[Array, "b 4"]
    sizes: Int[Array, "b 4"]
    top: Float[Array, "b 4"]
    left: Float[Array, "b 4"]


class Scenes(NamedTuple):
    """A batch of scenes with their captions.

    Args:
        images: `[b, 56, 56, 1]`, uint8 or floating point in [0, 1].
        captions: indices into `rowrnn.lab.tasks.captions.language.WORDS`, `[b, longest]`.
    """

    images: Any
    captions: Any


def scenes(key: Key[Array, ""], images: ArrayLike, labels: ArrayLike) -> Scenes:
    """Generates one scene for each digit of a batch, without held-out combinations.

    Args:
        key: source of randomness.
        images: square grey images of digits, `[b, side, side, 1]`, uint8 or floating point in [0, 1].
        labels: digits from 0 to 9, `[b]`.

    Returns:
        Scenes with floating-point images.

    Raises:
        ValueError: if the batch is empty, a shape does not fit, labels are not integers, or labels known outside
            `jax.jit` are outside 0 to 9.
    """
    images, labels = _checked(images, labels)
    planned = plan(key, labels)
    return Scenes(render(planned, images), caption(planned))


def fixed_scenes(key: Key[Array, ""], split: Split, count: int, *, unseen: bool = False) -> Scenes:
    """Generates a fixed set of scenes, with images as uint8.

    Args:
        key: source of randomness.
        split: images and labels of digits, as for `scenes`.
        count: number of scenes, at least 1.
        unseen: whether every scene contains a held-out combination; otherwise none does.

    Raises:
        ValueError: if the images or labels are not as `scenes` expects.
        InputError: if the digits of the split give too few such scenes.
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
    """Generates scenes, and tells which of them are such as `unseen` requires, booleans `[b]`."""
    planned = plan(key, labels, unseen=unseen)
    made = Scenes(jnp.round(255 * jnp.clip(render(planned, images), 0, 1)).astype(jnp.uint8), caption(planned))
    return made, held_out(planned.arrangement, planned.digits) == unseen


def plan(key: Key[Array, ""], labels: Int[Array, "b"], *, unseen: bool = False) -> Plan:
    """Draws the layouts of scenes.

    A scene without an allowed candidate is reduced to a single digit, which contains no combination at all; with
    `unseen`, the caller must discard it.

    Args:
        key: source of randomness.
        labels: labels of the batch of digits, `[b]`.
        unseen: whether scenes should contain held-out combinations; otherwise none does.
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
    # Where one digit is above one other, the centre of the lower is at most JITTER to the side of that of the upper.
    aside = JITTER * jax.random.uniform(keys[6], (b,), minval=-1.0)
    below = left[:, 0, 0] + (sides[:, 0, 0] - sides[:, 1, 0]) / 2 + aside
    below = jnp.where(arrangement == STACKED, jnp.clip(below, 0.0, CANVAS - sides[:, 1, 0]), left[:, 1, 0])
    left = left.at[:, 1, 0].set(below)
    return Plan(arrangement, source, labels[source], sizes, top.reshape(b, 4), left.reshape(b, 4))


def held_out(arrangement: Int[Array, "b"], digits: Int[Array, "b 4"]) -> Array:
    """Returns which scenes contain a held-out combination, booleans `[b]`.

    Args:
        arrangement: index into `PLACES`, `[b]`.
        digits: label of the digit at each place, `[b, 4]`.
    """
    taken = jnp.asarray(PLACES)[arrangement]

    def has(first: int, second: int, apart: int) -> Array:
        met = (digits[:, second] - digits[:, first]) % len(DIGITS) == apart
        return met & taken[:, first] & taken[:, second]

    beside = [has(first, first + 1, HELD_OUT[0]) for first in (0, 2)]
    above = [has(first, second, HELD_OUT[1]) for first in (0, 1) for second in (2, 3)]
    return jnp.stack([*beside, *above]).any(axis=0)


def caption(planned: Plan) -> Int[Array, "b longest"]:
    """Returns the captions of scenes, as indices into `rowrnn.lab.tasks.captions.language.WORDS`."""
    sizes, arrangement = planned.sizes, planned.arrangement
    after = jnp.where(arrangement == BESIDE, sizes[:, 1], sizes[:, 2]) > sizes[:, 0]
    turned = (arrangement == BESIDE) | (arrangement == STACKED)
    # Each arrangement has one sentence, except those of two digits: they have two, as the larger digit is named first.
    sentence = jnp.asarray([0, 1, 3, 5, 6, 7])[arrangement] + jnp.where(turned & after, 1, 0)
    order = jnp.asarray(NAMED)[sentence]
    named = partial(jnp.take_along_axis, indices=order, axis=1)
    return captions_of(sentence, named(sizes), named(planned.digits))


def render(planned: Plan, images: Array) -> Float[Array, "b 56 56 1"]:
    """Renders the images of scenes.

    Each digit is resized into its bounding box by linear interpolation along both axes, as two matrix products.

    Args:
        planned: layouts of the scenes.
        images: images of digits that the layouts refer to, `[b, side, side, 1]`.

    Returns:
        Floating-point images.
    """
    pixels, sides = images.shape[1], jnp.asarray(SIDES)[planned.sizes]
    down = _resize(planned.top, sides, pixels)
    across = _resize(planned.left, sides, pixels)
    down = jnp.where(jnp.asarray(PLACES)[planned.arrangement][..., None, None], down, 0.0)
    digits = as_float(images)[..., 0][planned.source]
    tall = jnp.einsum("bkyi,bkij->bykj", down, digits)
    return jnp.einsum("bykj,bkxj->byx", tall, across)[..., None]


def _resize(start: Float[Array, "b 4"], sides: Float[Array, "b 4"], pixels: int) -> Float[Array, "b 4 56 pixels"]:
    """Returns the weight of each pixel of a digit for each pixel of the canvas, along one axis.

    The weights are those of linear interpolation; where a digit shrinks, the triangular kernel is widened to the size
    of a canvas pixel (antialiasing). One fourteenth of the image at each edge, nearly always blank, is cut off.

    Args:
        start: first edge of each bounding box on the canvas, in pixels.
        sides: side of each bounding box, in pixels.
        pixels: side of the digit's image, in pixels.
    """
    edge = pixels // 14
    scale = ((pixels - 2 * edge) / sides)[..., None, None]
    to = jnp.arange(CANVAS, dtype=jnp.float32)[None, None, :, None] + 0.5 - start[..., None, None]
    of = jnp.arange(pixels, dtype=jnp.float32)[None, None, None]
    width = jnp.maximum(scale, 1.0)
    weights = jax.nn.relu(1 - jnp.abs(to * scale - 0.5 + edge - of) / width)
    # The weights sum to about `width`; to less only for pixels of the canvas that the digit does not reach.
    weights = weights / jnp.maximum(weights.sum(axis=-1, keepdims=True), width / 2)
    return jnp.where((of >= edge) & (of < pixels - edge), weights, 0.0)


def _apart(key: Array, lengths: Float[Array, "*b 2"], taken: Array) -> Float[Array, "*b 2"]:
    """Draws the starts of one or two intervals on the canvas, in order and at least `GAP` apart.

    Args:
        key: source of randomness.
        lengths: lengths of the intervals, in pixels.
        taken: booleans, whether each of the two intervals exists.
    """
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
