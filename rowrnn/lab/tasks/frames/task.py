"""Prediction of video frames: loss, score, forecasts and their errors, and baselines."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from rowrnn.lab.data import as_float
from rowrnn.lab.tasks.frames.measures import squared_error, ssim

VIDEOS = 50  # videos predicted at a time
SIMILAR = 1_000  # videos of which SSIM is computed, which is slow

Frames = UInt8[Array | np.ndarray, "b t h w c"]

BASELINES: dict[str, Callable[[Array], Array]] = {
    "last frame held": lambda given: given[:, -1:],
    "mean of the frames given": lambda given: given.mean(axis=1, keepdims=True),
}
"""Baselines: functions of the given frames `[b, t, h, w, c]` to the frame `[b, 1, h, w, c]` predicted for all that
follow."""


def video_loss(
    model: Any, videos: Float[Array, "b t h w c"], *, given: int, ahead: int, unit: float
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the squared error of all frames after the first, averaged over frames and divided by a unit.

    Args:
        model: a `Forecaster`.
        videos: training videos in [0, 1], of `given + ahead` frames.
        given: number of given frames; each after the first is predicted from those before it.
        ahead: number of frames to predict from the given ones.
        unit: squared error that counts as 1.

    Returns:
        The loss, and the metric `mse`, the mean squared error of the last `ahead` frames, not divided.
    """
    errors = squared_error(model.predictions(videos[:, :given], ahead), videos[:, 1:])
    return errors.mean() / unit, {"mse": errors[:, given - 1 :].mean()}


def forecast(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b ahead h w c"]:
    """Predicts the `ahead` frames that follow the first `given` frames of videos."""

    def of_one(video: Array) -> Array:
        return model(as_float(video[None, :given]), ahead)[0]

    return jax.lax.map(of_one, videos, batch_size=VIDEOS)


def frame_errors(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b ahead"]:
    """Computes the squared error of each predicted frame, summed over pixels."""
    return squared_error(forecast(model, videos, given=given, ahead=ahead), as_float(videos[:, given:]))


def negative_mse(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b"]:
    """Returns the negative squared error of each video, averaged over its predicted frames."""
    return -frame_errors(model, videos, given=given, ahead=ahead).mean(axis=1)


def similarity(predicted: Float[Array, "b ahead h w c"], videos: Frames, *, given: int) -> float:
    """Computes the mean SSIM of predicted frames.

    Args:
        predicted: predicted frames in [0, 1].
        videos: true videos, of which the predicted frames are those after the first `given`.
        given: number of given frames.
    """
    return float(ssim(np.asarray(predicted), np.asarray(as_float(videos[:, given:]))).mean())


def score_baselines(
    test: Frames, *, given: int, ahead: int
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Evaluates the baselines on test videos.

    Returns:
        `mse_per_frame` and `ssim` of each baseline by name, and arrays for figures: `BASELINE/error`, the mean squared
        error of each predicted frame, `[1, ahead]`.
    """
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
