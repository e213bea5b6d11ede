"""How pictures of any size and colour are made alike: what was asked for, and what the pictures themselves decide."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from rowrnn.errors import InputError
from rowrnn.saving.preprocessing import Preprocessing

KEPT_SIDE = 96  # pixels; pictures of one size with longer sides are made smaller
LONGER_SIDE = 64  # pixels that the longer side gets then
LARGE_SIDE = 320  # pixels, likewise of pictures in which things are looked for
LOOKED_AT = 200  # pictures whose sizes and colours decide
MULTIPLE = 4  # of pixels, so that two layers of patches fit

Fit = Literal["pad", "stretch", "crop"]
Picture = UInt8[np.ndarray, "_ _ _"]  # of any size each


@dataclass(frozen=True)
class Shaping:
    """How pictures are to be made alike.

    Args:
        size: height and width in pixels; where not given, the pictures decide. A width of 0 is left free.
        fit: how a picture of another shape is brought to that size.
        colour: whether pictures are grey or in colour; with "auto", grey where all that are looked at are.
        like_mnist: whether the digit of a picture is found and centred as MNIST's are, in 28x28 grey pixels.
        levels: values that become black and white.

    Raises:
        InputError: if the levels are not two grey values, the first lower.
    """

    size: tuple[int, int] | None = None
    fit: Fit = "pad"
    colour: Literal["auto", "grey", "colour"] = "auto"
    like_mnist: bool = False
    levels: tuple[int, int] = (0, 255)

    def __post_init__(self) -> None:
        black, white = self.levels
        if not 0 <= black < white <= 255:
            raise InputError(f"--levels are {black} {white}; expected two values from 0 to 255, the first lower.")

    def decide(self, pictures: Iterable[Picture], multiple: int | None = None) -> Preprocessing:
        """Returns the preprocessing of a data set, of which these are some pictures `[h, w, c]`, looked at one by one.

        Pictures of one size, of which no side is above 96 pixels, keep it; others get the median of their aspects, with
        a longer side of 64 pixels. With a `multiple` they are large: see `usual_size`. Padding has the median value of
        the pictures' borders.
        """
        if self.like_mnist:
            return Preprocessing((28, 28), channels=1, like_mnist=True)
        shapes, edges = [], []
        for picture in pictures:  # Photographs are large: no two are kept.
            shapes.append(picture.shape)
            edges.append(_edges(picture))
        all_grey = all(channels == 1 for _, _, channels in shapes)
        grey = self.colour == "grey" or (self.colour == "auto" and all_grey)
        of_pictures = [(height, width) for height, width, _ in shapes]
        usual = size_of(of_pictures) if multiple is None else usual_size(of_pictures, multiple)
        black, white = self.levels
        border = (np.median(np.concatenate(edges)) - black) * 255 / (white - black)
        return Preprocessing(
            (self.size[0], self.size[1] or None) if self.size else usual,
            fit=self.fit,
            channels=1 if grey else 3,
            background=int(np.clip(border, 0, 255)),
            levels=self.levels,
        )


def in_words(preprocessing: Preprocessing) -> str:
    """Returns a sentence about the size and colour that pictures are brought to."""
    height, width = preprocessing.size
    size = f"{height}x{width} pixels" if width is not None else f"{height} rows of pixels"
    digits = ", each with the digit that was found in it" if preprocessing.like_mnist else ""
    inverted = ", light and dark exchanged" if preprocessing.invert else ""
    black, white = preprocessing.levels
    levels = f", from {black} as black to {white} as white" if (black, white) != (0, 255) else ""
    return f"Models see {size}, {'grey' if preprocessing.channels == 1 else 'in colour'}{levels}{inverted}{digits}."


def size_of(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Returns the height and width that pictures of some heights and widths are brought to where none is asked for."""
    height, width = sizes[0]
    if len(set(sizes)) == 1 and max(height, width) <= KEPT_SIDE:
        return height, width
    aspect = float(np.median([width / height for height, width in sizes]))
    longer = min(LONGER_SIDE, int(np.median([max(size) for size in sizes])))
    shorter = longer * min(aspect, 1 / aspect)
    sides = tuple(max(MULTIPLE, MULTIPLE * round(side / MULTIPLE)) for side in (shorter, longer))
    return (sides[0], sides[1]) if aspect >= 1 else (sides[1], sides[0])


def usual_size(sizes: Sequence[tuple[int, int]], multiple: int) -> tuple[int, int]:
    """Returns the size of pictures in which things are looked for: the median of theirs in multiples of a number of
    pixels, the longer side at most 320.
    """
    sides = np.median(np.array(sizes), axis=0)
    sides = sides * min(1.0, LARGE_SIDE / sides.max())
    height, width = (max(multiple, multiple * round(float(side) / multiple)) for side in sides)
    return height, width


def standardized(preprocessing: Preprocessing, images: UInt8[np.ndarray, "n h w c"]) -> Preprocessing:
    """Returns the preprocessing with mean and standard deviation, by channel, of images that it made."""
    # A histogram is enough for whole grey values, and needs no floating-point copy of the images.
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])])
    values, share = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt(share @ values**2 - mean**2)
    # Images of one grey value have no deviation to divide by.
    return dataclasses.replace(preprocessing, mean=tuple(mean.tolist()), std=tuple(np.maximum(std, 1e-3).tolist()))


def border_of(pictures: Iterable[Picture]) -> int:
    """Returns the median grey value of the borders of pictures."""
    return int(np.median(np.concatenate([_edges(picture) for picture in pictures])))


def _edges(picture: Picture) -> Float[np.ndarray, "n"]:
    """Returns the grey values of the pixels at the border of a picture."""
    return np.concatenate([edge.mean(axis=1) for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1])])
