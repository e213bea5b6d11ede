"""Models of images pixel by pixel: what they have in common, and the likelihood of an image."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Int

from rowrnn.generation.value_distribution import distribution_of, scaled

Values = Int[Array, "b h w c"]
Predictions = Float[Array, "b h w c outputs"]


class PixelModel(nnx.Module):
    """Model of images pixel by pixel: each value is predicted from those before it.

    The probability of an image is the product of the probabilities of its values, in an order: rows from the top, in a
    row from the left, in a pixel colour by colour, unless a subclass says another one.

    Args:
        colours: number of values of a pixel, 1 or 3.
        levels: number of different values, from 0; 2 for binary images.
        mixture: number of logistic distributions that predict a value; 0 for the logits of all levels.

    Raises:
        ValueError: if there are no colours, fewer than two levels, or a mixture is to predict binary values.
    """

    def __init__(self, colours: int, levels: int, mixture: int = 0) -> None:
        if colours < 1:
            raise ValueError(f"A pixel has at least one colour, not {colours}.")
        self.colours = colours
        self.distribution = distribution_of(levels, mixture)

    @property
    def levels(self) -> int:
        """Number of different values."""
        return self.distribution.levels

    @abstractmethod
    def predictions(self, x: Float[Array, "b h w c"]) -> Predictions:
        """Computes the parameters of every value's distribution from the values before it, scaled to [-1, 1]."""

    def rank(self, height: int, width: int) -> Int[np.ndarray, "h w c"]:
        """Returns the place of each value in the order in which they are predicted."""
        return np.arange(height * width * self.colours).reshape(height, width, self.colours)

    def __call__(self, images: ArrayLike) -> Float[Array, "b"]:
        """Returns the log-likelihood of images `[b, h, w, c]` of levels, in nats.

        Raises:
            ValueError: if images have other colours, no pixel, or are not integers; or values known outside `jax.jit`
                are no levels.
        """
        return self.log_likelihoods(images).sum(axis=(1, 2, 3))

    def log_likelihoods(self, images: ArrayLike) -> Float[Array, "b h w c"]:
        """Returns the log-probability of every value given those before it, in nats.

        Raises:
            ValueError: as a call.
        """
        values = self.checked(images)
        found = self.distribution.log_probabilities(self.predictions(self.scaled(values)), values)
        # NaN for what is no level, which a compiled program cannot refuse.
        return jnp.where((values >= 0) & (values < self.levels), found, jnp.nan)

    def scaled(self, images: Int[Array, "*n"]) -> Float[Array, "*n"]:
        """Returns levels as numbers from -1 to 1, in the dtype of the parameters."""
        return scaled(images, self.levels, jnp.result_type(*jax.tree.leaves(self)))

    def checked(self, images: ArrayLike) -> Values:
        """Checks images.

        Raises:
            ValueError: as a call.
        """
        images = jnp.asarray(images)
        whole = images.ndim == 4 and images.shape[3] == self.colours and 0 not in images.shape[1:3]
        if not whole or not jnp.issubdtype(images.dtype, jnp.integer):
            raise ValueError(
                f"This model takes images [b, h, w, {self.colours}] of whole numbers from 0 to {self.levels - 1}, not "
                f"{images.dtype} of shape {list(images.shape)}."
            )
        known = not isinstance(images, jax.core.Tracer) and images.size > 0
        if known and not 0 <= int(images.min()) <= int(images.max()) < self.levels:
            raise ValueError(
                f"Values are whole numbers from 0 to {self.levels - 1}; these run from {images.min()} to "
                f"{images.max()}. Draw binary images from grey ones at random, or make a model of 256 levels."
            )
        return images.astype(jnp.int32)


def check_sizes(model: str, width: int, blocks: int, colours: int) -> None:
    """Checks the sizes of a model.

    Raises:
        ValueError: if one is not positive, or each colour cannot have as many features.
    """
    if min(width, blocks) < 1 or width % colours:
        raise ValueError(
            f"A {model} has at least one block, and a width that is a multiple of its {colours} colours, not {blocks} "
            f"and {width}."
        )
