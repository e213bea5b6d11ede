"""What a detector is to learn of the boxes of a picture: which places say them, and when."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rowrnn.models.detector import PLACE, middles

WIDTH = 0.09  # standard deviation of the places that say an object, as a fraction of its size
NARROWEST = 0.4 * PLACE  # pixels, that it has at least


def place_weights(boxes: Float[Array, "b m 4"], count: int, width: int) -> Float[Array, "b m p"]:
    """Returns how well each place suits to say each box: a Gaussian about its middle, the best place having 1.

    Args:
        boxes: in pixels.
        count: number of places.
        width: places in a row.
    """
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    deviation = jnp.maximum(WIDTH * size, NARROWEST)
    away = ((middles(count, width)[None, None] - middle[:, :, None]) / deviation[:, :, None]) ** 2
    logs = -away.sum(axis=-1) / 2
    return jnp.exp(logs - logs.max(axis=-1, keepdims=True))


def drawn_places(key: Key[Array, ""], weights: Float[Array, "b m p"]) -> Int[Array, "b m"]:
    """Draws a place for each box, by the weights of places."""
    return jax.random.categorical(key, jnp.log(jnp.maximum(weights, 1e-12))).astype(jnp.int32)


def orders(
    key: Key[Array, ""], order: str, boxes: Float[Array, "b m 4"], present: Bool[Array, "b m"]
) -> Int[Array, "b m"]:
    """Returns the order in which the boxes of each picture are said, those of no object last.

    Args:
        key: source of randomness.
        order: "any", at random; "rows", by the row of places of the middle, then from left to right; "large", by area.
        boxes: in pixels.
        present: which are of an object.
    """
    if order == "any":
        rank = jax.random.uniform(key, present.shape)
    elif order == "rows":
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        rank = jnp.floor(middle[..., 1] / PLACE) * 1e4 + middle[..., 0]
    else:
        rank = -(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return jnp.argsort(jnp.where(present, rank, jnp.inf), axis=1)


def next_places(
    order: str, weights: Float[Array, "b m p"], present: Bool[Array, "b m"]
) -> Float[Array, "b steps choices"]:
    """Returns the probability of each place and, last, of the end, at each step: `[b, m + 1, p + 1]`.

    With the order "any", every object that is left is as good as another; else the next one is asked for. A step beyond
    the end asks for nothing: its probabilities are zero.

    Args:
        order: of `orders`.
        weights: of the places for each box, in the order in which they are said.
        present: which are of an object; they come first.
    """
    m = weights.shape[1]
    spread = weights / weights.sum(axis=-1, keepdims=True)
    step, number = jnp.arange(m + 1)[:, None], jnp.arange(m)[None]
    left = (number >= step if order == "any" else number == step)[None] & present[:, None]
    shares = left.astype(weights.dtype)
    shares = shares / jnp.maximum(shares.sum(axis=-1, keepdims=True), 1.0)
    places = jnp.einsum("bsm,bmp->bsp", shares, spread)
    ends = jnp.arange(m + 1)[None] == present.sum(axis=1)[:, None]
    return jnp.concatenate([places, ends[..., None].astype(places.dtype)], axis=-1)
