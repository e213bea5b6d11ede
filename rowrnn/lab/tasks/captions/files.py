"""Own pictures with captions: decoded once, made alike, their words numbered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from rowrnn.errors import InputError
from rowrnn.lab.data.decoded_cache import decoded_splits
from rowrnn.lab.data.labelled import shaped, some_pictures
from rowrnn.lab.data.listing import Item, Listing
from rowrnn.lab.data.shaping import Shaping, in_words, standardized
from rowrnn.lab.data.sources.files import some
from rowrnn.lab.tasks.captions.task import Described
from rowrnn.lab.tasks.captions.vocabulary import Vocabulary, split_words
from rowrnn.saving.preprocessing import Preprocessing

LONGEST = 40  # words of a caption with its end; those of longer ones are cut off


@dataclass(frozen=True)
class CaptionSet:
    """Pictures with captions in three splits.

    Args:
        name: the place that they are from.
        vocabulary: words of the training captions.
        longest: number of places of a caption.
        train: training pictures.
        validation: validation pictures.
        test: test pictures.
        texts: the captions of each test picture.
        source: where they are from and what was decided, in words.
        preprocessing: what was done to each picture.
    """

    name: str
    vocabulary: Vocabulary
    longest: int
    train: Described
    validation: Described
    test: Described
    texts: Sequence[Sequence[str]]
    source: str
    preprocessing: Preprocessing

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of channels of a picture."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data for the record of a run."""
        return {
            "name": self.name,
            "source": self.source,
            "shape": self.shape,
            "words": len(self.vocabulary),
            "longest": self.longest,
            "train": len(self.train.counts),
            "validation": len(self.validation.counts),
            "test": len(self.test.counts),
            "preprocessing": self.preprocessing,
        }


def captions_of(listing: Listing, shaping: Shaping, *, min_count: int) -> CaptionSet:
    """Makes a set of own pictures with captions.

    Args:
        listing: the pictures; a picture has one text or several.
        shaping: how they are made alike.
        min_count: number of times that a word must occur in the training captions; rarer ones are unknown words.

    Raises:
        InputError: if the listing has no texts, or more than 1 % of the pictures cannot be read.
    """
    listing.check("captions")
    preprocessing = shaping.decide(some_pictures(listing.splits["train"]))
    read, unread = decoded_splits(listing.splits, partial(shaped, preprocessing), repr(preprocessing))
    words = [listing.source, in_words(preprocessing), *([unread] if unread else [])]
    texts = {
        split: [texts_of(listing.splits[split][number]) for number in arrays.kept] for split, arrays in read.items()
    }
    _check_said(listing, {split: arrays.kept for split, arrays in read.items()})
    vocabulary = Vocabulary.of((text for of_one in texts["train"] for text in of_one), min_count=min_count)
    longest = min(LONGEST, 1 + max(len(split_words(text)) for of_one in texts["train"] for text in of_one))
    splits = {}
    for split, arrays in read.items():
        encoded = vocabulary.encode(texts[split], longest)
        splits[split] = Described(arrays.stacked(), encoded.captions, encoded.counts)
        if encoded.unknown:
            words.append(f"Of {encoded.words:,} words of {split} {encoded.unknown:,} are unknown.")
        if encoded.cut:
            words.append(f"{encoded.cut:,} captions of {split} are cut after {longest - 1} words.")
    measured = standardized(preprocessing, np.asarray(splits["train"].images))
    of_splits = (splits["train"], splits["validation"], splits["test"])
    return CaptionSet(listing.name, vocabulary, longest, *of_splits, texts["test"], " ".join(words), measured)


def _check_said(listing: Listing, kept: Mapping[str, Int[np.ndarray, "n"]]) -> None:
    """Checks that every caption has a word."""
    items = [listing.splits[split][number] for split, numbers in kept.items() for number in numbers]
    empty = [item.name for item in items if not all(map(split_words, texts_of(item)))]
    if empty:
        raise InputError(
            f"{len(empty):,} of {len(items):,} pictures of {listing.name} have a caption without a word: "
            f"{some(empty)}. Write one, or take the caption, or the picture, out."
        )


def texts_of(item: Item) -> list[str]:
    """Returns the captions of a picture."""
    text = item.columns["text"]
    return [text] if isinstance(text, str) else list(text)
