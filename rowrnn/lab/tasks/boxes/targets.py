"""What a detector is to learn of the boxes of a picture: which places say them, and when."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rowrnn.models.boxes import PLACE, Grid, middle_and_size, middles

SHARE = 0.09
"""Standard deviation of the places that say an object, as a fraction of its size, as in the network of Liu et
al. (2020) for real-time detection."""
NARROWEST = 0.4 * PLACE  # pixels, of that deviation: a middle between two places is said by both


def _by_rows(key: Key[Array, ""], boxes: Float[Array, "b m 4"]) -> Float[Array, "b m"]:
    middle, _ = middle_and_size(boxes)
    # Wider than any picture, so that rows come first.
    return 1e5 * jnp.floor(middle[..., 1] / PLACE) + middle[..., 0]


ORDERS: Mapping[str, Callable[[Key[Array, ""], Float[Array, "b m 4"]], Float[Array, "b m"]]] = {
    "any": lambda key, boxes: jax.random.uniform(key, boxes.shape[:2]),
    "rows": _by_rows,
    "large": lambda key, boxes: -middle_and_size(boxes)[1].prod(axis=-1),
}
"""Ranks of boxes in pixels by which they are said: at random, by the row of places of their middle and then from left
to right, by falling area."""


def place_weights(boxes: Float[Array, "b m 4"], grid: Grid) -> Float[Array, "b m p"]:
    """Returns how well each place suits to say each box: a Gaussian about its middle, the best place having 1.

    Args:
        boxes: in pixels.
        grid: height and width of the feature map.
    """
    middle, size = middle_and_size(boxes)
    deviation = jnp.maximum(SHARE * size, NARROWEST)
    away = ((middles(grid)[None, None] - middle[:, :, None]) / deviation[:, :, None]) ** 2
    logs = -away.sum(axis=-1) / 2
    return jnp.exp(logs - logs.max(axis=-1, keepdims=True))


def drawn_places(key: Key[Array, ""], weights: Float[Array, "b m p"]) -> Int[Array, "b m"]:
    """Draws a place for each box, by the weights of places."""
    return jax.random.categorical(key, jnp.log(jnp.maximum(weights, 1e-12))).astype(jnp.int32)


def ordered(
    key: Key[Array, ""], order: str, boxes: Float[Array, "b m 4"], present: Bool[Array, "b m"]
) -> Int[Array, "b m"]:
    """Returns the numbers of the boxes of each picture in the order in which they are said, those of no object last.

    Args:
        key: source of randomness.
        order: of `ORDERS`.
        boxes: in pixels.
        present: which are of an object.
    """
    return jnp.argsort(jnp.where(present, ORDERS[order](key, boxes), jnp.inf), axis=1)


def next_places(
    weights: Float[Array, "b m p"], present: Bool[Array, "b m"], *, in_turn: bool
) -> Float[Array, "b steps choices"]:
    """Returns the probability of each place and, last, of the end, at each step: `[b, m + 1, p + 1]`.

    A step beyond the end asks for nothing: its probabilities are zero.

    Args:
        weights: of the places for each box, in the order in which they are said.
        present: which are of an object; they come first.
        in_turn: whether the next object is asked for; else every object that is left is as good as another.
    """
    m = weights.shape[1]
    spread = weights / weights.sum(axis=-1, keepdims=True)
    step, number = jnp.arange(m + 1)[:, None], jnp.arange(m)[None]
    left = (number == step if in_turn else number >= step)[None] & present[:, None]
    shares = left.astype(weights.dtype)
    shares = shares / jnp.maximum(shares.sum(axis=-1, keepdims=True), 1.0)
    places = jnp.einsum("bsm,bmp->bsp", shares, spread)
    ends = jnp.arange(m + 1)[None] == present.sum(axis=1)[:, None]
    return jnp.concatenate([places, ends[..., None].astype(places.dtype)], axis=-1)
