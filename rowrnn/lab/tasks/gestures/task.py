"""Classification of gestures: loss, score and evaluation.

A model is evaluated after each frame, on all frames up to it; with `single_frames`, on each frame alone.
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
    """Generates a fixed set of videos, one of each image, with frames as uint8.

    Args:
        seed: seed of the random key.
        digits: images of digits.
        frames: number of frames of a video.

    Raises:
        InputError: if `frames` is below 1.
    """

    def make(key: Array, digits: Split, numbers: Array) -> Videos:
        return gestures(key, digits.images[numbers % len(digits)], frames)

    return fixed_examples(make, jax.random.key(seed), digits, len(digits))


def logits_by_frame(
    model: Model, videos: Float[Array, "b t h w c"], *, single_frames: bool
) -> Float[Array, "b t classes"]:
    """Returns the logits after every frame; with `single_frames`, those of a `FrameAverage` for every frame alone."""
    if single_frames and isinstance(model, FrameAverage):
        return model.logits_of_frames(videos)
    return model.logits_by_frame(videos)


def loss(
    model: Model, batch: Split, key: Array, *, frames: int, single_frames: bool
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the cross-entropy in nats, averaged over all frames of new videos.

    The first frames do not determine the gesture, but their losses give gradients that pass through few steps only.

    Args:
        model: the classifier.
        batch: images of digits, of which new videos are made.
        key: source of randomness of the videos.
        frames: number of frames of a video.
        single_frames: whether each frame is classified alone.
    """
    videos = gestures(key, batch.images, frames)
    logits = logits_by_frame(model, videos.frames, single_frames=single_frames)
    labels = jnp.broadcast_to(videos.labels[:, None], logits.shape[:2])
    mean = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return mean, {}


def predict(model: Model, batch: Videos, *, single_frames: bool) -> Float[Array, "b t classes"]:
    """Returns the logits by frame of videos in uint8 or floating point."""
    return logits_by_frame(model, as_float(batch.frames), single_frames=single_frames)


def correct(model: Model, batch: Videos, *, single_frames: bool) -> Float[Array, "b"]:
    """Returns 1 for each video whose most probable class after the last frame is its label, else 0.

    With `single_frames`, returns the share of correctly classified frames instead.
    """
    right = predict(model, batch, single_frames=single_frames).argmax(axis=-1) == batch.labels[:, None]
    right = right.astype(jnp.float32)
    return right.mean(axis=1) if single_frames else right[:, -1]


def accuracy_by_frame(logits: Float[np.ndarray, "seeds n t classes"], videos: Videos) -> Float[np.ndarray, "seeds t"]:
    """Computes the accuracy at each frame from logits by frame."""
    return (logits.argmax(axis=-1) == np.asarray(videos.labels)[None, :, None]).mean(axis=1)


def classes_at(
    logits: Float[np.ndarray, "seeds n t classes"], frame: Int[np.ndarray, "seeds"]
) -> Int[np.ndarray, "seeds n"]:
    """Returns the most probable class of every video at a frame that is selected for each seed.

    Args:
        logits: logits by frame.
        frame: index of the selected frame of each seed.
    """
    return np.take_along_axis(logits.argmax(axis=-1), frame[:, None, None], axis=-1)[..., 0]
