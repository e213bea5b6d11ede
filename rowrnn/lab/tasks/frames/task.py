"""Prediction of video frames: loss, score, forecasts and their errors, and baselines."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rowrnn.lab.data import as_float
from rowrnn.lab.tasks.frames.examples import Frames, Pieces, cropped
from rowrnn.lab.tasks.frames.flow import extrapolated
from rowrnn.lab.tasks.frames.measures import squared_error, ssim

VIDEOS = 50  # videos predicted at a time
SIMILAR = 1_000  # videos of which SSIM is computed, which is slow

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


def film_loss(
    model: Any, batch: Pieces, key: Key[Array, ""], *, given: int, ahead: int, crop: int, unit: float
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns `video_loss` of random parts of pieces of films.

    Args:
        model: a `Forecaster`.
        batch: training pieces.
        key: source of the places.
        given: number of given frames.
        ahead: number of frames to predict.
        crop: height and width of a part, at most.
        unit: squared error of a pixel that counts as 1.
    """
    videos = cropped(as_float(batch.frames), key, crop)
    return video_loss(model, videos, given=given, ahead=ahead, unit=unit * videos[0, 0].size)


def held_error(frames: Frames, given: int) -> float:
    """Returns the mean squared error of a pixel where the last given frame is held."""
    total = count = 0.0
    for video in np.asarray(frames):
        later = video[given:].astype(np.float32) - video[given - 1].astype(np.float32)
        total, count = total + float((later**2).sum()), count + later.size
    return total / count / 255**2


def events(
    model: Any, videos: Frames, *, given: int, ahead: int, thresholds: tuple[float, ...]
) -> Int[Array, "b ahead thresholds 2"]:
    """Counts the pixels of each predicted frame that are from a threshold on both predicted and true, and either."""
    said, there = forecast(model, videos, given=given, ahead=ahead), as_float(videos[:, given:])
    found = []
    for threshold in thresholds:
        one, other = said >= threshold, there >= threshold
        found.append(jnp.stack([mask.sum(axis=(2, 3, 4)) for mask in (one & other, one | other)], axis=-1))
    return jnp.stack(found, axis=2)


def film_baselines(frames: Frames, *, given: int, ahead: int) -> dict[str, Float[np.ndarray, "b ahead h w c"]]:
    """Returns what predictors that learn nothing make of pieces: the last frame held, moved on, or black."""
    known = np.asarray(as_float(np.asarray(frames)[:, :given]))
    found = {"last frame held": np.repeat(known[:, -1:], ahead, axis=1)}
    if given > 1:
        found["along the optical flow"] = np.stack([extrapolated(video, ahead) for video in known])
    return {**found, "black": np.zeros_like(found["last frame held"])}
