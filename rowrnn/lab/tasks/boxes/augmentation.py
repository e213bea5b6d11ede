"""Random changes of training pictures with boxes: mirrored, moved, larger or smaller, brighter or darker."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from rowrnn.errors import InputError
from rowrnn.lab.tasks.boxes.examples import Scenes

LEAST_SEEN = 0.4  # share of a box that must remain in the picture, else it is left out
FRACTIONS = ("zoom", "shift", "light", "contrast", "tint")


@dataclasses.dataclass(frozen=True)
class BoxAugmentation:
    """Largest random changes of a training picture and its boxes; each picture draws its own, uniformly.

    Args:
        mirror: whether half of the pictures are mirrored left to right.
        upside_down: whether half of the pictures are mirrored top to bottom.
        zoom: largest fraction by which a picture becomes larger or smaller at random.
        shift: largest random shift to all sides, as a fraction of the picture's sides.
        light: largest change of brightness, as a fraction of the range of values.
        contrast: largest fraction by which differences from the picture's mean grow or shrink at random.
        tint: largest change of each colour apart, as a fraction of the range of values.

    Raises:
        InputError: if a fraction is not in [0, 1).
    """

    mirror: bool = True
    upside_down: bool = False
    zoom: float = 0.25
    shift: float = 0.15
    light: float = 0.1
    contrast: float = 0.2
    tint: float = 0.05

    def __post_init__(self) -> None:
        for name in FRACTIONS:
            value = getattr(self, name)
            if not 0 <= value < 1 or not math.isfinite(value):
                raise InputError(f"The largest random {name} of a picture is from 0 to below 1, not {value}.")

    def __call__(
        self, scenes: Scenes, key: Key[Array, ""], outside: Float[Array, "c"], range_of: Float[Array, "c"]
    ) -> Scenes:
        """Changes each picture and its boxes.

        Args:
            scenes: pictures, floating point.
            key: source of randomness.
            outside: pixel beyond the picture.
            range_of: difference of white and black in each channel.

        Returns:
            Scenes of the same shapes, in which boxes that are mostly outside of the picture are no longer present, and
            others end at its edge.
        """
        images, boxes = jnp.asarray(scenes.images), jnp.asarray(scenes.boxes)
        b, height, width, _ = images.shape
        flipping, moving, lighting = jax.random.split(key, 3)
        sides = jnp.array([width, height], images.dtype)
        chances = jnp.array([0.5 if self.mirror else 0.0, 0.5 if self.upside_down else 0.0], jnp.float32)
        flips = jax.random.bernoulli(flipping, chances[None], (b, 2))
        images = jnp.where(flips[:, :1, None, None], images[:, :, ::-1], images)
        images = jnp.where(flips[:, 1:, None, None], images[:, ::-1], images)
        draws = jax.random.uniform(moving, (b, 3), images.dtype, -1, 1)
        scale = jnp.exp(math.log1p(self.zoom) * draws[:, :1])  # right and down alike
        # About the middle, and then to a side.
        shift = (1 - scale) * sides[None] / 2 + self.shift * draws[:, 1:] * sides[None]
        beyond = outside[None, None, None]
        images = beyond + jax.vmap(_moved)(images - beyond, scale[:, 0], shift)
        images = self._lit(images, lighting, range_of[None, None, None])

        low, high = boxes[..., :2], boxes[..., 2:]
        most = sides[None, None]
        low, high = (jnp.where(flips[:, None], most - edges[1], edges[0]) for edges in ((low, high), (high, low)))
        low, high = (scale[:, None] * edge + shift[:, None] for edge in (low, high))
        area = (high - low).prod(axis=-1)
        low, high = (jnp.clip(edge, 0.0, most) for edge in (low, high))
        seen = scenes.present & ((high - low).prod(axis=-1) > LEAST_SEEN * area)
        # Those that remain come first, in their order.
        order = jnp.argsort(~seen, axis=1, stable=True)
        boxes = jnp.take_along_axis(jnp.concatenate([low, high], axis=-1), order[..., None], axis=1)
        classes = jnp.take_along_axis(jnp.asarray(scenes.classes), order, axis=1)
        return Scenes(images, boxes, classes, seen.sum(axis=1, dtype=jnp.int32))

    def _lit(self, images: Float[Array, "b h w c"], key: Array, range_of: Array) -> Float[Array, "b h w c"]:
        """Changes brightness, contrast and colours."""
        b, _, _, channels = images.shape
        draws = jax.random.uniform(key, (b, 1, 1, 2 + channels), images.dtype, -1, 1)
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * (1 + self.contrast * draws[..., :1])
        lighter = self.light * draws[..., 1:2]
        return images + range_of * (lighter + self.tint * draws[..., 2:] if channels > 1 else lighter)


def _moved(image: Float[Array, "h w c"], scale: Float[Array, ""], shift: Float[Array, "2"]) -> Float[Array, "h w c"]:
    """Scales an image about its corner and moves it right and down; zeros come in from outside."""
    both = jnp.stack([scale, scale])
    how: dict[str, Any] = {"method": "linear", "antialias": False}
    return jax.image.scale_and_translate(image, image.shape, (0, 1), both, shift[::-1], **how)
