"""Scenes of digits: pictures that are made, with the box of each digit."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.data import Dataset, Split
from rowrnn.lab.data.shaping import standardized
from rowrnn.lab.tasks.boxes.examples import Scenes
from rowrnn.lab.tasks.boxes.files import BoxSet
from rowrnn.saving.preprocessing import Preprocessing

SIDE = 96  # pixels, of a scene
DIGITS = (1, 8)  # in a scene
SIZES = (14, 32)  # pixels, of the longer side of a digit
MOST_COVERED = 0.2  # of a digit's box, by that of another one
ATTEMPTS = 50  # at a place for a digit, after which the scene has fewer


def digit_set(data: Dataset, counts: Mapping[str, int]) -> BoxSet:
    """Makes scenes of the digits of a data set, of each split from its own, always the same.

    Args:
        data: square grey images of digits.
        counts: number of scenes of each split.
    """
    scenes = {
        split: digit_scenes(seed, getattr(data, split), count) for seed, (split, count) in enumerate(counts.items())
    }
    preprocessing = standardized(Preprocessing((SIDE, SIDE)), np.asarray(scenes["train"].images))
    made = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    source = f"Scenes of one to eight digits of {data.name} of different sizes, {SIDE}x{SIDE} pixels: {made}."
    return BoxSet(
        f"digits of {data.name}", **scenes, classes=data.class_names, source=source, preprocessing=preprocessing
    )


def digit_scenes(seed: int, digits: Split, count: int) -> Scenes:
    """Makes scenes of one to eight digits of different sizes on black, whose boxes may overlap a little.

    Args:
        seed: of all random choices.
        digits: square grey images of digits, light on dark, and their labels.
        count: number of scenes.

    Raises:
        InputError: if a digit has no light pixel.
    """
    rng = np.random.default_rng(seed)
    images, labels = np.asarray(digits.images)[..., 0], np.asarray(digits.labels)
    most = DIGITS[1]
    scenes = Scenes(
        np.zeros((count, SIDE, SIDE, 1), np.uint8),
        np.zeros((count, most, 4), np.float32),
        np.zeros((count, most), np.int32),
        np.zeros(count, np.int32),
    )
    for number in range(count):
        for chosen in rng.integers(0, len(images), rng.integers(DIGITS[0], most + 1)):
            ink = _ink(images[chosen], int(rng.integers(SIZES[0], SIZES[1] + 1)), int(chosen))
            box = _room(rng, ink.shape, scenes.boxes[number, : scenes.counts[number]])
            if box is None:
                continue
            left, top, right, bottom = box
            canvas = scenes.images[number, top:bottom, left:right, 0]
            np.maximum(canvas, ink, out=canvas)
            place = scenes.counts[number]
            scenes.boxes[number, place], scenes.classes[number, place] = box, labels[chosen]
            scenes.counts[number] += 1
    return scenes


def _ink(digit: np.ndarray, size: int, number: int) -> UInt8[np.ndarray, "_ _"]:
    """Returns a digit without the dark around it, its longer side brought to a size."""
    rows, columns = (np.flatnonzero(digit.max(axis=axis) > 0) for axis in (1, 0))
    if not len(rows):
        raise InputError(f"Digit {number} has no light pixel; expected digits, light on dark.")
    ink = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = size / max(ink.shape)
    height, width = (max(1, round(scale * side)) for side in ink.shape)
    return np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR))


def _room(rng: np.random.Generator, shape: tuple[int, ...], boxes: np.ndarray) -> tuple[int, int, int, int] | None:
    """Returns a random place for a digit where no box covers much of another; None where none was found."""
    height, width = shape
    for _ in range(ATTEMPTS):
        left, top = rng.integers(0, SIDE - width + 1), rng.integers(0, SIDE - height + 1)
        box = (int(left), int(top), int(left) + width, int(top) + height)
        low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        smaller = np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), width * height)
        if not (common > MOST_COVERED * smaller).any():
            return box
    return None
