"""Tiles of a picture, and the answer about a picture from the answers about its tiles."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def places(side: int, tile: int, overlap: int = 0) -> list[int]:
    """Returns where tiles begin that cover a side, evenly spaced, neighbours with so many pixels in common at least.

    Args:
        side: number of pixels, at least that of a tile.
        tile: number of pixels of a tile, more than the overlap.
        overlap: fewest pixels that neighbours have in common.
    """
    count = 1 + -(-(side - tile) // (tile - overlap))
    return np.linspace(0, side - tile, count).round().astype(int).tolist()


def by_tiles(
    f: Callable[[Float[np.ndarray, "1 h w c"]], Float[np.ndarray, "1 h w"]],
    image: Float[np.ndarray, "h w c"],
    tile: int,
    overlap: int,
) -> Float[np.ndarray, "h w"]:
    """Computes a function of a picture tile by tile where it is larger than one; overlapping answers are blended.

    Each answer has most weight in the middle of its tile, and little at its edges, where it is based on one side only.

    Args:
        f: function of a picture to a number for each of its pixels.
        image: the picture.
        tile: height and width of a tile.
        overlap: fewest pixels that neighbouring tiles have in common.
    """
    height, width = image.shape[:2]
    if max(height, width) <= tile:
        return np.asarray(f(image[None]))[0]
    tall, wide = min(tile, height), min(tile, width)
    weight = np.outer(*(np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)) for side in (tall, wide)))
    total, weights = np.zeros((height, width)), np.zeros((height, width))
    for top in places(height, tall, min(overlap, tall - 1)):
        for left in places(width, wide, min(overlap, wide - 1)):
            here = np.s_[top : top + tall, left : left + wide]
            total[here] += weight * np.asarray(f(image[here][None]), np.float64)[0]
            weights[here] += weight
    return total / weights
