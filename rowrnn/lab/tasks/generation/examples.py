"""Images as models of pixels learn them: binary by a draw, once or anew in every step, or in 256 levels."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from rowrnn.errors import InputError
from rowrnn.generation.value_distribution import BINARY

Binarization = Literal["static", "dynamic", "none"]
WAYS = {
    "static": "each pixel drawn once, with its grey value as the probability of a 1; binary images as they are",
    "dynamic": "training pixels drawn anew in every step, others once",
    "none": "256 levels as they are",
}
SEEDS = {"train": 0, "validation": 1, "test": 2}
LEVELS = 256


def levels_of(binarization: str) -> int:
    """Returns the number of levels of images that are binarized in a way.

    Raises:
        InputError: for a threshold, with the reason, and for what is unknown.
    """
    if binarization == "threshold":
        raise InputError(
            "Images are not binarized by a threshold: the smooth shapes that remain are far more probable than drawn "
            "ones, so that their likelihoods compare with none that is published. Take static or dynamic."
        )
    if binarization not in WAYS:
        raise InputError(f"Images are binarized in one of the ways {', '.join(WAYS)}, not {binarization!r}.")
    return LEVELS if binarization == "none" else BINARY


def prepared(images: UInt8[np.ndarray, "n h w c"], split: str, binarization: str) -> UInt8[np.ndarray, "n h w c"]:
    """Returns the images of a split as they are learnt from or scored; training images of "dynamic" stay grey.

    Args:
        images: grey values or colours; or zeros and ones.
        split: "train", "validation" or "test", each with a seed of its own.
        binarization: of `WAYS`.

    Raises:
        InputError: if the way is unknown, images are blank, or those of zeros and ones are not to stay so.
    """
    levels_of(binarization)
    highest = images.max(initial=0)
    if highest == 0 or (highest == 1 and binarization != "static"):
        found = "are all black" if highest == 0 else "have no value above 1: they are binary already"
        raise InputError(
            f"The {split} images {found}. Expected grey values from 0 to 255; images of zeros and ones are taken as "
            "they are by --binarization static."
        )
    if highest == 1 or binarization == "none" or (binarization == "dynamic" and split == "train"):
        return images
    rng = np.random.default_rng(SEEDS[split])
    # In pieces, since uniform numbers take eight times the memory of bytes.
    return np.concatenate(
        [(rng.random(part.shape) * 255 < part).astype(np.uint8) for part in np.array_split(images, 64)]
    )


def drawn_anew(images: UInt8[Array, "b h w c"], key: Key[Array, ""]) -> Int[Array, "b h w c"]:
    """Draws binary images from grey ones, each pixel 1 with its grey value as the probability."""
    chance: Float[Array, "b h w c"] = images.astype(jnp.float32) / 255
    return jax.random.bernoulli(key, chance).astype(jnp.int32)
