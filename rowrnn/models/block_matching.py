"""Block matching: compares each patch of a frame with the previous frame, shifted by several displacements."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, "*b gh gw _k"]


def patches(frames: Float[Array, "*b h w c"], side: int) -> Maps:
    """Flattens square patches (space to depth): `[..., h, w, c] → [..., h / side, w / side, side·side·c]`."""
    *b, height, width, channels = frames.shape
    grid = frames.reshape(*b, height // side, side, width // side, side, channels)
    return jnp.swapaxes(grid, -4, -3).reshape(*b, height // side, width // side, side * side * channels)


def surroundings(frames: Float[Array, "b h w c"], side: int, reach: int) -> Float[Array, "b gh gw s s c"]:
    """Extracts each patch with `reach` pixels around it; pixels outside the frame are zero.

    Returns:
        `[b, h / side, w / side, side + 2·reach, side + 2·reach, c]`.
    """
    _, height, width, _ = frames.shape
    padded = jnp.pad(frames, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows = jnp.stack([padded[:, top : top + side + 2 * reach] for top in range(0, height, side)], axis=1)
    return jnp.stack([rows[:, :, :, left : left + side + 2 * reach] for left in range(0, width, side)], axis=2)


def mismatches(before: Float[Array, "*b h w c"], frame: Float[Array, "*b h w c"], side: int, reach: int) -> Maps:
    """Computes how much each patch of a frame differs from the previous frame at every shift.

    Both frames are first reduced to half the resolution and averaged over channels.

    Args:
        before: previous frames `[..., h, w, c]`, zero outside.
        frame: frames `[..., h, w, c]`.
        side: height and width of a patch in pixels, even.
        reach: largest shift in pixels, even.

    Returns:
        Sums of squared differences over each patch, minus their mean over the shifts, `[..., h / side, w / side,
        (reach + 1)²]`. The previous frame is shifted by -reach, -reach + 2, …, reach pixels down and, varying fastest,
        to the right.
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
    """Halves height and width by averaging over 2x2 pixels: `[..., h, w, c] → [..., h / 2, w / 2, c]`."""
    *b, height, width, channels = frames.shape
    return frames.reshape(*b, height // 2, 2, width // 2, 2, channels).mean(axis=(-4, -2))
