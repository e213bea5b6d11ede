"""Measures of predicted video frames: squared error, structural similarity (SSIM) and events that were foreseen.

The conventions of the first two are those of OpenSTL (Tan et al. 2023), whose benchmark lists the published results on
Moving MNIST.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from skimage.metrics import structural_similarity

WINDOW = 7  # side of a window, in pixels
DATA_RANGE = 2.0  # former default of scikit-image for floating-point images, which published values are based on


def squared_error(predicted: Any, true: Any) -> Float[Any, "b t"]:
    """Computes the squared error of each frame, summed over its pixels.

    The "MSE per frame" of publications is its mean over frames and videos.

    Args:
        predicted: predicted videos `[b, t, h, w, c]` in [0, 1], floating-point arrays of JAX or NumPy.
        true: true videos, likewise.

    Raises:
        ValueError: if the videos differ in shape or are not floating point.
    """
    _check_shapes(predicted, true)
    return ((predicted - true) ** 2).sum(axis=(2, 3, 4))


def ssim(predicted: Any, true: Any, data_range: float = DATA_RANGE) -> Float[np.ndarray, "b t"]:
    """Computes the structural similarity (SSIM) of each frame (Wang et al. 2004).

    It is computed by scikit-image with uniform windows of 7x7 pixels.

    Args:
        predicted: predicted videos `[b, t, h, w, c]` in [0, 1], floating point.
        true: true videos, likewise.
        data_range: range of the pixels that the constants of the formula assume: 2 in published results on Moving
            MNIST; 1, the actual range, gives lower values.

    Raises:
        ValueError: if the videos differ in shape or are not floating point, or frames are smaller than a window.
    """
    _check_shapes(predicted, true)
    if min(true.shape[2:4]) < WINDOW:
        raise ValueError(f"SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, not {list(true.shape[2:4])}.")
    found = [
        structural_similarity(one, other, win_size=WINDOW, data_range=data_range, channel_axis=-1)
        for one, other in zip(_frames(predicted), _frames(true), strict=True)
    ]
    return np.array(found).reshape(true.shape[:2])


def _frames(videos: Any) -> Float[np.ndarray, "n h w c"]:
    return np.asarray(videos, np.float64).reshape(-1, *videos.shape[2:])


def _check_shapes(predicted: Any, true: Any) -> None:
    if predicted.shape != true.shape or true.ndim != 5:
        raise ValueError(
            f"Predicted and true videos need one shape [b, t, h, w, c], not {list(predicted.shape)} and "
            f"{list(true.shape)}; a video must have as many frames as are asked for."
        )
    for videos in (predicted, true):
        if not np.issubdtype(videos.dtype, np.floating):
            raise ValueError(f"Videos are compared in [0, 1], floating point, not {videos.dtype}: see as_float.")


def events(predicted: Any, true: Any, thresholds: Sequence[float]) -> Int[Array, "b t thresholds 2"]:
    """Counts the pixels of each frame that are from a threshold on in both videos, and in either.

    Args:
        predicted: predicted videos `[b, t, h, w, c]` in [0, 1].
        true: true videos, likewise.
        thresholds: values from which on there is an event, as rain of a rate.
    """
    _check_shapes(predicted, true)
    found = []
    for threshold in thresholds:
        said, there = (jnp.asarray(videos) >= threshold for videos in (predicted, true))
        counts = [mask.sum(axis=(2, 3, 4), dtype=jnp.int32) for mask in (said & there, said | there)]
        found.append(jnp.stack(counts, axis=-1))
    return jnp.stack(found, axis=2)


def critical_success(counts: Int[np.ndarray, "*seeds b t thresholds 2"]) -> Float[np.ndarray, "*seeds thresholds"]:
    """Computes the critical success index from what `events` counts, hits / (hits + misses + false alarms).

    It is that of all videos together, mean over the frames in which there is an event, true or predicted.
    """
    hits, either = np.moveaxis(np.asarray(counts).astype(np.int64).sum(axis=-4), -1, 0)
    there = either > 0
    success = np.where(there, hits / np.maximum(either, 1), 0).sum(axis=-2)
    return np.where(there.any(axis=-2), success / np.maximum(there.sum(axis=-2), 1), np.nan)
