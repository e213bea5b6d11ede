"""Moving MNIST: videos of digits that move over a square canvas at constant speed and bounce off its walls.

The motion is that of the generator of Srivastava, Mansimov and Salakhutdinov (2015, "Unsupervised learning of video
representations using LSTMs"). The position of a digit is a point of the unit square. Its initial value and the
direction of the motion are drawn uniformly. In every frame, also before the first, it moves by a tenth of the square's
side; where it would leave the square, it is clipped to the wall, and that component of its velocity is reversed. The
upper left corner of the digit is this position, scaled to the range in which the digit is inside the canvas and
truncated to whole pixels. Where digits overlap, the maximum is taken.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from rowrnn.lab.data import Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.tasks.frames.examples import Frames
from rowrnn.lab.tasks.frames.measures import squared_error
from rowrnn.lab.tasks.frames.task import HELD, forecast, similarity, video_loss

ENERGY = 100.0  # unit of the loss: about the sum of the squared pixels of a digit
SIMILAR = 1_000  # videos of which SSIM is computed, which is slow
SIZE = 64  # side of the canvas, in pixels
SPEED = 0.1  # distance per frame, as a fraction of the range in which a digit can move

BASELINES: dict[str, Callable[[Array], Array]] = {
    HELD: lambda given: given[:, -1:],
    "mean of the frames given": lambda given: given.mean(axis=1, keepdims=True),
}
"""Baselines: functions of the given frames `[b, t, h, w, c]` to the frame `[b, 1, h, w, c]` predicted for all that
follow."""


def moving_digits(
    key: Key[Array, ""], images: Shaped[Array, "b h w c"], *, digits: int = 2, frames: int = 20, size: int = SIZE
) -> Shaped[Array, "b t size size c"]:
    """Generates one video for each image; video i shows digit i and others of the batch.

    The other digits are those that follow digit i in a random cyclic order of the batch.

    Args:
        key: source of randomness.
        images: digits `[b, h, w, c]`, uint8 or floating point.
        digits: number of digits in a video.
        frames: number of frames.
        size: side of the canvas, in pixels.

    Returns:
        Videos `[b, frames, size, size, c]` of the images' dtype and range.

    Raises:
        ValueError: if images have another rank or an axis of length 0, `digits` or `frames` is below 1, or a digit is
            larger than the canvas.
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
    """Draws the paths of digits: row and column of the upper left corner in every frame, `[count, frames, 2]`.

    Args:
        key: source of randomness.
        count: number of digits.
        frames: number of frames.
        room: largest row and largest column, in pixels.
    """
    place_key, angle_key = jax.random.split(key)
    place = jax.random.uniform(place_key, (count, 2))
    angle = jax.random.uniform(angle_key, (count,), maxval=2 * jnp.pi)
    velocity = SPEED * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return (bounced(place, velocity, frames) * jnp.array(room, jnp.float32)[None, None]).astype(jnp.int32)


def bounced(place: Float[Array, "n 2"], velocity: Float[Array, "n 2"], frames: int) -> Float[Array, "n t 2"]:
    """Computes positions in the unit square in every frame, `[n, frames, 2]`.

    Args:
        place: positions one step before the first frame.
        velocity: initial velocities, per frame; reversed at the walls.
        frames: number of frames.
    """

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        place, velocity = carry
        place = place + velocity
        velocity = jnp.where((place <= 0) | (place >= 1), -velocity, velocity)
        place = jnp.clip(place, 0, 1)
        return (place, velocity), place

    _, places = jax.lax.scan(step, (place, velocity), length=frames)
    return jnp.swapaxes(places, 0, 1)


def fixed_videos(seed: int, split: Split, count: int, *, digits: int, frames: int) -> Frames:
    """Generates a fixed set of videos, uint8.

    Args:
        seed: seed of the random key.
        split: images of digits; video i contains digit i, modulo their number.
        count: number of videos, at least 1.
        digits: number of digits in a video.
        frames: number of frames.

    Raises:
        InputError: if `digits` or `frames` is below 1, or the images are larger than the canvas.
    """

    def make(key: Array, split: Split, numbers: Array) -> Frames:
        return moving_digits(key, split.images[numbers % len(split)], digits=digits, frames=frames)

    return fixed_examples(make, jax.random.key(seed), split, count)


def training_videos(batch: Split, key: Array, *, digits: int, frames: int) -> Float[Array, "b t h w c"]:
    """Generates one video for each digit of a batch, floating point in [0, 1]."""
    return as_float(moving_digits(key, batch.images, digits=digits, frames=frames))


def loss(
    model: Any, batch: Split, key: Array, *, digits: int, given: int, ahead: int
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns `video_loss` of new videos.

    Args:
        model: a `Forecaster`.
        batch: images of digits, of which the videos are made.
        key: source of randomness of the videos.
        digits: number of digits in a video.
        given: number of given frames.
        ahead: number of frames to predict.
    """
    videos = training_videos(batch, key, digits=digits, frames=given + ahead)
    return video_loss(model, videos, given=given, ahead=ahead, unit=ENERGY)


def score_baselines(
    test: Frames, *, given: int, ahead: int
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Evaluates the baselines on test videos.

    Returns:
        `mse_per_frame` and `ssim` of each baseline by name, and arrays for figures: `BASELINE/error`, the mean squared
        error of each predicted frame, `[1, ahead]`.
    """
    scores, arrays = {}, {}
    for name, picture in BASELINES.items():

        def repeat(frames: Float[Array, "b t h w c"], ahead: int, picture: Callable[[Array], Array] = picture) -> Array:
            return jnp.repeat(picture(frames), ahead, axis=1)

        predicted = jax.jit(lambda videos, model=repeat: forecast(model, videos, given=given, ahead=ahead))(test)
        errors = squared_error(predicted, as_float(test[:, given:]))
        similar = similarity(predicted[:SIMILAR], test[:SIMILAR], given=given)
        scores[name] = {"mse_per_frame": float(errors.mean()), "ssim": similar}
        arrays[f"{name}/error"] = np.asarray(errors.mean(axis=0, keepdims=True))
    return scores, arrays
