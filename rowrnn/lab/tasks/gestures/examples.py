"""Gestures: videos of one digit that moves, each labelled by how.

Where a digit is and how large is the sum of six parts, each with a phase: a circle, a wave and a sweep across, a wave
and a sweep down, and the size. A gesture turns the phases of one or two parts and leaves the others where they are, at
random. So every phase is uniform in every frame of every gesture: a single frame shows all gestures alike, and nobody
can tell from it better than by chance. A gesture that turns backwards is the other's time reversal: frames without
their order show both alike.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped

from rowrnn.lab.data.dataset import as_float

CANVAS = 32  # pixels, height and width of a frame
FRAMES = 12
SIZES = (6.0, 15.0)  # pixels, the longer side of the digit's image
AMPLITUDES = (1.75, 2.75)  # pixels, of the circle and the waves
SWEEP = 2.5  # pixels to both sides of the middle
SPEEDS = (0.07, 0.11)  # turns per frame

# How often a part turns while the speed's own turn is made: circle, wave across, wave down, sweep across, sweep down,
# size. With y down a circle of growing angle is clockwise.
GESTURES = {
    "still": (0, 0, 0, 0, 0, 0),
    "wave": (0, 1, 0, 0, 0, 0),
    "nod": (0, 0, 1, 0, 0, 0),
    "shake": (0, 3, 0, 0, 0, 0),
    "clockwise": (1, 0, 0, 0, 0, 0),
    "counter-clockwise": (-1, 0, 0, 0, 0, 0),
    "zigzag right": (0, 0, 3, 1, 0, 0),
    "zigzag left": (0, 0, -3, -1, 0, 0),
    "approach": (0, 0, 0, 0, 0, 2),
    "retreat": (0, 0, 0, 0, 0, -2),
}
"""Gestures by name, in the order of their labels."""

REVERSED = {
    a: b
    for a, turns in enumerate(GESTURES.values())
    for b, back in enumerate(GESTURES.values())
    if a != b and turns == tuple(-turn for turn in back)
}
"""Of each gesture that is another one in reversed time, by label, the label of that."""


class Videos(NamedTuple):
    """Labelled videos.

    Args:
        frames: `[b, t, CANVAS, CANVAS, c]`, floating point in [0, 1], or uint8.
        labels: gestures `[b]`, int32.
    """

    frames: Shaped[Any, "b t h w c"]
    labels: Shaped[Any, "b"]


class Draws(NamedTuple):
    """What is random in a gesture, whichever it is.

    Args:
        phases: of each part in the middle of the video, in turns, uniform in [0, 1).
        amplitudes: of the circle and of the waves across and down, in pixels.
        speed: turns per frame.
    """

    phases: Float[Array, "b 6"]
    amplitudes: Float[Array, "b 3"]
    speed: Float[Array, "b"]


class Path(NamedTuple):
    """Where a digit is in each frame, and how large.

    Args:
        y: row of its centre, in pixels from the centre of the first row.
        x: column of its centre.
        size: length of its longer side, in pixels.
    """

    y: Float[Array, "b t"]
    x: Float[Array, "b t"]
    size: Float[Array, "b t"]


def gestures(key: Key[Array, ""], images: ArrayLike, frames: int = FRAMES) -> Videos:
    """A video of each image, in one of the gestures, all equally probable; floating point.

    Args:
        key: randomness; the same key makes the same videos.
        images: digits `[b, h, w, c]`, uint8 or floating point in [0, 1].
        frames: length of the videos.

    Raises:
        ValueError: if the images have another rank, or there is no image or frame.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"Gestures are made of images [b, h, w, c], none of them 0, not {list(images.shape)}.")
    if frames < 1:
        raise ValueError(f"A gesture takes at least 1 frame, not {frames}.")
    label_key, draw_key = jax.random.split(key)
    labels = jax.random.randint(label_key, (len(images),), 0, len(GESTURES), jnp.int32)
    way = path(drawn(draw_key, len(images)), labels, frames)
    return Videos(rendered(as_float(images), way), labels)


def drawn(key: Key[Array, ""], count: int) -> Draws:
    """What is random in so many gestures."""
    phase_key, amplitude_key, speed_key = jax.random.split(key, 3)
    return Draws(
        jax.random.uniform(phase_key, (count, 6)),
        jax.random.uniform(amplitude_key, (count, 3), minval=AMPLITUDES[0], maxval=AMPLITUDES[1]),
        jax.random.uniform(speed_key, (count,), minval=SPEEDS[0], maxval=SPEEDS[1]),
    )


def path(draws: Draws, labels: Int[Array, "b"], frames: int = FRAMES) -> Path:
    """The way of the digit in each gesture: with the same draws, that of a reversed one is exactly the reversed way."""
    turns = jnp.asarray(np.array(list(GESTURES.values()), np.float32))[labels]
    time = jnp.arange(frames, dtype=jnp.float32) - (frames - 1) / 2
    turned = draws.phases[:, None] + (draws.speed[:, None] * turns)[:, None] * time[None, :, None]
    angle, fraction = 2 * jnp.pi * turned[..., :3], turned[..., 3:] - jnp.floor(turned[..., 3:])
    radius, across, down = (draws.amplitudes[:, None, part] for part in range(3))
    sweep = SWEEP * (2 * fraction - 1)
    middle = (CANVAS - 1) / 2
    return Path(
        y=middle + radius * jnp.sin(angle[..., 0]) + down * jnp.sin(angle[..., 2]) + sweep[..., 1],
        x=middle + radius * jnp.cos(angle[..., 0]) + across * jnp.sin(angle[..., 1]) + sweep[..., 0],
        size=SIZES[0] + (SIZES[1] - SIZES[0]) * fraction[..., 2],
    )


def rendered(images: Float[Array, "b h w c"], path: Path) -> Float[Array, "b t canvas canvas c"]:
    """Frames of images on their way: each pixel spreads its light over the nearest four of the canvas, bilinearly.

    Rows and columns are separable: a frame is two matrix products, rows of the canvas from rows of the image, then its
    columns.
    """
    _, height, width, _ = images.shape
    scale = path.size / max(height, width)

    def spread(place: Float[Array, "b t"], length: int) -> Float[Array, "b t canvas length"]:
        own = jnp.arange(length, dtype=jnp.float32) - (length - 1) / 2
        at = place[..., None] + scale[..., None] * own[None, None]
        distance = jnp.abs(jnp.arange(CANVAS, dtype=jnp.float32)[None, None, :, None] - at[:, :, None])
        return scale[..., None, None] * jnp.maximum(1 - distance, 0)

    rows, columns = spread(path.y, height), spread(path.x, width)

    def frames(image: Float[Array, "b h w"]) -> Float[Array, "b t canvas canvas"]:
        down = jnp.einsum("btyh,bhw->btyw", rows, image)
        return jnp.einsum("btyw,btxw->btyx", down, columns)

    # One channel after the other: of all in one product XLA transposes what is between the two.
    return jnp.minimum(jnp.stack([frames(image) for image in jnp.unstack(images, axis=-1)], axis=-1), 1)
