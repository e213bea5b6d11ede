"""Own clips with classes: decoded once, their frames made alike."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from rowrnn.lab.data.clips import shaped_clip, some_frames
from rowrnn.lab.data.decoded_cache import decoded_splits
from rowrnn.lab.data.listing import Listing
from rowrnn.lab.data.shaping import Shaping, in_words
from rowrnn.lab.tasks.clips.examples import Clips, KeptClips, channel_statistics, evenly_spaced, padded
from rowrnn.saving.preprocessing import Preprocessing

MOST_FRAMES = 64  # of a clip; of longer ones so many evenly spaced frames are taken


@dataclass(frozen=True)
class ClipSet:
    """Clips with classes in three splits.

    Args:
        name: the place that they are from.
        class_names: names of the classes, in the order of the labels.
        train: training clips.
        validation: validation clips.
        test: test clips.
        source: where they are from and what was decided, in words.
        preprocessing: what was done to each frame.
        frames_per_second: median over the files that say it; None where none does.
    """

    name: str
    class_names: tuple[str, ...]
    train: Clips | KeptClips
    validation: Clips
    test: Clips
    source: str
    preprocessing: Preprocessing
    frames_per_second: float | None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of channels of a frame."""
        _, _, height, width, channels = np.shape(self.train.frames)
        return height, width, channels

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data for the record of a run."""
        return {
            "name": self.name,
            "source": self.source,
            "shape": self.shape,
            "frames": int(np.shape(self.train.frames)[1]),
            "classes": self.classes,
            "class_names": self.class_names,
            "train": len(self.train.labels),
            "validation": len(self.validation.labels),
            "test": len(self.test.labels),
            "preprocessing": self.preprocessing,
        }


def clips_of(listing: Listing, shaping: Shaping, budget: int, *, frames: int | None = None) -> ClipSet:
    """Makes a set of own clips with classes.

    Args:
        listing: the clips.
        shaping: how frames are made alike.
        budget: bytes that the training clips may take in memory; those of a larger set stay on disk.
        frames: most frames of a clip; that of the longest training clip, at most 64, where not given.

    Raises:
        InputError: if the listing holds no clips, no labels or one class only, or more than 1 % of them cannot be read.
    """
    listing.check("clips")
    some, rates = some_frames(listing.splits["train"])
    preprocessing = shaping.decide(some)
    places = {name: place for place, name in enumerate(listing.classes)}
    read, unread = decoded_splits(listing.splits, partial(shaped_clip, preprocessing), f"clip {preprocessing!r}")
    words = [listing.source, in_words(preprocessing), *([unread] if unread else [])]
    longest = frames or min(MOST_FRAMES, max(map(len, read["train"])))
    if any(len(clip) > longest for clip in read["train"]):
        words.append(f"Of clips of more than {longest} frames so many are taken, evenly spaced.")
    labels = {
        split: [places[listing.splits[split][number].columns["label"]] for number in arrays.kept]
        for split, arrays in read.items()
    }
    splits = {split: padded(list(read[split]), labels[split], frames=longest) for split in ("validation", "test")}
    train: Clips | KeptClips = KeptClips(read["train"], labels["train"], longest)
    taken = train.frames.size
    if taken > budget:
        words.append(
            f"Training clips are read from disk: {taken / 2**20:,.1f} MiB, where {budget / 2**20:,.1f} are allowed."
        )
    else:
        train = padded(list(read["train"]), labels["train"], frames=longest)
    mean, std = channel_statistics(clip[evenly_spaced(len(clip), longest)] for clip in read["train"])
    return ClipSet(
        listing.name,
        listing.classes,
        train,
        splits["validation"],
        splits["test"],
        " ".join(words),
        replace(preprocessing, mean=mean, std=std),
        float(np.median(rates)) if rates else None,
    )
