"""What is asked of a trained model of images: which training images its own resemble, and what its predictions see."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Integer, UInt8

from rowrnn.generation.pixel_model import PixelModel

BLOCK = 4_000  # known images that are compared at a time: all of them as floats would take gigabytes


def nearest(images: UInt8[np.ndarray, "n h w c"], known: UInt8[np.ndarray, "m h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Returns the known image nearest to each of some images."""
    wanted = images.reshape(len(images), -1).astype(np.float32)
    best, chosen = np.full(len(images), np.inf), np.zeros(len(images), int)
    for start in range(0, len(known), BLOCK):
        some = known[start : start + BLOCK].reshape(-1, wanted.shape[1]).astype(np.float32)
        away = np.einsum("nk,nk->n", some, some)[None] - 2 * wanted @ some.T
        closer = away.min(axis=1) < best
        chosen[closer] = start + away.argmin(axis=1)[closer]
        best = np.minimum(best, away.min(axis=1))
    return known[chosen]


def context(model: PixelModel, image: Integer[np.ndarray, "1 h w c"]) -> Float[np.ndarray, "h w"]:
    """Returns the size of the derivative of the prediction of the middle pixel by each value."""
    _, height, width, _ = image.shape

    def middle(x: Any) -> Any:
        return model.predictions(x)[0, height // 2, width // 2].sum()

    slopes = jax.jit(jax.grad(middle))(model.scaled(model.checked(image)))
    return np.abs(np.asarray(slopes))[0].sum(axis=-1)
