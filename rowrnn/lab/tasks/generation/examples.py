"""Images as models of pixels learn them: binary by a draw, once or anew in every step, or in 256 levels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, Key, UInt8

from rowrnn.errors import InputError
from rowrnn.generation.value_distribution import BINARY
from rowrnn.lab.data.dataset import Dataset, Split

BINARIZATIONS = {
    "static": "each pixel drawn once, with its grey value as the probability of a 1; binary images as they are",
    "dynamic": "training pixels drawn anew in every step, others once",
    "none": "256 levels as they are",
}
SEEDS = {"train": 0, "validation": 1, "test": 2}
LEVELS = 256


def check_bytes(data: Dataset) -> None:
    """Checks that the images of a data set are bytes in memory.

    Raises:
        InputError: if they are not.
    """
    if not isinstance(data.train, Split) or data.train.images.dtype != np.uint8:
        raise InputError(f"The images of {data.name} are not bytes in memory: expected uint8 arrays or pictures.")


def check_binarization(binarization: str) -> None:
    """Checks the way in which images are binarized.

    Raises:
        InputError: for a threshold, with the reason, and for what is unknown.
    """
    if binarization == "threshold":
        raise InputError(
            "Images are not binarized by a threshold: the smooth shapes that remain are far more probable than drawn "
            "ones, so that their likelihoods compare with none that is published. Take static or dynamic."
        )
    if binarization not in BINARIZATIONS:
        raise InputError(f"Images are binarized in one of the ways {', '.join(BINARIZATIONS)}, not {binarization!r}.")


def levels_of(binarization: str) -> int:
    """Returns the number of levels of images that are binarized in a way.

    Raises:
        InputError: as `check_binarization`.
    """
    check_binarization(binarization)
    return LEVELS if binarization == "none" else BINARY


def prepared(images: UInt8[np.ndarray, "n h w c"], split: str, binarization: str) -> UInt8[np.ndarray, "n h w c"]:
    """Returns the images of a split as they are learnt from or scored; training images of "dynamic" stay grey.

    Args:
        images: grey values or colours; or zeros and ones.
        split: "train", "validation" or "test", each with a seed of its own.
        binarization: of `BINARIZATIONS`.

    Raises:
        InputError: if the way is unknown, images are blank, or those of zeros and ones are not to stay so.
    """
    check_binarization(binarization)
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


def in_bytes(images: Integer[np.ndarray, "*n"], levels: int) -> UInt8[np.ndarray, "*n"]:
    """Returns images of 2 or 256 levels as grey values or colours, 0 to 255."""
    return (images * (255 // (levels - 1))).astype(np.uint8)
