"""Own films: decoded once, their frames made alike, and cut into pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.clips import LOOKED_AT, shaped_clip, some_frames
from rowrnn.lab.data.decoded_cache import decoded_splits
from rowrnn.lab.data.labelled_arrays import are_arrays
from rowrnn.lab.data.shaping import Shaping, in_words
from rowrnn.lab.data.sources.arrays import read_arrays
from rowrnn.lab.data.sources.films import in_splits, read_films
from rowrnn.lab.tasks.frames.examples import Pieces, pieces_of
from rowrnn.saving.preprocessing import Preprocessing

JUDGED = 1_000  # pieces for validation or the test, about, at most
Film = UInt8[np.ndarray, "..."]


@dataclass(frozen=True)
class FilmSet:
    """Pieces of own films in three splits.

    Args:
        name: the place that they are from.
        train: training pieces.
        validation: validation pieces.
        test: test pieces.
        source: where they are from and what was decided, in words.
        preprocessing: what was done to each frame.
        frames_per_second: median over the files that say it; None where none does.
    """

    name: str
    train: Pieces
    validation: Pieces
    test: Pieces
    source: str
    preprocessing: Preprocessing
    frames_per_second: float | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of channels of a frame."""
        _, _, height, width, channels = np.shape(self.train.frames)
        return height, width, channels

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data for the record of a run."""
        counts = {split: len(getattr(self, split).frames) for split in ("train", "validation", "test")}
        about = {"name": self.name, "source": self.source, "shape": self.shape, "preprocessing": self.preprocessing}
        return {**about, **counts}


def films_of(name: str, shaping: Shaping, budget: int, *, length: int, multiple: int) -> FilmSet:
    """Makes a set of pieces of own films.

    Args:
        name: a folder of clips, or a file of arrays, `.npz` or `.npy`: uint8 films `[n, t, h, w]` or `[n, t, h, w, c]`.
        shaping: how frames are made alike; where it has no size, they get that of `usual_size`.
        budget: bytes that the training pieces may take in memory: of films that are cut into more, they begin further
            apart.
        length: number of frames of a piece.
        multiple: number that divides height and width.

    Raises:
        InputError: if there are no films, a split has none that is long enough, more than 1 % of the files cannot be
            read, or a size that is asked for is not divided.
    """
    if not name:
        raise InputError("Name the data: a folder of clips, or a file of arrays, .npz.")
    if shaping.size and any(side % multiple for side in shaping.size):
        raise InputError(
            f"--size is {' '.join(map(str, shaping.size))}; expected multiples of --patch, which is {multiple}."
        )
    read = _of_arrays if are_arrays(name) else _of_folder
    films, preprocessing, words, rates = read(name, shaping, multiple)
    counts = {split: [max(0, len(film) - length + 1) for film in of_split] for split, of_split in films.items()}
    for split, of_split in counts.items():
        if not sum(of_split):
            longest = max(map(len, films[split]))
            raise InputError(
                f"The longest film of {split!r} of {name} has {longest} frames; expected at least {length}, those that "
                "are given and those that follow: ask for fewer by --given and --ahead."
            )
    bytes_each = length * films["train"][0][0].nbytes
    step = max(1, -(-sum(counts["train"]) * bytes_each // budget))
    # What is scored is the same on every machine: how far its pieces are apart follows from their number alone.
    steps = {split: step if split == "train" else -(-sum(counts[split]) // JUDGED) for split in films}
    splits: Mapping[str, Pieces] = {split: pieces_of(films[split], length, steps[split]) for split in films}
    apart = {split: f", {step} frames apart" if step > 1 else "" for split, step in steps.items()}
    made = "; ".join(f"{len(pieces.frames):,} {split}{apart[split]}" for split, pieces in splits.items())
    words += f" {in_words(preprocessing)} Pieces of {length} frames: {made}."
    rate = float(np.median(rates)) if rates else None
    return FilmSet(name, **splits, source=words, preprocessing=preprocessing, frames_per_second=rate)


Read = tuple[Mapping[str, Sequence[Film]], Preprocessing, str, Sequence[float]]


def _of_folder(name: str, shaping: Shaping, multiple: int) -> Read:
    path = Path(name).expanduser()
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; expected one of clips, or a file of arrays, .npz.")
    listing = read_films(path)
    listing.check("frames")
    some, rates = some_frames(listing.splits["train"])
    preprocessing = shaping.decide(some, multiple)
    read, unread = decoded_splits(listing.splits, partial(shaped_clip, preprocessing), f"film {preprocessing!r}")
    films = {split: [*arrays] for split, arrays in read.items()}
    return films, preprocessing, " ".join([listing.source, *([unread] if unread else [])]), rates


def _of_arrays(name: str, shaping: Shaping, multiple: int) -> Read:
    given = {split: arrays["images"] for split, arrays in read_arrays(name).items()}
    for split, array in given.items():
        if array.dtype != np.uint8 or array.ndim not in (4, 5) or 0 in array.shape:
            raise InputError(
                f"The films of {split!r} of {name} are {array.dtype} of shape {list(array.shape)}; expected uint8 "
                "[films, frames, height, width], or with a last axis of 1 or 3 colours."
            )
    splits, words = in_splits(name, {split: [*array] for split, array in given.items()})
    first = _with_channels(splits["train"][0])
    preprocessing = shaping.decide(first[:LOOKED_AT], multiple)
    films = {
        split: [np.asarray(preprocessing.to_bytes(_with_channels(film))) for film in of_split]
        for split, of_split in splits.items()
    }
    return films, preprocessing, f"{name}, arrays{words}.", ()


def _with_channels(film: Film) -> Film:
    return film[..., None] if film.ndim == 3 else film
