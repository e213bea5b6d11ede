"""Pieces of films: frames that are given and the frames that follow, and random crops of them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

Frames = UInt8[Array | np.ndarray, "b t h w c"]


class Pieces(NamedTuple):
    """Pieces of films.

    Args:
        frames: `[n, given + ahead, h, w, c]`, uint8.
        films: number of the film that each is of, `[n]`.
    """

    frames: Frames
    films: Int[Array, "n"] | Int[np.ndarray, "n"]


def pieces_of(films: Sequence[UInt8[np.ndarray, "_ _ _ _"]], length: int, step: int) -> Pieces:
    """Cuts films `[t, h, w, c]` of one size into pieces of a length, one beginning some frames after another."""
    starts = [(film, at) for film, of_film in enumerate(films) for at in range(0, len(of_film) - length + 1, step)]
    frames = [films[film][at : at + length] for film, at in starts]
    return Pieces(np.stack(frames), np.array([film for film, _ in starts], np.int32))


def cropped(videos: Float[Array, "b t h w c"], key: Key[Array, ""], side: int) -> Float[Array, "b t _ _ c"]:
    """Returns a random part of each video, at most `side` pixels high and wide, mirrored along both axes at random."""
    b, t, height, width, channels = videos.shape
    high, wide = min(side, height), min(side, width)
    placing, flipping = jax.random.split(key)
    room = jnp.array([height - high + 1, width - wide + 1])
    corners = jnp.floor(jax.random.uniform(placing, (b, 2)) * room[None].astype(jnp.float32)).astype(jnp.int32)

    def part(video: Array, corner: Array) -> Array:
        zero = jnp.zeros_like(corner[0])
        return jax.lax.dynamic_slice(video, (zero, corner[0], corner[1], zero), (t, high, wide, channels))

    videos = jax.vmap(part)(videos, corners)
    down, across = (flip[:, None, None, None, None] for flip in jax.random.bernoulli(flipping, 0.5, (2, b)))
    videos = jnp.where(down, videos[:, :, ::-1], videos)
    return jnp.where(across, videos[:, :, :, ::-1], videos)
