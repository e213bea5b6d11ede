"""Own pictures with boxes: decoded once, all of one size, their boxes moved along."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from rowrnn.errors import InputError
from rowrnn.lab.data.decoded_cache import Arrays, decoded_splits
from rowrnn.lab.data.labelled import some_pictures
from rowrnn.lab.data.listing import Item, Listing, evenly
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.shaping import Shaping, in_words, standardized
from rowrnn.lab.data.sources.files import natural
from rowrnn.lab.tasks.boxes.augmentation import LEAST_SEEN
from rowrnn.lab.tasks.boxes.examples import Scenes
from rowrnn.models.feature_map import MULTIPLE
from rowrnn.saving.preprocessing import Preprocessing

OUTSIDE = 1  # pixel by which boxes may reach beyond their picture: tools round differently
MEASURED = 1_000  # training pictures whose mean and deviation are measured
TELLING = 4  # bytes of a picture's own height and width, before its pixels


@dataclass(frozen=True)
class BoxSet:
    """Own pictures with boxes.

    Args:
        name: the folder, or of what the pictures are made.
        train: training pictures.
        validation: validation pictures.
        test: test pictures.
        classes: names of the classes of objects, in the order of their numbers.
        source: where they are from and what was decided, in words.
        preprocessing: what was done to each picture.
    """

    name: str
    train: Scenes
    validation: Scenes
    test: Scenes
    classes: tuple[str, ...]
    source: str
    preprocessing: Preprocessing

    @property
    def most(self) -> int:
        """Largest number of objects of a training picture."""
        return int(np.max(self.train.counts))

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data for the record of a run."""
        counts = {split: len(getattr(self, split).images) for split in ("train", "validation", "test")}
        shape = list(self.train.images.shape[1:])
        about = {"name": self.name, "source": self.source, "classes": self.classes, "shape": shape}
        return {**about, "preprocessing": self.preprocessing, **counts}


def boxes_of(listing: Listing, shaping: Shaping) -> BoxSet:
    """Makes a set of own pictures with boxes.

    Args:
        listing: the pictures, each with a column "objects": `{"bbox": [[left, top, width, height], …], "category":
            [name, …]}` in pixels.
        shaping: how pictures are made alike; where it has no size, they get that of `usual_size`.

    Raises:
        InputError: if the listing has no boxes, one is outside of its picture or has no size, a category of another
            split is in no training picture, no picture of a split has a box, or more than 1 % of the pictures cannot be
            read.
    """
    listing.check("boxes")
    decided = shaping.decide(some_pictures(listing.splits["train"]), MULTIPLE)
    height, width = decided.size
    preprocessing = dataclasses.replace(decided, size=(height, width or height))
    told = {split: [_objects(item) for item in items] for split, items in listing.splits.items()}
    names = {split: {name for _, kinds in of_items for name in kinds} for split, of_items in told.items()}
    for split, of_split in names.items():
        if unknown := sorted(of_split - names["train"], key=natural):
            raise InputError(
                f"The categories {', '.join(unknown[:5])} of {split!r} of {listing.name} are in no training picture; "
                "expected every category there: check the names, or move pictures."
            )
    classes = tuple(sorted(names["train"], key=natural))
    found, unread = decoded_splits(listing.splits, partial(_read, preprocessing), f"boxes {preprocessing!r}")
    # All splits have as many places for boxes, so that one program is for all.
    most = max(len(kinds) for of_items in told.values() for _, kinds in of_items)
    splits: Mapping[str, Scenes] = {
        split: _scenes(arrays, listing.splits[split], told[split], classes, preprocessing, most)
        for split, arrays in found.items()
    }
    for split, scenes in splits.items():
        if not np.sum(scenes.counts):
            raise InputError(f"No picture of {split!r} of {listing.name} has a box; expected some in each split.")
    images, objects = splits["train"].images, int(np.sum(splits["train"].counts))
    words = [listing.source, in_words(preprocessing)]
    words.append(f"The training pictures have {objects:,} objects of {len(classes)} kinds: {', '.join(classes[:12])}.")
    return BoxSet(
        listing.name,
        **splits,
        classes=classes,
        source=" ".join([*words, *([unread] if unread else [])]),
        preprocessing=standardized(preprocessing, images[evenly(len(images), MEASURED)]),
    )


def _objects(item: Item) -> tuple[Float[np.ndarray, "m 4"], list[str]]:
    """Returns the boxes of a picture as left, top, right and bottom edge, and the names of their categories."""
    objects = item.columns["objects"]
    form = '{"bbox": [[left, top, width, height], …], "category": [name, …]}'
    if objects == []:
        return np.zeros((0, 4), np.float32), []
    if isinstance(objects, list) and all(isinstance(one, Mapping) for one in objects):  # one mapping an object
        objects = {
            key: [one.get(key) for one in objects] for key in dict.fromkeys(key for one in objects for key in one)
        }
    kinds = objects.get("category", objects.get("categories")) if isinstance(objects, Mapping) else None
    if not isinstance(kinds, list | tuple) or None in kinds or not isinstance(objects.get("bbox"), list | tuple):
        raise InputError(f"The objects of {item.name} are {str(objects)[:60]!r}; expected {form}.")
    try:
        boxes = np.asarray(objects["bbox"], np.float32).reshape(len(objects["bbox"]), 4)
    except (TypeError, ValueError):
        raise InputError(f"The boxes of {item.name} are {str(objects['bbox'])[:60]!r}; expected {form}.") from None
    if len(kinds) != len(boxes):
        raise InputError(f"{item.name} has {len(boxes)} boxes and {len(kinds)} categories; expected one for each.")
    for box, kind in zip(boxes, kinds, strict=True):
        if not np.isfinite(box).all() or min(box[2:]) <= 0:
            raise InputError(
                f"The box {_shown(box)} of {item.name} ({kind}) has no size; expected left, top, width and height in "
                "pixels, the last two above zero: mend it, or take it out."
            )
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), [str(kind) for kind in kinds]


def _shown(box: np.ndarray) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in box)}]"


def _read(preprocessing: Preprocessing, item: Item) -> np.ndarray:
    """Reads a picture as a model sees it, and before it the bytes of its own height and width."""
    picture = read_picture(item)
    seen = np.asarray(preprocessing.to_bytes(picture[None]))[0]
    return np.concatenate([np.array(picture.shape[:2], np.uint32).view(np.uint8), seen.ravel()])


def _scenes(
    arrays: Arrays,
    items: Sequence[Item],
    told: Sequence[tuple[np.ndarray, list[str]]],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    most: int,
) -> Scenes:
    flat, shape = arrays.stacked(), (*preprocessing.size_of(1, 1), preprocessing.channels)
    own = np.ascontiguousarray(flat[:, : 2 * TELLING]).view(np.uint32)
    number = {name: place for place, name in enumerate(classes)}
    n = len(arrays)
    boxes, kinds = np.zeros((n, most, 4), np.float32), np.zeros((n, most), np.int32)
    counts = np.zeros(n, np.int32)
    for place, item in enumerate(arrays.kept):
        edges, names = told[item]
        _check_inside(edges, own[place], items[item])
        moved = boxes_within(preprocessing, edges, (int(own[place, 0]), int(own[place, 1])))
        # Cropping leaves little of some.
        scale, _ = preprocessing.scale_and_shift((int(own[place, 0]), int(own[place, 1])))
        whole, left = (area * np.prod(factor) for area, factor in ((_area(edges), scale), (_area(moved), 1)))
        seen = left > LEAST_SEEN * whole
        counts[place] = seen.sum()
        boxes[place, : counts[place]] = moved[seen]
        kinds[place, : counts[place]] = [number[name] for name, one in zip(names, seen, strict=True) if one]
    return Scenes(flat[:, 2 * TELLING :].reshape(n, *shape), boxes, kinds, counts)


def _area(boxes: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "m"]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _check_inside(edges: np.ndarray, own: np.ndarray, item: Item) -> None:
    height, width = map(int, own)
    low, high = edges[:, :2].min(axis=1), (edges[:, 2:] - np.array([width, height])).max(axis=1)
    outside = np.flatnonzero((low < -OUTSIDE) | (high > OUTSIDE))
    if len(outside):
        box = edges[outside[0]]
        raise InputError(
            f"A box of {item.name} reaches from {_shown(box[:2])} to {_shown(box[2:])}, beyond the picture of "
            f"{width}x{height} pixels; expected [left, top, width, height] in pixels, within it: mend it, or cut it "
            "off at the edge."
        )


def boxes_within(
    preprocessing: Preprocessing, boxes: Float[np.ndarray, "m 4"], size: tuple[int, int]
) -> Float[np.ndarray, "m 4"]:
    """Returns where boxes of a picture are once it is preprocessed, cut off at its edges.

    Args:
        preprocessing: what is done to the picture.
        boxes: left, top, right and bottom edge, in pixels.
        size: height and width of the picture before.
    """
    scale, shift = preprocessing.scale_and_shift(size)
    height, width = preprocessing.size_of(*size)
    return _clipped(boxes * np.tile(scale, 2) + np.tile(shift, 2), height, width)


def boxes_before(
    preprocessing: Preprocessing, boxes: Float[np.ndarray, "m 4"], size: tuple[int, int]
) -> Float[np.ndarray, "m 4"]:
    """Returns where boxes of a preprocessed picture were before, the reverse of `boxes_within`."""
    scale, shift = preprocessing.scale_and_shift(size)
    return _clipped((boxes - np.tile(shift, 2)) / np.tile(scale, 2), *size)


def _clipped(boxes: Float[np.ndarray, "m 4"], height: int, width: int) -> Float[np.ndarray, "m 4"]:
    return np.clip(boxes, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
