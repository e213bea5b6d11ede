"""Clips of different lengths as one array, and the mean and standard deviation of their pixels."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.decoded_cache import Arrays

Clip = UInt8[np.ndarray, "t h w c"]
OfAnyLength = UInt8[np.ndarray, "_ _ _ _"]


class Clips(NamedTuple):
    """A batch of labelled clips.

    Args:
        frames: `[n, t, h, w, c]`, uint8, or floating point as a model takes them; zero after the end of a clip.
        lengths: number of frames of each clip, `[n]`, int32, at least 1.
        labels: classes `[n]`, int32.
    """

    frames: Shaped[Any, "n t h w c"]
    lengths: Shaped[Any, "n"]
    labels: Shaped[Any, "n"]


def padded(clips: Sequence[OfAnyLength], labels: Sequence[int], *, frames: int | None = None) -> Clips:
    """Makes one array of clips of different lengths.

    Args:
        clips: clips of one frame size.
        labels: class of each.
        frames: length of the array; of a clip that is longer, so many evenly spaced frames are taken. That of the
            longest clip where not given.

    Raises:
        InputError: if there is no clip, one has no frames, the frames differ in size, there is not one label for each
            clip, or `frames` is below 1.
    """
    if not clips or len(clips) != len(labels):
        raise InputError(f"Expected at least one clip, and a label for each, not {len(clips)} and {len(labels)}.")
    if frames is not None and frames < 1:
        raise InputError(f"A clip has at least 1 frame, not {frames}.")
    size = clips[0].shape[1:]
    for number, clip in enumerate(clips):
        if len(clip) == 0:
            raise InputError(f"Clip {number + 1} of {len(clips)} has no frames; expected at least one.")
        if clip.shape[1:] != size:
            raise InputError(
                f"Clip {number + 1} of {len(clips)} has frames of {list(clip.shape[1:])}, the first of {list(size)}; "
                "expected one height, width and number of channels."
            )
    longest = frames or max(map(len, clips))
    array, lengths = np.zeros((len(clips), longest, *size), np.uint8), np.zeros(len(clips), np.int32)
    for number, clip in enumerate(clips):
        lengths[number] = min(len(clip), longest)
        array[number, : lengths[number]] = clip[evenly_spaced(len(clip), longest)]
    return Clips(array, lengths, np.asarray(labels, np.int32))


def evenly_spaced(length: int, most: int) -> Int[np.ndarray, "t"]:
    """Returns the indices of at most `most` of `length` frames: all, or the middles of as many equal parts."""
    if length <= most:
        return np.arange(length)
    return ((np.arange(most) + 0.5) * length / most).astype(np.int64)


class KeptClips:
    """Training clips whose decoded frames lie on disk; a `rowrnn.lab.training.Source` of `Clips`.

    Args:
        clips: memory maps, or arrays, of one frame size.
        labels: class of each.
        frames: length of the arrays that are read; of longer clips so many evenly spaced frames are taken.
    """

    def __init__(self, clips: Arrays | Sequence[OfAnyLength], labels: Sequence[int], frames: int) -> None:
        self._clips, self.labels, self._longest = clips, np.asarray(labels, np.int32), frames

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def frames(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of all frames `[n, t, h, w, c]`."""
        return jax.ShapeDtypeStruct((len(self), self._longest, *self._clips[0].shape[1:]), np.uint8)

    def shapes(self) -> Clips:
        """Returns the shapes and dtypes of all examples together."""
        of_each = jax.ShapeDtypeStruct((len(self),), np.int32)
        return Clips(self.frames, of_each, of_each)

    def read(self, numbers: Sequence[int]) -> Clips:
        """Returns the clips at some indices as NumPy arrays."""
        clips = [np.asarray(self._clips[int(number)]) for number in numbers]
        return padded(clips, self.labels[np.asarray(numbers)].tolist(), frames=self._longest)


def channel_statistics(clips: Iterable[OfAnyLength]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation of each channel over all pixels of all frames, of values divided by 255.

    A channel of one value has the standard deviation 1.

    Args:
        clips: uint8 clips of any length, at least one.
    """
    total, squares, count = np.zeros(1), np.zeros(1), 0
    for clip in clips:
        values: Float[np.ndarray, "pixels c"] = clip.reshape(-1, clip.shape[-1]) / 255
        total, squares, count = total + values.sum(axis=0), squares + (values**2).sum(axis=0), count + len(values)
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    std = np.where(variance > 1e-12, np.sqrt(variance), 1.0)  # rounding of equal values stays below
    return tuple(mean.tolist()), tuple(std.tolist())
