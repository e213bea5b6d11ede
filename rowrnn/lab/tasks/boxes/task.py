"""Detection: losses of both kinds of detectors, what they find, and the score that chooses an epoch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key

from rowrnn.lab.tasks.boxes.augmentation import BoxAugmentation
from rowrnn.lab.tasks.boxes.examples import Scenes
from rowrnn.lab.tasks.boxes.targets import drawn_places, next_places, ordered, place_weights
from rowrnn.models.boxes import Boxes, middle_and_size, overlaps
from rowrnn.models.feature_map import grid_of
from rowrnn.saving.preprocessing import Preprocessing

ToFloats = Callable[[Any], Any]
"""Function of uint8 images to the floating-point ones that a model sees."""
AT_ONCE = 50  # pictures that are looked at together, for memory
ENOUGH = 0.5  # intersection over union from which a box is the right one


def changed(
    batch: Scenes, key: Key[Array, ""], *, preprocessing: Preprocessing, augmentation: BoxAugmentation
) -> Scenes:
    """Returns training pictures as floating-point numbers, changed at random; see `BoxAugmentation`."""
    black, white = (np.full(preprocessing.channels, value, np.uint8) for value in (0, 255))
    pixels = preprocessing.to_floats(np.stack([black, white, preprocessing.surroundings()])[None, None])[0, 0]
    floats = batch._replace(images=preprocessing.to_floats(batch.images), boxes=jnp.asarray(batch.boxes))
    return augmentation(floats, key, jnp.asarray(pixels[2]), jnp.asarray(pixels[1] - pixels[0]))


def sequential_loss(
    model: Any, batch: Scenes, key: Key[Array, ""], *, change: Callable[..., Scenes], order: str
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean loss of what a decoder says when it is told the objects in an order.

    The sum of three: the cross-entropy of the place of the next object, or of the end, mean over the steps; that of the
    class; and `box_loss`, both mean over the objects.

    Args:
        model: a `SequentialDetector`.
        batch: training pictures.
        key: source of changes, orders, places and dropout.
        change: function of pictures and a key to changed ones.
        order: of `rowrnn.lab.tasks.boxes.targets.ORDERS`; in "any" every object that is left may be the next.
    """
    changing, ordering, placing, dropping = jax.random.split(key, 4)
    scenes = change(batch, changing)
    by = ordered(ordering, order, scenes.boxes, scenes.present)
    boxes = jnp.take_along_axis(scenes.boxes, by[..., None], axis=1)
    classes, present = jnp.take_along_axis(scenes.classes, by, axis=1), scenes.present
    weights = place_weights(boxes, grid_of(*scenes.images.shape[1:3]))
    places = drawn_places(placing, weights)
    said = model.logits(scenes.images, places, classes, boxes, key=dropping)
    targets = next_places(weights, present, in_turn=order != "any")
    entropy = optax.safe_softmax_cross_entropy(said.places, targets)
    where = entropy.sum() / targets.sum()
    what = _mean(optax.softmax_cross_entropy_with_integer_labels(said.classes, classes), present)
    size = _mean(box_loss(said.boxes, boxes), present)
    return where + what + size, {"place": where, "class": what, "box": size}


def dense_loss(
    model: Any, batch: Scenes, key: Key[Array, ""], *, change: Callable[..., Scenes]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the focal loss of all places and classes for each object (Zhou et al. 2019, equation 1), and `box_loss`.

    Args:
        model: a `DenseDetector`.
        batch: training pictures.
        key: source of changes, places and dropout.
        change: function of pictures and a key to changed ones.
    """
    changing, placing, dropping = jax.random.split(key, 3)
    scenes = change(batch, changing)
    present = scenes.present
    weights = place_weights(scenes.boxes, grid_of(*scenes.images.shape[1:3]))
    places = drawn_places(placing, weights)
    logits, boxes = model.logits(scenes.images, key=dropping)
    kinds = jax.nn.one_hot(scenes.classes, logits.shape[-1]) * present[..., None].astype(weights.dtype)
    heat = (weights[..., None] * kinds[:, :, None]).max(axis=1)
    said = jax.nn.sigmoid(logits)
    right = -((1 - said) ** 2) * jax.nn.log_sigmoid(logits)
    wrong = -((1 - heat) ** 4) * said**2 * jax.nn.log_sigmoid(-logits)
    objects = jnp.maximum(present.sum(), 1).astype(weights.dtype)
    focal = jnp.where(heat == 1, right, wrong).sum() / objects
    of_objects = jnp.take_along_axis(boxes, places[..., None], axis=1)
    size = _mean(box_loss(of_objects, scenes.boxes), present)
    return focal + size, {"place": focal, "box": size}


def box_loss(said: Float[Array, "b m 4"], truth: Float[Array, "b m 4"]) -> Float[Array, "b m"]:
    """Returns 1 minus the generalized intersection over union (Rezatofighi et al. 2019), and the distance of the middle
    in sizes of the true box and of the logarithms of both sizes, by Huber's loss.
    """
    low, high = jnp.maximum(said[..., :2], truth[..., :2]), jnp.minimum(said[..., 2:], truth[..., 2:])
    common = jnp.maximum(high - low, 0).prod(axis=-1)
    middles, sizes = zip(*map(middle_and_size, (said, truth)), strict=True)
    sizes = [jnp.maximum(size, 1.0) for size in sizes]
    either = sizes[0].prod(axis=-1) + sizes[1].prod(axis=-1) - common
    around = jnp.maximum(said[..., 2:], truth[..., 2:]) - jnp.minimum(said[..., :2], truth[..., :2])
    around = jnp.maximum(around, 1.0).prod(axis=-1)
    generalized = common / either - (around - either) / around
    away = optax.huber_loss((middles[0] - middles[1]) / sizes[1], delta=0.2)
    larger = optax.huber_loss(jnp.log(sizes[0] / sizes[1]), delta=0.2)
    return 1 - generalized + (away + larger).sum(axis=-1)


def _mean(values: Float[Array, "b m"], present: Bool[Array, "b m"]) -> Float[Array, ""]:
    """Returns the mean over the objects."""
    return jnp.where(present, values, 0.0).sum() / jnp.maximum(present.sum(), 1).astype(values.dtype)


def found(model: Any, images: Any, *, to_floats: ToFloats) -> Boxes:
    """Returns what a detector finds in uint8 pictures, some at a time, boxes cut off at the edges of the picture."""
    height, width = images.shape[1:3]
    edges = jnp.array([width, height, width, height], jnp.float32)

    def in_one(image: Array) -> Boxes:
        said: Boxes = jax.tree.map(lambda part: part[0], model.find(to_floats(image[None])))
        return said._replace(boxes=jnp.clip(said.boxes, 0.0, edges[None]))

    return jax.lax.map(in_one, jnp.asarray(images), batch_size=AT_ONCE)


def rightness(said: Boxes, truth: Scenes) -> Bool[Array, "b k"]:
    """Returns which boxes are right: by falling score, those that overlap a true one of their class by at least half,
    the most of those that no earlier one has.
    """

    def of_picture(
        boxes: Array, classes: Array, scores: Array, true: Array, kinds: Array, present: Array
    ) -> Bool[Array, "k"]:
        order = jnp.argsort(-scores)
        fits = jnp.where((classes[:, None] == kinds[None]) & present[None], overlaps(boxes, true), 0.0)[order]

        def step(free: Array, one: Array) -> tuple[Array, Array]:
            left = jnp.where(free, one, 0.0)
            best = left.argmax()
            right = left[best] >= ENOUGH
            return free & ~(right & (jnp.arange(len(free)) == best)), right

        _, right = jax.lax.scan(step, jnp.ones(len(true), bool), fits)
        return jnp.zeros_like(right).at[order].set(right)

    truth_of = (jnp.asarray(truth.boxes), jnp.asarray(truth.classes), truth.present)
    return jax.vmap(of_picture)(said.boxes, said.classes, said.scores, *truth_of)


def picture_precision(said: Boxes, truth: Scenes) -> Float[Array, "b"]:
    """Returns the average precision of each picture on its own, all classes together, at an overlap of one half.

    It is the mean over the true objects of the precision down to the box that finds it; 0 for one not found. Of a
    picture without objects it is 1 less the highest score.
    """
    right = jnp.take_along_axis(rightness(said, truth), jnp.argsort(-said.scores, axis=1), axis=1).astype(jnp.float32)
    precision = jnp.cumsum(right, axis=1) / jnp.arange(1, right.shape[1] + 1, dtype=jnp.float32)[None]
    counts = jnp.asarray(truth.counts)
    of_objects = (precision * right).sum(axis=1) / jnp.maximum(counts, 1).astype(jnp.float32)
    return jnp.where(counts > 0, of_objects, 1 - jnp.clip(said.scores.max(axis=1), 0, 1))


def score(model: Any, batch: Scenes, *, to_floats: ToFloats) -> Float[Array, "b"]:
    """Returns `picture_precision` of what a detector finds."""
    return picture_precision(found(model, batch.images, to_floats=to_floats), batch)
