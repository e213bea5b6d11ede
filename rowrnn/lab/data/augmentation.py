"""Random affine augmentation of training images."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, ArrayLike, Float, Key

from rowrnn.errors import InputError
from rowrnn.typing import Images


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Largest random changes of a training image; each image draws its own, uniformly and in both directions.

    Args:
        shift: largest random shift, down and right, in pixels.
        rotation: largest random rotation about the centre, in degrees.
        zoom: largest fraction by which an image grows or shrinks at random.
        shear: largest random slant, in columns per row.

    Raises:
        InputError: if a number is negative or the zoom reaches 1.
    """

    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < math.inf:
                raise InputError(f"The largest random {name} of an image is finite and at least 0, not {value}.")
        if not self.zoom < 1:
            raise InputError(f"The largest random zoom of an image is below 1, not {self.zoom}.")

    def __call__(self, images: Images, key: Key[Array, ""], outside: ArrayLike = 0.0) -> Images:
        """Applies a random affine transform to each image `[b, h, w, c]`.

        Pixels are interpolated linearly. With all sizes zero the images are returned unchanged.

        Args:
            images: the images.
            key: source of randomness.
            outside: value of the pixels from outside an image, one for all channels or one for each.
        """
        if self == Augmentation():
            return images
        _, height, width, channels = images.shape
        beyond = jnp.broadcast_to(jnp.asarray(outside, images.dtype), (1, 1, channels))
        row, column = jnp.meshgrid(
            *(jnp.arange(n, dtype=images.dtype) - (n - 1) / 2 for n in (height, width)), indexing="ij"
        )

        def change(image: Float[Array, "h w c"], draw: Float[Array, "5"]) -> Float[Array, "h w c"]:
            angle = draw[0] * math.radians(self.rotation)
            scale = 1 + self.zoom * draw[1]
            cosine, sine = jnp.cos(angle) / scale, jnp.sin(angle) / scale
            from_row = cosine * row + sine * column - self.shift * draw[3]
            from_column = cosine * column - sine * row - self.shear * draw[2] * row - self.shift * draw[4]
            where = [from_row + (height - 1) / 2, from_column + (width - 1) / 2]
            # Pixels from outside are zero here, and get their value afterwards.
            inside = image - beyond
            return jax.vmap(lambda channel: map_coordinates(channel, where, order=1), -1, -1)(inside) + beyond

        draws = jax.random.uniform(key, (len(images), 5), images.dtype, -1, 1)
        return jax.vmap(change)(images, draws)
