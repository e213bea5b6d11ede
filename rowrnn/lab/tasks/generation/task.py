"""Learning to write images: the negative log-likelihood as a loss, and the log-likelihood as a score."""

from jaxtyping import Array, Float, Key

from rowrnn.generation.pixel_model import PixelModel
from rowrnn.lab.tasks.generation.examples import drawn_anew


def loss(
    model: PixelModel, images: Array, key: Key[Array, ""], *, binarization: str
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean negative log-likelihood of a value, in nats, with the metric `nats`, of an image.

    Args:
        model: the model.
        images: training images `[b, h, w, c]`, levels; grey values where they are drawn anew.
        key: source of the draws.
        binarization: of `rowrnn.lab.tasks.generation.examples.BINARIZATIONS`.
    """
    values = drawn_anew(images, key) if binarization == "dynamic" else images
    of_values = -model.log_likelihoods(values)
    return of_values.mean(), {"nats": of_values.sum(axis=(1, 2, 3)).mean()}


def log_likelihood(model: PixelModel, images: Array) -> Float[Array, "b"]:
    """Returns the log-likelihood of each image, in nats."""
    return model(images)


def surprise(model: PixelModel, images: Array) -> Float[Array, "b h w c"]:
    """Returns the negative log-likelihood of each value, in nats."""
    return -model.log_likelihoods(images)
