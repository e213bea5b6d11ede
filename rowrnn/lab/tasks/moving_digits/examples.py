"""Moving MNIST: digits that fly over a square canvas at constant speed and bounce off its walls.

The protocol of Srivastava, Mansimov and Salakhutdinov (2015, "Unsupervised learning of video representations using
LSTMs"), as their generator has it: the place of a digit is a point of the unit square, first drawn uniformly; its
direction is uniform; in every frame, the first too, it goes a tenth of the square's side, and where it would leave the
square it stops at the wall and turns that half of its velocity. Scaled to the rows and columns that the canvas leaves
and cut to whole pixels, that is the digit's upper left corner. Where digits overlap, the brighter pixel is seen.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

SIZE = 64  # pixels, of a side of the canvas
SPEED = 0.1  # of the way that a digit has from wall to wall, per frame


def moving_digits(
    key: Key[Array, ""], images: Shaped[Array, "b h w c"], *, digits: int = 2, frames: int = 20, size: int = SIZE
) -> Shaped[Array, "b t size size c"]:
    """A video for every image: that digit and those that follow it in the batch, in random order and round again.

    Args:
        key: what is random of them.
        images: digits `[b, h, w, c]`, uint8 or floating point.
        digits: number of digits in a video.
        frames: number of frames.
        size: pixels of a side of the canvas.

    Returns:
        Videos `[b, frames, size, size, c]` of the images' dtype and range.

    Raises:
        ValueError: if images have another rank, there is no digit or no frame, or a digit is larger than the canvas.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"Videos are made of images [b, h, w, c], none of them 0, not {list(images.shape)}.")
    b, height, width, channels = images.shape
    if min(digits, frames) < 1:
        raise ValueError(f"A video needs at least one digit and one frame, not {digits} digits and {frames} frames.")
    if max(height, width) > size:
        raise ValueError(f"Images of {height}x{width} do not fit a canvas of {size}x{size}: take a larger canvas.")
    path_key, order_key = jax.random.split(key)
    corners = paths(path_key, b * digits, frames, (size - height, size - width)).reshape(digits, b, frames, 2)
    blank = jnp.zeros((size, size, channels), images.dtype)

    def placed(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_update_slice(blank, image, (corner[0], corner[1], jnp.zeros_like(corner[0])))

    in_every_frame = jax.vmap(jax.vmap(placed, (None, 0)))
    videos = in_every_frame(images, corners[0])
    order = jax.random.permutation(order_key, b)
    place = jnp.argsort(order)
    for number, others in enumerate(corners[1:], 1):
        videos = jnp.maximum(videos, in_every_frame(images[order[(place + number) % b]], others))
    return videos


def paths(key: Key[Array, ""], count: int, frames: int, room: tuple[int, int]) -> Int[Array, "n t 2"]:
    """Row and column of the upper left corner of so many digits in every frame, `[count, frames, 2]`.

    Args:
        key: what is random of them.
        count: number of digits.
        frames: number of frames.
        room: largest row and column.
    """
    place_key, angle_key = jax.random.split(key)
    place = jax.random.uniform(place_key, (count, 2))
    angle = jax.random.uniform(angle_key, (count,), maxval=2 * jnp.pi)
    velocity = SPEED * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return (bounced(place, velocity, frames) * jnp.array(room, jnp.float32)[None, None]).astype(jnp.int32)


def bounced(place: Float[Array, "n 2"], velocity: Float[Array, "n 2"], frames: int) -> Float[Array, "n t 2"]:
    """Places in the unit square in every frame, `[n, frames, 2]`, the first of them a step after `place`."""

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        place, velocity = carry
        place = place + velocity
        velocity = jnp.where((place <= 0) | (place >= 1), -velocity, velocity)
        place = jnp.clip(place, 0, 1)
        return (place, velocity), place

    _, places = jax.lax.scan(step, (place, velocity), length=frames)
    return jnp.swapaxes(places, 0, 1)
