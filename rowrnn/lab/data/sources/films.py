"""Films without labels: all clips of a folder, in splits where it has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Listing
from rowrnn.lab.data.sources.class_folders import kinds_of, nothing_in
from rowrnn.lab.data.sources.duplicates import duplicates
from rowrnn.lab.data.sources.files import left_out, look, natural, relative, walk
from rowrnn.lab.data.sources.splits import NAMES, by_split

TURNS = {"train": (0, 2), "validation": (1,), "test": (3,)}
"""Which of four films one after another are in which split, where none is named."""
FEWEST = 4

T = TypeVar("T")


def read_films(place: Path) -> Listing:
    """Lists the clips of a folder, or of its splits, whatever folders they are in; see `in_splits`.

    Raises:
        InputError: if there are no clips, pictures among them, too few to be divided, or a split is missing.
    """
    found, others = {}, []
    for split, root in (by_split(look(place).folders, place) or {"": place}).items():
        tree = walk(root)
        others += tree.others
        paths = sorted([*tree.media, *tree.frames], key=lambda path: natural(str(path)))
        found[split] = [Item(relative(path, place), path) for path in paths]
    paths = [item.path for items in found.values() for item in items if item.path is not None]
    if not paths:
        raise InputError(nothing_in(place, others))
    media = kinds_of(place, paths)
    films, words = in_splits(str(place), found)
    source = ". ".join([f"{place}, films{words}", *left_out(others, place), *duplicates(films)])
    return Listing(str(place), films, source + ".", media=media)


def in_splits(place: str, films: Mapping[str, Sequence[T]]) -> tuple[dict[str, Sequence[T]], str]:
    """Returns films by split, and how many each has, in words.

    Where there is one list only, of four films one after another the second is for validation and the fourth for the
    test: films of a day are alike, and so each split has some of all days.

    Args:
        place: where they are from, for messages.
        films: by split, or all in one list under any name.

    Raises:
        InputError: if there are too few to be divided, or a split is missing.
    """
    how = ""
    if len(films) == 1:
        (whole,) = films.values()
        if len(whole) < FEWEST:
            raise InputError(
                f"{place} has {len(whole)} films; expected at least {FEWEST}, for training, validation and test: cut "
                "them into more, or name those of each split."
            )
        films = {
            split: [film for at, film in enumerate(whole) if at % FEWEST in turns] for split, turns in TURNS.items()
        }
        how = ", divided in their order"
    missing = [split for split in NAMES if not len(films.get(split, ()))]
    if missing:
        raise InputError(
            f"{place} has no films for {' and '.join(missing)}; expected films of each of {', '.join(NAMES)}, or no "
            "splits at all."
        )
    sizes = ", ".join(f"{len(films[split]):,} {split}" for split in NAMES)
    return {split: films[split] for split in NAMES}, f"{how}: {sizes}"
