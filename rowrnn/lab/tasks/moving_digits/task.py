"""The task of predicting where digits fly: its loss, its score, forecasts and their errors, and baselines."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from rowrnn.lab.data import Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.tasks.moving_digits.examples import moving_digits
from rowrnn.lab.tasks.moving_digits.measures import squared_error, ssim
from rowrnn.models.forecaster import Forecaster

ENERGY = 100.0  # about the squared brightness of a digit: what the loss counts in
VIDEOS = 50  # predicted at once, where they are many
SIMILAR = 1_000  # videos whose similarity is taken, which takes long

Frames = UInt8[Array | np.ndarray, "b t h w c"]

BASELINES: dict[str, Callable[[Array], Array]] = {
    "last frame held": lambda given: given[:, -1:],
    "mean of the frames given": lambda given: given.mean(axis=1, keepdims=True),
}
"""Forecasts without memory: the frames given to the one picture that is predicted for all that follow."""


def fixed_videos(seed: int, split: Split, count: int, *, digits: int, frames: int) -> Frames:
    """Videos that are always the same: each starts from the next digit, and again from the first."""

    def make(key: Array, split: Split, numbers: Array) -> Frames:
        return moving_digits(key, split.images[numbers % len(split)], digits=digits, frames=frames)

    return fixed_examples(make, jax.random.key(seed), split, count)


def training_videos(batch: Split, key: Array, *, digits: int, frames: int) -> Float[Array, "b t h w c"]:
    """Videos that start from the digits of a batch."""
    return as_float(moving_digits(key, batch.images, digits=digits, frames=frames))


def loss(
    model: Forecaster, batch: Split, key: Array, *, digits: int, given: int, ahead: int
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of every frame after the first, and that of those to predict as a metric."""
    videos = training_videos(batch, key, digits=digits, frames=given + ahead)
    errors = squared_error(model.predictions(videos[:, :given], ahead), videos[:, 1:])
    mean = errors.mean() / ENERGY
    return mean, {"mse": errors[:, given - 1 :].mean()}


def forecast(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b ahead h w c"]:
    """The frames that follow those given."""

    def of_one(video: Array) -> Array:
        return model(as_float(video[None, :given]), ahead)[0]

    return jax.lax.map(of_one, videos, batch_size=VIDEOS)


def frame_errors(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b ahead"]:
    """Squared error of each predicted frame."""
    return squared_error(forecast(model, videos, given=given, ahead=ahead), as_float(videos[:, given:]))


def negative_mse(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b"]:
    """Minus the mean squared error of the predicted frames."""
    return -frame_errors(model, videos, given=given, ahead=ahead).mean(axis=1)


def similarity(predicted: Float[Array, "b ahead h w c"], videos: Frames, *, given: int) -> float:
    """Mean SSIM of predicted frames."""
    return float(ssim(np.asarray(predicted), np.asarray(as_float(videos[:, given:]))).mean())


def score_baselines(
    test: Frames, *, given: int, ahead: int
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Scores of each baseline, and as `BASELINE/error` its errors by frame, `[1, ahead]`."""
    scores, arrays = {}, {}
    for name, picture in BASELINES.items():

        def repeat(frames: Float[Array, "b t h w c"], ahead: int, picture: Callable[[Array], Array] = picture) -> Array:
            return jnp.repeat(picture(frames), ahead, axis=1)

        predicted = jax.jit(lambda videos, model=repeat: forecast(model, videos, given=given, ahead=ahead))(test)
        errors = squared_error(predicted, as_float(test[:, given:]))
        similar = similarity(predicted[:SIMILAR], test[:SIMILAR], given=given)
        scores[name] = {"mse_per_frame": float(errors.mean()), "ssim": similar}
        arrays[f"{name}/error"] = np.asarray(errors.mean(axis=0, keepdims=True))
    return scores, arrays
