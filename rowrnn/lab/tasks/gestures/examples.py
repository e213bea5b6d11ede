"""Videos of one moving digit, labelled by the kind of its motion, its gesture.

Position and size of the digit depend on six components, each with a phase: motion on a circle, a horizontal wave, a
vertical wave, a horizontal sweep, a vertical sweep, and the size. A gesture advances the phases of one or two of them
with time; the others are constant. All phases are offset by uniformly random values, so that in every frame of every
gesture they are uniformly distributed: single frames have the same distribution for all gestures, and a single frame
cannot be classified better than by chance. Two gestures whose phases advance by opposite amounts are time reversals of
each other: they cannot be told apart without the order of the frames.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped

from rowrnn.lab.data.dataset import as_float

CANVAS = 32  # pixels, height and width of a frame
FRAMES = 12
SIZES = (6.0, 15.0)  # range of the longer side of the digit's image, in pixels
AMPLITUDES = (1.75, 2.75)  # range of the radius of the circle and the amplitudes of the waves, in pixels
SWEEP = 2.5  # largest distance of a sweep from the centre of the frame, in pixels
SPEEDS = (0.07, 0.11)  # range of the speed, in turns (of a phase) per frame

# Turns of each component's phase for one turn of the speed: circle, horizontal wave, vertical wave, horizontal sweep,
# vertical sweep, size. As y points down, a circle of increasing angle is clockwise.
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
"""For each gesture with a time reversal among the gestures: its label to the label of the reversal."""


class Videos(NamedTuple):
    """A batch of labelled videos.

    Args:
        frames: `[b, t, CANVAS, CANVAS, c]`, floating point in [0, 1], or uint8.
        labels: indices into `GESTURES`, `[b]`, int32.
    """

    frames: Shaped[Any, "b t h w c"]
    labels: Shaped[Any, "b"]


class Draws(NamedTuple):
    """The random parameters of videos, which are independent of the gesture.

    Args:
        phases: phase of each component in the middle of the video, in turns, uniform in [0, 1).
        amplitudes: radius of the circle, amplitudes of the horizontal and of the vertical wave, in pixels.
        speed: in turns per frame.
    """

    phases: Float[Array, "b 6"]
    amplitudes: Float[Array, "b 3"]
    speed: Float[Array, "b"]


class Path(NamedTuple):
    """Position and size of a digit in each frame.

    Args:
        y: row of its centre, in pixels; 0 is the centre of the first row.
        x: column of its centre, likewise.
        size: length of its longer side, in pixels.
    """

    y: Float[Array, "b t"]
    x: Float[Array, "b t"]
    size: Float[Array, "b t"]


def gestures(key: Key[Array, ""], images: ArrayLike, frames: int = FRAMES) -> Videos:
    """Generates a video of each image, with a gesture drawn uniformly from `GESTURES`.

    Args:
        key: source of randomness.
        images: digits `[b, h, w, c]`, uint8 or floating point in [0, 1].
        frames: number of frames of a video.

    Returns:
        Videos with floating-point frames.

    Raises:
        ValueError: if the images have another rank or an axis of length 0, or `frames` is below 1.
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
    """Draws the random parameters of `count` videos."""
    phase_key, amplitude_key, speed_key = jax.random.split(key, 3)
    return Draws(
        jax.random.uniform(phase_key, (count, 6)),
        jax.random.uniform(amplitude_key, (count, 3), minval=AMPLITUDES[0], maxval=AMPLITUDES[1]),
        jax.random.uniform(speed_key, (count,), minval=SPEEDS[0], maxval=SPEEDS[1]),
    )


def path(draws: Draws, labels: Int[Array, "b"], frames: int = FRAMES) -> Path:
    """Computes position and size of the digit in each frame.

    With the same parameters, the paths of a gesture and of its time reversal contain the same values in opposite order.

    Args:
        draws: random parameters of the videos.
        labels: gesture of each video.
        frames: number of frames.
    """
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
    """Renders the frames of videos, floating point in [0, 1].

    Each pixel of an image distributes its brightness over the four nearest pixels of the canvas with bilinear weights.
    These are separable, so that a frame is computed by two matrix products, over rows and over columns.

    Args:
        images: digits, floating point in [0, 1].
        path: position and size of each digit in each frame.
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

    # Each channel has its own products: with all channels in one, XLA transposes the intermediate result.
    return jnp.minimum(jnp.stack([frames(image) for image in jnp.unstack(images, axis=-1)], axis=-1), 1)
