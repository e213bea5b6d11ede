"""Digits as in MNIST: found in a picture, light on dark, of one size, centred by their mass."""

from typing import Any

import numpy as np

from rowrnn.saving.resampling import resample, triangle_weights

SIDE, BOX = 28, 20
"""Sides in pixels of an image of MNIST, and of the box into which a digit is scaled (LeCun et al. 1998)."""
PAPER = 0.15  # share of the strongest ink below which a pixel is taken for paper
MIDDLE = 14.5  # where MNIST's digits have their centre of mass, from 14.0 to 15.0, the first pixel's middle at 0.5
FLAT = 8.0  # grey values: a picture without any more contrast shows no digit


def centred_digits(xp: Any, images: Any) -> Any:
    """Finds the digit in each image and draws it as the digits of MNIST were.

    The border of an image says what paper is; ink is what differs from it, to the side to which more does. The ink's
    bounding box is scaled to a longer side of 20 pixels, and laid, by whole pixels, so that the centre of mass is in
    the 15th of 28 pixels in both directions, as it is in MNIST. The strongest ink becomes 1. An image without contrast
    becomes zero.

    Args:
        xp: NumPy or `jax.numpy`.
        images: grey values from 0 to 255, float32 `[b, h, w]`.

    Returns:
        Light digits on dark, from 0 to 1, `[b, 28, 28]`.
    """
    ink = _ink(xp, images)
    rows, row_step = _placed(xp, ink, axis=1)
    columns, column_step = _placed(xp, ink, axis=2)
    step = xp.maximum(row_step, column_step)
    weights = [
        triangle_weights(xp, ink.shape[axis], _centres(xp, *of_axis, step), step)
        for axis, of_axis in ((1, rows), (2, columns))
    ]
    digits = resample(xp, ink[..., None], *weights)[..., 0]
    return digits / xp.maximum(digits.max(axis=(1, 2), keepdims=True), np.float32(PAPER / 255))


def _ink(xp: Any, images: Any) -> Any:
    """Returns how much of the strongest ink each pixel has, from 0 to 1; zero in an image without contrast."""
    edges = [images[:, :1], images[:, -1:], images[:, :, :1].swapaxes(1, 2), images[:, :, -1:].swapaxes(1, 2)]
    paper = xp.concatenate(edges, axis=2).mean(axis=2)[:, :, None]
    darker, lighter = xp.maximum(paper - images, np.float32(0)), xp.maximum(images - paper, np.float32(0))
    is_dark = (darker**2).sum(axis=(1, 2)) > (lighter**2).sum(axis=(1, 2))
    ink = xp.where(is_dark[:, None, None], darker, lighter)
    strongest = ink.max(axis=(1, 2), keepdims=True)
    ink = ink / xp.maximum(strongest, np.float32(1))
    return xp.where((ink > PAPER) & (strongest > FLAT), ink, np.float32(0))


def _placed(xp: Any, ink: Any, axis: int) -> tuple[tuple[Any, Any], Any]:
    """Returns for an axis where the ink begins and its centre of mass, both `[b]`, and the step that fits the box."""
    along = ink.sum(axis=3 - axis)
    numbers = xp.arange(ink.shape[axis], dtype=np.int32).astype(np.float32)[None]
    begin = xp.where(along > 0, numbers, np.float32(1e9)).min(axis=1)
    end = xp.where(along > 0, numbers + 1, np.float32(0)).max(axis=1)
    mass = xp.maximum(along.sum(axis=1), np.float32(PAPER))
    centre = (along * (numbers + 0.5)).sum(axis=1) / mass
    return (begin, centre), xp.maximum(end - begin, np.float32(1)) / BOX


def _centres(xp: Any, begin: Any, centre: Any, step: Any) -> Any:
    """Returns where in the image the middle of each of 28 pixels lies, `[b, 28]`."""
    first = xp.floor(MIDDLE - (centre - begin) / step + 0.5)
    places = xp.arange(SIDE, dtype=np.int32).astype(np.float32)[None] + 0.5
    return begin[:, None] + (places - first[:, None]) * step[:, None]
