"""The task of telling gestures apart: its loss, its score and what is asked of a trained model.

A model that sees single frames only gives logits of each frame; every other one gives logits after each frame.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from rowrnn.lab.data import Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.tasks.gestures.examples import Videos, gestures
from rowrnn.models import FrameAverage, VideoClassifier

Model = VideoClassifier | FrameAverage


def fixed_videos(seed: int, digits: Split, *, frames: int) -> Videos:
    """Videos that are always the same: one of each image."""

    def make(key: Array, digits: Split, numbers: Array) -> Videos:
        return gestures(key, digits.images[numbers % len(digits)], frames)

    return fixed_examples(make, jax.random.key(seed), digits, len(digits))


def logits_by_frame(
    model: Model, videos: Float[Array, "b t h w c"], *, single_frames: bool
) -> Float[Array, "b t classes"]:
    """Logits after every frame; with `single_frames`, which a `FrameAverage` can give, of each one alone."""
    if single_frames and isinstance(model, FrameAverage):
        return model.logits_of_frames(videos)
    return model.logits_by_frame(videos)


def loss(
    model: Model, batch: Split, key: Array, *, frames: int, single_frames: bool
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean cross-entropy in nats over the frames of new videos of a batch of images.

    Logits after the first frames can only guess, but from there the way back to what the gradient must change is short.
    """
    videos = gestures(key, batch.images, frames)
    logits = logits_by_frame(model, videos.frames, single_frames=single_frames)
    labels = jnp.broadcast_to(videos.labels[:, None], logits.shape[:2])
    mean = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return mean, {}


def predict(model: Model, batch: Videos, *, single_frames: bool) -> Float[Array, "b t classes"]:
    """Logits by frame of videos that are kept as bytes."""
    return logits_by_frame(model, as_float(batch.frames), single_frames=single_frames)


def correct(model: Model, batch: Videos, *, single_frames: bool) -> Float[Array, "b"]:
    """1 where the class after the last frame is right, else 0; of single frames the share that is right."""
    right = predict(model, batch, single_frames=single_frames).argmax(axis=-1) == batch.labels[:, None]
    right = right.astype(jnp.float32)
    return right.mean(axis=1) if single_frames else right[:, -1]


def accuracy_by_frame(logits: Float[np.ndarray, "seeds n t classes"], videos: Videos) -> Float[np.ndarray, "seeds t"]:
    """Accuracy after, or of, each frame."""
    return (logits.argmax(axis=-1) == np.asarray(videos.labels)[None, :, None]).mean(axis=1)


def classes_at(
    logits: Float[np.ndarray, "seeds n t classes"], frame: Int[np.ndarray, "seeds"]
) -> Int[np.ndarray, "seeds n"]:
    """The most probable class at a frame of the videos, for each seed another."""
    return np.take_along_axis(logits.argmax(axis=-1), frame[:, None, None], axis=-1)[..., 0]
