"""Block matching: how well each patch of a frame fits the frame before, shifted."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, "*b gh gw _k"]


def patches(frames: Float[Array, "*b h w c"], side: int) -> Maps:
    """Space to depth: `[..., h, w, c] → [..., h / side, w / side, side·side·c]`."""
    *b, height, width, channels = frames.shape
    grid = frames.reshape(*b, height // side, side, width // side, side, channels)
    return jnp.swapaxes(grid, -4, -3).reshape(*b, height // side, width // side, side * side * channels)


def surroundings(frames: Float[Array, "b h w c"], side: int, reach: int) -> Float[Array, "b gh gw s s c"]:
    """Each patch and `reach` pixels on all its sides, zero beyond the frame."""
    _, height, width, _ = frames.shape
    padded = jnp.pad(frames, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows = jnp.stack([padded[:, top : top + side + 2 * reach] for top in range(0, height, side)], axis=1)
    return jnp.stack([rows[:, :, :, left : left + side + 2 * reach] for left in range(0, width, side)], axis=2)


def mismatches(before: Float[Array, "*b h w c"], frame: Float[Array, "*b h w c"], side: int, reach: int) -> Maps:
    """How badly each patch of a frame fits the frame before, moved by up to `reach` pixels, at half the resolution.

    Returns:
        `[..., h / side, w / side, (reach + 1)²]`: for shifts of -reach, -reach + 2, … pixels down and across the sum
        over the patch of the squared differences of brightness, averaged over 2x2 pixels and channels, less its mean
        over the shifts.
    """
    small, moving = (halved(x).mean(axis=-1) for x in (frame, before))
    *b, height, width = small.shape
    half, reach = side // 2, reach // 2
    moving = jnp.pad(moving, (*[(0, 0)] * len(b), (reach, reach), (reach, reach)))
    found = []
    for top in range(2 * reach, -1, -1):
        for left in range(2 * reach, -1, -1):
            squared = jnp.square(small - moving[..., top : top + height, left : left + width])
            found.append(squared.reshape(*b, height // half, half, width // half, half).sum(axis=(-3, -1)))
    stacked = jnp.stack(found, axis=-1)
    return stacked - stacked.mean(axis=-1, keepdims=True)


def halved(frames: Float[Array, "*b h w c"]) -> Float[Array, "*b y x c"]:
    """Means over 2x2 pixels."""
    *b, height, width, channels = frames.shape
    return frames.reshape(*b, height // 2, 2, width // 2, 2, channels).mean(axis=(-4, -2))
