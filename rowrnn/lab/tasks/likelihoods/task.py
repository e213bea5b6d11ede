"""Learning one model of images for each class: an example is one image of every class."""

import io
from math import prod

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.generation.class_models import ClassModels
from rowrnn.lab.tasks.classification.measures import area_under_curve


def one_of_each(
    images: UInt8[np.ndarray, "n h w c"], labels: Int[np.ndarray, "n"], classes: int
) -> UInt8[np.ndarray, "m classes h w c"]:
    """Returns images in rows of one of each class, as many rows as the rarest class has images.

    Raises:
        InputError: if a class has no image.
    """
    of_class = [images[labels == number] for number in range(classes)]
    fewest = min(map(len, of_class))
    if not fewest:
        missing = next(number for number, found in enumerate(of_class) if not len(found))
        raise InputError(f"Class {missing} has no training image; expected some of each of {classes} classes.")
    return np.stack([found[:fewest] for found in of_class], axis=1)


def loss(
    model: ClassModels, images: UInt8[Array, "b classes h w c"], key: Key[Array, ""]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean negative log-likelihood of a value, in nats."""
    del key
    return -model.of_each(images).mean() / float(prod(images.shape[2:])), {}


def log_likelihood(model: ClassModels, images: UInt8[Array, "b classes h w c"]) -> Float[Array, "b"]:
    """Returns the mean log-likelihood over classes of images in their own class, in nats."""
    return model.of_each(images).mean(axis=1)


def in_each(model: ClassModels, images: UInt8[Array, "b h w c"]) -> Float[Array, "b classes"]:
    """Returns the log-likelihood of images in every class, in nats."""
    return model(images)


def of_all(log_likelihoods: Float[np.ndarray, "*n classes"]) -> Float[np.ndarray, "*n"]:
    """Returns the log-likelihood of images whose class is not known, each being as probable."""
    return np.asarray(jax.nn.logsumexp(log_likelihoods, axis=-1)) - np.log(log_likelihoods.shape[-1])


def compressed_bits(images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n"]:
    """Returns the size of each image as a PNG file, in bits: how complex it is, whatever a model has learnt.

    Images are grey or of three colours.
    """

    def size(image: np.ndarray) -> int:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "png", optimize=True)
        return 8 * file.tell()

    return np.array([size(image) for image in images])


def strangeness(
    strange: Int[np.ndarray, "n"], bits: Float[np.ndarray, "n"], sizes: Int[np.ndarray, "n"]
) -> tuple[float, float]:
    """Returns how well images of another kind are told from own ones, as areas under curves.

    Args:
        strange: 1 for images of another kind, 0 for own ones.
        bits: that a model takes for each image.
        sizes: bits of its PNG file.

    Returns:
        By the bits that the model takes, and by those that it takes beyond the file.
    """
    return area_under_curve(strange, bits), area_under_curve(strange, bits - sizes)
