"""One model of images for each class, by which images are classified: in which class are they most probable?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Integer

from rowrnn.generation.pixel_model import PixelModel


class ClassModels(nnx.Module):
    """Models of images, alike but for their weights, one for each class.

    Args:
        build: function of random streams to a model.
        classes: number of classes.
        rngs: random streams.

    Raises:
        ValueError: if there are no classes.
    """

    def __init__(self, build: Callable[[nnx.Rngs], PixelModel], classes: int, *, rngs: nnx.Rngs) -> None:
        if classes < 1:
            raise ValueError(f"There is at least one class, not {classes}.")
        self.classes = classes
        self.each: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[build(rngs) for _ in range(classes)])

    def __call__(self, images: ArrayLike) -> Float[Array, "b classes"]:
        """Returns the log-likelihood of images `[b, h, w, c]` in each class, in nats.

        Raises:
            ValueError: as of the models.
        """
        return jax.vmap(lambda model: model(images), out_axes=1)(self.each)

    def of_each(self, images: Integer[Array, "b classes h w c"]) -> Float[Array, "b classes"]:
        """Returns the log-likelihood in each class of an image of its own, in nats."""
        return jax.vmap(lambda model, own: model(own), in_axes=(0, 1), out_axes=1)(self.each, images)

    def model(self, number: int) -> PixelModel:
        """Returns the model of a class."""
        return jax.tree.map(lambda leaf: leaf[number], self.each)
