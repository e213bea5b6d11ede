"""Own pictures with masks: decoded once, whole where all have one size, else cut into tiles."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.decoded_cache import Arrays, decoded_splits
from rowrnn.lab.data.labelled import shaped, some_pictures
from rowrnn.lab.data.listing import Item, Listing, Unreadable
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.shaping import Shaping, standardized
from rowrnn.lab.tasks.masks.tiles import places
from rowrnn.saving.preprocessing import Preprocessing


class Masked(NamedTuple):
    """Pictures with their masks.

    Args:
        images: uint8 `[n, h, w, c]`.
        masks: whether each pixel belongs to an object, `[n, h, w]`.
    """

    images: UInt8[Array, "n h w c"] | UInt8[np.ndarray, "n h w c"]
    masks: Bool[Array, "n h w"] | Bool[np.ndarray, "n h w"]


@dataclass(frozen=True)
class MaskSet:
    """Own pictures with masks.

    Args:
        name: the folder.
        train: training pictures, or tiles of them.
        validation: validation pictures or tiles.
        test: test pictures or tiles.
        source: where they are from and what was decided, in words.
        preprocessing: what was done to each picture.
    """

    name: str
    train: Masked
    validation: Masked
    test: Masked
    source: str
    preprocessing: Preprocessing

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data for the record of a run."""
        counts = {split: len(getattr(self, split).images) for split in ("train", "validation", "test")}
        shape = list(self.train.images.shape[1:])
        about = {"name": self.name, "source": self.source, "shape": shape, "preprocessing": self.preprocessing}
        return {**about, **counts}


def masks_of(listing: Listing, *, colour: Any = "auto", tile: int = 128) -> MaskSet:
    """Makes a set of own pictures with masks, in their own resolution.

    Args:
        listing: the pictures, each with the path of its mask.
        colour: whether pictures are read in grey or in colour, see `Shaping`.
        tile: height and width of the tiles that pictures are cut into, unless all have one size with sides up to twice
            that; smaller pictures are padded.

    Raises:
        InputError: if the listing has no masks, a mask has more than two values, or more than 1 % of the files cannot
            be read.
    """
    listing.check("masks")
    decided = Shaping((1, 1), colour=colour).decide(some_pictures(listing.splits["train"]))
    own_size = Preprocessing((None, None), channels=decided.channels, background=decided.background)
    found, unread = decoded_splits(listing.splits, partial(_read, own_size), f"masks {own_size!r}")
    shapes = np.concatenate([arrays.shapes[:, :2] for arrays in found.values()])
    alike = len(np.unique(shapes, axis=0)) == 1 and int(shapes.max()) <= 2 * tile
    splits: Mapping[str, Masked] = {split: _of_arrays(arrays, own_size, alike, tile) for split, arrays in found.items()}
    height, width = splits["train"].images.shape[1:3]
    how = "" if alike else f", {sum(len(s.images) for s in splits.values()):,} tiles of {tile}x{tile} of them"
    words = [f"{listing.source} Models see the pictures in their own resolution{how}."]
    share = float(splits["train"].masks.mean())
    words.append(f"{100 * share:.1f} % of the training pixels belong to objects.")
    if not 0 < share < 1:
        raise InputError(f"All training masks of {listing.name} are of one value: there is nothing to tell apart.")
    preprocessing = Preprocessing((height, width), channels=decided.channels, background=decided.background)
    return MaskSet(
        listing.name,
        **splits,
        source=" ".join([*words, *([unread] if unread else [])]),
        preprocessing=standardized(preprocessing, np.asarray(splits["train"].images)),
    )


def _read(preprocessing: Preprocessing, item: Item) -> UInt8[np.ndarray, "h w c"]:
    """Reads a picture and, as its last channel, its mask."""
    image, mask = shaped(preprocessing, item), mask_of(item)
    if image.shape[:2] != mask.shape:
        raise Unreadable(
            f"{item.name} is {image.shape[1]}x{image.shape[0]} and its mask {mask.shape[1]}x{mask.shape[0]}."
        )
    return np.concatenate([image, 255 * mask[..., None].astype(np.uint8)], axis=2)


def mask_of(item: Item) -> Bool[np.ndarray, "h w"]:
    """Reads the mask of a picture: of two values the higher one is an object; of one alone, whatever is not 0.

    Raises:
        InputError: if it has more than two values.
    """
    path = item.columns["mask"]
    grey = read_picture(Item(str(path), path)).max(axis=2)
    values = np.unique(grey)
    if len(values) > 2:
        raise InputError(
            f"The mask {path} has {len(values)} grey values, as {', '.join(map(str, values[1:4]))}; expected two, of "
            "an object and of none: set each pixel to 0 or 255."
        )
    return grey == values[-1] if len(values) == 2 else grey > 0


def _of_arrays(arrays: Arrays, preprocessing: Preprocessing, alike: bool, tile: int) -> Masked:
    whole = arrays.stacked() if alike else np.stack(list(_tiles(arrays, preprocessing, tile)))
    return Masked(whole[..., :-1], whole[..., -1] > 0)


def _tiles(arrays: Arrays, preprocessing: Preprocessing, tile: int) -> Iterator[UInt8[np.ndarray, "tile tile c"]]:
    """Yields tiles that cover each picture; smaller ones are padded with the background, outside of any object."""
    beyond = np.append(preprocessing.surroundings(), np.uint8(0))
    for array in arrays:
        height, width = (max(side, tile) for side in array.shape[:2])
        padded = np.broadcast_to(beyond, (height, width, len(beyond))).copy()
        padded[: array.shape[0], : array.shape[1]] = array
        for top in places(height, tile):
            for left in places(width, tile):
                yield padded[top : top + tile, left : left + tile]
