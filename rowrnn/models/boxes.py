"""Boxes in images, and the places of a feature map that say them."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

PLACE = 8
"""Height and width of a place of the feature map, in pixels."""
USUAL = 4 * PLACE
"""Height and width of a box, in pixels, where a detector's output for its size is zero."""
LARGEST = 4.0
"""Largest logarithm of a box's size over `USUAL`: 1,700 pixels; a wild output would overflow otherwise."""
NARROW = 8.0
"""Factor of the squared distance from a box's middle, in its sizes, by which its Gaussian is e⁻² at its edges."""

Grid = tuple[int, int]
"""Height and width of a feature map, in places, which are numbered row by row."""
Places = Int[Array, "b t"]


class Boxes(NamedTuple):
    """Boxes that were found in images, in the order in which they were said, or by their scores.

    Args:
        boxes: left, top, right and bottom edge in pixels of the image, `[b, k, 4]`.
        classes: number of the class of each, `[b, k]`.
        scores: probability that there is such an object, `[b, k]`.
        places: number of the place of the feature map from which each was said, `[b, k]`.
    """

    boxes: Float[Array, "b k 4"]
    classes: Int[Array, "b k"]
    scores: Float[Array, "b k"]
    places: Int[Array, "b k"]


def middle_and_size(boxes: Float[Array, "*b 4"]) -> tuple[Float[Array, "*b 2"], Float[Array, "*b 2"]]:
    """Returns middle and size of boxes, right and down."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def boxes_at(edges: Float[Array, "b t 4"], places: Places, grid: Grid) -> Float[Array, "b t 4"]:
    """Returns boxes in pixels from what a detector says at places.

    Args:
        edges: distance of the middle from that of the place, right and down, in places; logarithms of width and height
            over `USUAL`.
        places: numbers of the places.
        grid: the feature map.
    """
    row, column = (part.astype(edges.dtype) for part in jnp.divmod(places, grid[1]))
    middle = PLACE * (jnp.stack([column, row], axis=-1) + 0.5 + edges[..., :2])
    half = USUAL / 2 * jnp.exp(jnp.clip(edges[..., 2:], -LARGEST, LARGEST))
    return jnp.concatenate([middle - half, middle + half], axis=-1)


def middles(grid: Grid) -> Float[Array, "p 2"]:
    """Returns the middles of all places, right and down, in pixels."""
    row, column = jnp.divmod(jnp.arange(grid[0] * grid[1], dtype=jnp.int32), grid[1])
    return PLACE * (jnp.stack([column, row], axis=-1).astype(jnp.float32) + 0.5)


def nearness(boxes: Float[Array, "b t 4"], grid: Grid) -> Float[Array, "b t p"]:
    """Returns how near each place is to each box, in pixels: 1 in its middle, e⁻² in the middle of its edges."""
    middle, size = middle_and_size(boxes)
    away = (middles(grid)[None, None] - middle[:, :, None]) / jnp.maximum(size, 1.0)[:, :, None]
    return jnp.exp(-NARROW * (away**2).sum(axis=-1))


def beside(places: Int[Array, "b"], grid: Grid) -> Bool[Array, "b p"]:
    """Returns which places are one of some places or beside it, also across a corner."""
    row, column = jnp.divmod(jnp.arange(grid[0] * grid[1], dtype=jnp.int32), grid[1])
    of_row, of_column = jnp.divmod(places, grid[1])
    near_row = jnp.abs(row[None] - of_row[:, None]) <= 1
    return near_row & (jnp.abs(column[None] - of_column[:, None]) <= 1)


def overlaps(these: Float[Array, "n 4"], those: Float[Array, "m 4"]) -> Float[Array, "n m"]:
    """Returns the intersection over union of each of these boxes with each of those; 0 where both are empty."""
    low = jnp.maximum(these[:, None, :2], those[None, :, :2])
    high = jnp.minimum(these[:, None, 2:], those[None, :, 2:])
    common = jnp.maximum(high - low, 0.0).prod(axis=-1)
    areas = [jnp.maximum(middle_and_size(boxes)[1], 0.0).prod(axis=-1) for boxes in (these, those)]
    either = areas[0][:, None] + areas[1][None] - common
    return common / jnp.maximum(either, 1e-6)
