"""Classification of clips: loss, score and predictions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from rowrnn.lab.data import as_float
from rowrnn.lab.tasks.clips.augmentation import ClipAugmentation
from rowrnn.lab.tasks.clips.examples import Clips
from rowrnn.models import FrameAverage, VideoClassifier

Model = VideoClassifier | FrameAverage
UNCHANGED = ClipAugmentation()
ToFloats = Callable[[Any], Any]
"""Conversion of uint8 frames to floating-point frames as a model takes them, for example by the mean and standard
deviation of the training frames."""


def loss(
    model: Model,
    batch: Clips,
    key: Array,
    *,
    to_floats: ToFloats = as_float,
    augmentation: ClipAugmentation = UNCHANGED,
    smoothing: float = 0.0,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the cross-entropy in nats of the answer to each clip, mean over clips.

    Args:
        model: the classifier.
        batch: training clips.
        key: source of randomness of the changes and of dropout.
        to_floats: conversion of frames.
        augmentation: random changes of the clips.
        smoothing: share of the probability that the target gives to all classes alike (Szegedy et al. 2016).
    """
    changing, dropping = jax.random.split(key)
    frames, lengths = augmentation(jnp.asarray(to_floats(batch.frames)), jnp.asarray(batch.lengths), changing)
    labels = jnp.asarray(batch.labels)
    return smoothed_cross_entropy(model(frames, lengths=lengths, key=dropping), labels, smoothing).mean(), {}


def smoothed_cross_entropy(logits: Float[Array, "*b classes"], labels: Array, smoothing: float) -> Float[Array, "*b"]:
    """Returns the cross-entropy of each answer with a target of 1 - smoothing for its label and the rest for all.

    Args:
        logits: `[*b, classes]`.
        labels: classes, broadcast to `[*b]`.
        smoothing: share of the target's probability that all classes get alike.
    """
    classes = logits.shape[-1]
    targets = optax.smooth_labels(jax.nn.one_hot(labels, classes, dtype=logits.dtype), smoothing)
    return optax.softmax_cross_entropy(logits, jnp.broadcast_to(targets, logits.shape))


def answer(model: Model, batch: Clips, *, to_floats: ToFloats = as_float) -> Float[Array, "b classes"]:
    """Returns the logits of the answer to each clip."""
    return model(jnp.asarray(to_floats(batch.frames)), lengths=batch.lengths)


def after_each_frame(model: Model, frames: ArrayLike, lengths: ArrayLike) -> Float[Array, "b t classes"]:
    """Returns the logits of the answer after each frame, asked as if the clip ended there.

    A layer that reads backward sees no later frame. After a clip's end the answers stay the same.
    """
    if getattr(model, "pooling", None) == "last":
        return model.logits_by_frame(frames, lengths=lengths)
    ends = 1 + jnp.arange(jnp.shape(frames)[1])
    by_end = jax.lax.map(lambda end: model(frames, lengths=jnp.minimum(end, jnp.asarray(lengths))), ends)
    return jnp.moveaxis(by_end, 0, 1)


def correct(model: Model, batch: Clips, *, to_floats: ToFloats = as_float) -> Float[Array, "b"]:
    """Returns 1 for each clip whose most probable class is its label, else 0."""
    given = answer(model, batch, to_floats=to_floats).argmax(axis=-1)
    return (given == jnp.asarray(batch.labels)).astype(jnp.float32)
