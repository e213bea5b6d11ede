"""Prediction of video frames: loss, score, forecasts and their errors, and baselines."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from rowrnn.lab.data import as_float
from rowrnn.lab.tasks.frames.examples import Frames, Pieces, cropped
from rowrnn.lab.tasks.frames.flow import extrapolated
from rowrnn.lab.tasks.frames.measures import events, squared_error, ssim

VIDEOS = 50  # videos of 64x64 predicted at a time
HELD = "last frame held"


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
    return _some_at_once(videos, lambda video: model(as_float(video[None, :given]), ahead)[0])


def frame_errors(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b ahead"]:
    """Computes the squared error of each predicted frame, summed over pixels."""

    def of_one(video: Array) -> Float[Array, "ahead"]:
        predicted = model(as_float(video[None, :given]), ahead)
        return squared_error(predicted, as_float(video[None, given:]))[0]

    return _some_at_once(videos, of_one)


def film_events(
    model: Any, videos: Frames, *, given: int, ahead: int, thresholds: Sequence[float]
) -> Int[Array, "b ahead thresholds 2"]:
    """Returns what `events` counts in predicted frames."""

    def of_one(video: Array) -> Int[Array, "ahead thresholds 2"]:
        predicted = model(as_float(video[None, :given]), ahead)
        return events(predicted, as_float(video[None, given:]), thresholds)[0]

    return _some_at_once(videos, of_one)


def _some_at_once(videos: Frames, f: Callable[[Array], Array]) -> Array:
    """Computes a function of each video, of as many together as have the pixels of 50 videos of 64x64."""
    pixels = math.prod(videos.shape[2:4])
    return jax.lax.map(f, jnp.asarray(videos), batch_size=max(1, VIDEOS * 64 * 64 // pixels))


def negative_mse(model: Any, videos: Frames, *, given: int, ahead: int) -> Float[Array, "b"]:
    """Returns the negative squared error of each video, averaged over its predicted frames."""
    return -frame_errors(model, videos, given=given, ahead=ahead).mean(axis=1)


def similarity(predicted: Any, videos: Frames, *, given: int) -> float:
    """Computes the mean SSIM of predicted frames.

    Args:
        predicted: predicted frames in [0, 1].
        videos: true videos, of which the predicted frames are those after the first `given`.
        given: number of given frames.
    """
    return float(ssim(np.asarray(predicted), np.asarray(as_float(videos[:, given:]))).mean())


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


def film_baselines(
    video: UInt8[np.ndarray, "t h w c"], *, given: int, ahead: int
) -> dict[str, Float[np.ndarray, "1 ahead h w c"]]:
    """Returns what predictors that learn nothing make of a piece: the last frame held, moved along the flow, black."""
    known = np.asarray(as_float(video[:given]))
    held = np.repeat(known[-1:], ahead, axis=0)
    found = {HELD: held}
    if given > 1:
        found["along the optical flow"] = extrapolated(known, ahead)
    return {name: frames[None] for name, frames in {**found, "black": np.zeros_like(held)}.items()}
