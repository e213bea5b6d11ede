"""Own pictures with boxes: decoded once, all of one size, their boxes moved along."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from rowrnn.errors import InputError
from rowrnn.lab.data.decoded_cache import Arrays, decoded_splits
from rowrnn.lab.data.labelled import some_pictures
from rowrnn.lab.data.listing import Item, Listing
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.shaping import Shaping, in_words, standardized
from rowrnn.lab.data.sources.files import natural
from rowrnn.lab.tasks.boxes.examples import Scenes
from rowrnn.models.detector import MULTIPLE
from rowrnn.saving.preprocessing import Preprocessing

LONGER_SIDE = 320  # pixels that the longer side of pictures gets at most, where no size is asked for
OUTSIDE = 1  # pixel by which boxes may reach beyond their picture: tools round differently
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
        shaping: how pictures are made alike; where it has no size, they get the median of their own, in multiples of 16
            pixels, the longer side at most 320.

    Raises:
        InputError: if the listing has no boxes, one is outside of its picture or has no size, a category of another
            split is in no training picture, or more than 1 % of the pictures cannot be read.
    """
    listing.check("boxes")
    decided = shaping.decide(some_pictures(listing.splits["train"]))
    size = shaping.size or _size_of([picture.shape[:2] for picture in some_pictures(listing.splits["train"])])
    preprocessing = Preprocessing(
        (size[0], size[1] or size[0]), fit=shaping.fit, channels=decided.channels, background=decided.background
    )
    told = {split: [_objects(item) for item in items] for split, items in listing.splits.items()}
    names = {split: {name for _, kinds in of_items for name in kinds} for split, of_items in told.items()}
    for split, of_split in names.items():
        if unknown := sorted(of_split - names["train"], key=natural):
            raise InputError(
                f"The categories {', '.join(unknown[:5])} of {split!r} of {listing.name} are in no training picture; "
                "expected every category there: check the names, or move pictures."
            )
    classes = tuple(sorted(names["train"], key=natural))
    if not classes:
        raise InputError(f"No training picture of {listing.name} has a box; expected some.")
    found, unread = decoded_splits(listing.splits, partial(_read, preprocessing), f"boxes {preprocessing!r}")
    # All splits have as many places for boxes, so that one program is for all.
    most = max(len(kinds) for of_items in told.values() for _, kinds in of_items)
    splits: Mapping[str, Scenes] = {
        split: _scenes(arrays, listing.splits[split], told[split], classes, preprocessing, most)
        for split, arrays in found.items()
    }
    objects = int(np.sum(splits["train"].counts))
    words = [listing.source, in_words(preprocessing)]
    words.append(f"The training pictures have {objects:,} objects of {len(classes)} kinds: {', '.join(classes[:12])}.")
    return BoxSet(
        listing.name,
        **splits,
        classes=classes,
        source=" ".join([*words, *([unread] if unread else [])]),
        preprocessing=standardized(preprocessing, np.asarray(splits["train"].images)),
    )


def _size_of(sizes: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    """Returns the size that pictures of some heights and widths are brought to."""
    sides = np.median(np.array(sizes), axis=0)
    sides = sides * min(1.0, LONGER_SIDE / sides.max())
    height, width = (max(MULTIPLE, MULTIPLE * round(float(side) / MULTIPLE)) for side in sides)
    return height, width


def _objects(item: Item) -> tuple[Float[np.ndarray, "m 4"], list[str]]:
    """Returns the boxes of a picture as left, top, right and bottom edge, and the names of their categories."""
    objects = item.columns["objects"]
    form = '{"bbox": [[left, top, width, height], …], "category": [name, …]}'
    if isinstance(objects, list) and all(isinstance(one, Mapping) for one in objects):  # one mapping an object
        objects = {key: [one.get(key) for one in objects] for key in ("bbox", "category")}
    kinds = objects.get("category", objects.get("categories")) if isinstance(objects, Mapping) else None
    if kinds is None or "bbox" not in objects:
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
        moved = moved_boxes(preprocessing, edges, (int(own[place, 0]), int(own[place, 1])))
        # Cropping leaves nothing of some.
        seen = (moved[:, 2] - moved[:, 0] > 1) & (moved[:, 3] - moved[:, 1] > 1)
        counts[place] = seen.sum()
        boxes[place, : counts[place]] = moved[seen]
        kinds[place, : counts[place]] = [number[name] for name, one in zip(names, seen, strict=True) if one]
    return Scenes(flat[:, 2 * TELLING :].reshape(n, *shape), boxes, kinds, counts)


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


def moved_boxes(
    preprocessing: Preprocessing, boxes: Float[np.ndarray, "m 4"], size: tuple[int, int], *, back: bool = False
) -> Float[np.ndarray, "m 4"]:
    """Returns where boxes of a picture are once it is preprocessed, cut off at its edges; or, `back`, the reverse.

    Args:
        preprocessing: what is done to the picture.
        boxes: left, top, right and bottom edge, in pixels.
        size: height and width of the picture before.
        back: whether the boxes are of the preprocessed picture, and those of the picture before are wanted.
    """
    (down, below), (right, beside) = preprocessing.places(size)
    scale, shift = np.array([right, down] * 2, np.float32), np.array([beside, below] * 2, np.float32)
    height, width = size if back else preprocessing.size_of(*size)
    moved = (boxes - shift) / scale if back else boxes * scale + shift
    return np.clip(moved, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
