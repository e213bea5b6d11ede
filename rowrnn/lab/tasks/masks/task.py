"""Segmentation: loss, overlap with the true masks, and Otsu's threshold as a baseline."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key, UInt8
from skimage.filters import threshold_otsu

from rowrnn.lab.data import Augmentation
from rowrnn.lab.tasks.masks.files import Masked

ToFloats = Callable[[Any], Any]
"""Function of uint8 images to the floating-point ones that a model sees."""


def loss(
    model: Any, batch: Masked, key: Key[Array, ""], *, to_floats: ToFloats, augmentation: Augmentation, outside: Any
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean cross-entropy of the pixels plus 1 minus the soft Dice coefficient (Milletari et al. 2016).

    Each picture and its mask are turned and mirrored into one of eight positions, and changed alike.

    Args:
        model: function `(images, key=...)` to logits `[b, h, w]`.
        batch: training pictures.
        key: source of changes and dropout.
        to_floats: see `ToFloats`.
        augmentation: further random changes.
        outside: pixel beyond a changed picture, `[c]`, as the model sees it.
    """
    turning, changing, dropping = jax.random.split(key, 3)
    both = jnp.concatenate([to_floats(batch.images), batch.masks[..., None].astype(jnp.float32)], axis=-1)
    both = augmentation(turned(both, turning), changing, jnp.append(jnp.asarray(outside, jnp.float32), 0.0))
    truth = (both[..., -1] > 0.5).astype(jnp.float32)
    logits = model(both[..., :-1], key=dropping)
    entropy = optax.sigmoid_binary_cross_entropy(logits, truth).mean()
    said = nnx.sigmoid(logits)
    sums = [a.sum(axis=(1, 2)) for a in (said * truth, said, truth)]
    dice = ((2 * sums[0] + 1) / (sums[1] + sums[2] + 1)).mean()
    return entropy + 1 - dice, {"entropy": entropy}


def turned(images: Float[Array, "b h w c"], key: Key[Array, ""]) -> Float[Array, "b h w c"]:
    """Mirrors each image at random along both axes and, where it is square, exchanges them."""
    flips = jax.random.bernoulli(key, 0.5, (3, len(images)))
    down, across, exchanged = (flip[:, None, None, None] for flip in flips)
    images = jnp.where(down, images[:, ::-1], images)
    images = jnp.where(across, images[:, :, ::-1], images)
    square = images.shape[1] == images.shape[2]
    return jnp.where(exchanged, jnp.swapaxes(images, 1, 2), images) if square else images


def overlap(
    said: Bool[Array, "b h w"] | Bool[np.ndarray, "b h w"], truth: Bool[Array, "b h w"] | Bool[np.ndarray, "b h w"]
) -> tuple[Any, Any]:
    """Returns intersection over union and Dice coefficient of each mask; both are 1 where both masks are empty."""
    xp: Any = np if isinstance(said, np.ndarray) else jnp
    common, either = (said & truth).sum(axis=(1, 2)), (said | truth).sum(axis=(1, 2))
    both = common + either  # |said| + |truth|
    one = xp.ones(len(said), np.float32)
    iou = xp.where(either > 0, common / xp.maximum(either, 1), one)
    return iou, xp.where(both > 0, 2 * common / xp.maximum(both, 1), one)


def scores(model: Any, batch: Masked, *, to_floats: ToFloats) -> Float[Array, "b 2"]:
    """Returns intersection over union and Dice coefficient of each picture, with pixels above a probability of 1/2."""
    said = model(to_floats(batch.images)) > 0
    return jnp.stack([a.astype(jnp.float32) for a in overlap(said, jnp.asarray(batch.masks))], axis=1)


def mean_iou(model: Any, batch: Masked, *, to_floats: ToFloats) -> Float[Array, "b"]:
    """Returns the intersection over union of each picture."""
    return scores(model, batch, to_floats=to_floats)[:, 0]


def otsu(images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, "n h w"]:
    """Returns masks by Otsu's threshold (1979) of each picture's grey values; the smaller part is the object."""
    found = []
    for image in images:
        grey = image.mean(axis=2)
        bright = grey > (threshold_otsu(grey) if np.ptp(grey) else grey.max())
        found.append(bright if bright.mean() <= 0.5 else ~bright)
    return np.stack(found)


def probabilities(model: Any, images: Any) -> Float[Array, "b h w"]:
    """Returns the probability that each pixel belongs to an object."""
    return nnx.sigmoid(model(images))
