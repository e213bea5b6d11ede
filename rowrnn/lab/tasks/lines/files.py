"""Own lines of text: decoded once, brought to one height, in groups of similar width."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from rowrnn.decoding import ctc
from rowrnn.errors import InputError
from rowrnn.lab.data.decoded_cache import decoded_splits
from rowrnn.lab.data.labelled import shaped, some_pictures
from rowrnn.lab.data.listing import Listing
from rowrnn.lab.data.shaping import border_of, in_words
from rowrnn.lab.tasks.lines.alphabet import Alphabet, composed
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.lab.tasks.lines.groups import grouped_lines, width_groups
from rowrnn.models.line_reader import strips
from rowrnn.saving.preprocessing import Preprocessing

ROOM = 1.08  # width of a training group's images, relative to its widest line: changes may widen lines
MIDDLE_GREY = 128
WIDE = 8  # times the usual width, above which a line is named


@dataclass(frozen=True)
class Texts:
    """Lines of a split, in groups of similar width.

    Args:
        groups: the lines, as `grouped_lines` makes them.
        places: numbers of the lines of each group, `[groups, m]`.
        texts: the text of each line.
        names: the name of each line.
    """

    groups: tuple[Lines, ...]
    places: Int[np.ndarray, "groups m"]
    texts: Sequence[str]
    names: Sequence[str]

    def ungrouped(self, by_group: Sequence[Any]) -> list[Any]:
        """Returns what belongs to each line, of what belongs to each line of each group."""
        found = {
            int(place): value
            for places, values in zip(self.places, by_group, strict=True)
            for place, value in zip(places, values, strict=True)
        }
        return [found[place] for place in range(len(self.texts))]


@dataclass(frozen=True)
class LineSet:
    """Lines of text in three splits.

    Args:
        name: the place that they are from.
        alphabet: characters of the training and validation texts.
        train: training lines.
        validation: validation lines.
        test: test lines.
        source: where they are from and what was decided, in words.
        preprocessing: what was done to each picture.
    """

    name: str
    alphabet: Alphabet
    train: Texts
    validation: Texts
    test: Texts
    source: str
    preprocessing: Preprocessing

    @property
    def height(self) -> int:
        """Number of rows of a line."""
        return self.train.groups[0].images.shape[1]

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data for the record of a run."""
        return {
            "name": self.name,
            "source": self.source,
            "shape": [self.height, None, 1],
            "alphabet": self.alphabet.characters,
            "train": len(self.train.texts),
            "validation": len(self.validation.texts),
            "test": len(self.test.texts),
            "preprocessing": self.preprocessing,
        }


def lines_of(listing: Listing, *, height: int, groups: int, right_to_left: bool = False) -> LineSet:
    """Makes a set of own lines of text.

    Args:
        listing: pictures of lines, each with its text.
        height: number of rows that they are brought to; the width follows.
        groups: number of groups of similar width.
        right_to_left: whether the lines run from right to left.

    Raises:
        InputError: if the listing has no texts, more than 1 % of the pictures cannot be read, or no training line is
            wide enough for its text.
    """
    listing.check("lines")
    dark_ink = border_of(some_pictures(listing.splits["train"])) > MIDDLE_GREY
    preprocessing = Preprocessing((height, None), channels=1, invert=dark_ink)
    images, texts, names = {}, {}, {}
    found, unread = decoded_splits(listing.splits, partial(shaped, preprocessing), repr(preprocessing))
    words = [listing.source, in_words(preprocessing), *([unread] if unread else [])]
    for split, arrays in found.items():
        items = listing.splits[split]
        images[split] = [array[..., 0] for array in arrays]
        texts[split] = [composed(items[number].columns["text"]).strip() for number in arrays.kept]
        names[split] = [items[number].name for number in arrays.kept]
    alphabet = Alphabet.of([*texts["train"], *texts["validation"]], right_to_left=right_to_left)
    known = set(alphabet.characters)
    unseen = sorted({character for text in texts["test"] for character in text} - known)
    if unseen:
        words.append(f"Characters of test that cannot be read, since no training text has them: {''.join(unseen)}.")
    splits = {}
    for split in ("train", "validation", "test"):
        fits = [_fits(image, text, alphabet) for image, text in zip(images[split], texts[split], strict=True)]
        if split == "train" and not all(fits):
            words.append(
                f"{len(fits) - sum(fits):,} of {len(fits):,} training lines left out, too narrow for their text."
            )
            for of_split in (images, texts, names):
                of_split[split] = [value for value, fit in zip(of_split[split], fits, strict=True) if fit]
        if not texts[split]:
            raise InputError(
                f"No line of {listing.name} is wide enough for its text: check that texts and pictures fit."
            )
        if not any(texts[split]):
            raise InputError(
                f"All {len(texts[split]):,} texts of the split {split!r} of {listing.name} are empty; expected what "
                "the lines say."
            )
        if empty := texts[split].count(""):
            words.append(f"WARNING: {empty:,} of {len(texts[split]):,} texts of {split} are empty.")
        readable = ["".join(character for character in text if character in known) for text in texts[split]]
        room = ROOM if split == "train" else 1.0
        words += _wide(split, images[split], names[split])
        made = grouped_lines(images[split], readable, alphabet, groups=groups, room=room)
        places = width_groups(np.array([image.shape[1] for image in images[split]]), groups)
        splits[split] = Texts(made, places, texts[split], names[split])
    of_splits = (splits["train"], splits["validation"], splits["test"])
    return LineSet(listing.name, alphabet, *of_splits, " ".join(words), preprocessing)


def _wide(split: str, images: Sequence[np.ndarray], names: Sequence[str]) -> list[str]:
    """Returns a warning of a line that is so wide that all lines of its group are mostly padding, in a list."""
    widths = np.array([image.shape[1] for image in images])
    usual, widest = int(np.median(widths)), int(widths.argmax())
    if widths[widest] <= WIDE * usual:
        return []
    return [
        f"WARNING: {names[widest]} of {split} is {widths[widest]:,} columns wide, and half of the lines at most "
        f"{usual:,}: lines that are read with it are padded to its width, which takes time. Cut it, or take it out."
    ]


def _fits(image: np.ndarray, text: str, alphabet: Alphabet) -> bool:
    """Returns whether a line has as many steps as CTC needs for its text."""
    labels = np.array([[alphabet.characters.find(character) for character in text]], np.int32)
    return int(ctc.steps_needed(labels, np.array([len(text)]))[0]) <= strips(image.shape[1]) if text else True
