"""Films without labels: all clips of a folder, in splits where it has them."""

from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Listing
from rowrnn.lab.data.sources.class_folders import kinds_of, nothing_in
from rowrnn.lab.data.sources.files import left_out, look, relative, walk
from rowrnn.lab.data.sources.splits import NAMES, by_split

EVERY = 4  # films, of which the second is for validation and the fourth for the test, where no split is named
FEWEST = 4


def read_films(place: Path) -> Listing:
    """Lists the clips of a folder, or of its splits, whatever folders they are in.

    Where no split is named, of four films one after another, in the order of their names, the second is for validation
    and the fourth for the test: films of a day are alike, and so each split has some of all days.

    Raises:
        InputError: if there are no clips, pictures among them, too few to be divided, or a split is missing.
    """
    roots = by_split(look(place).folders, place) or {"": place}
    found, others = {}, []
    for split, root in roots.items():
        tree = walk(root)
        others += tree.others
        paths = [*tree.media, *tree.frames]
        found[split] = [Item(relative(path, place), path) for path in sorted(paths, key=lambda path: str(path))]
    items = [item for of_split in found.values() for item in of_split]
    if not items:
        raise InputError(nothing_in(place, others))
    media = kinds_of(place, [item.path for item in items if item.path is not None])
    words = f"{place}, films"
    if "" in found:
        found = divided(str(place), found[""])
        words += ", divided in the order of their names"
    missing = [split for split in NAMES if not found.get(split)]
    if missing:
        raise InputError(
            f"{place} has no films for {' and '.join(missing)}; expected a folder for each of {', '.join(NAMES)}, or "
            "no such folder."
        )
    sizes = ", ".join(f"{len(of_split):,} {split}" for split, of_split in found.items())
    source = ". ".join([f"{words}: {sizes}", *left_out(others, place)])
    return Listing(str(place), found, source + ".", media=media)


def divided(place: str, films: list[Item]) -> dict[str, list[Item]]:
    """Divides films into splits, see `read_films`.

    Raises:
        InputError: if there are fewer than four.
    """
    if len(films) < FEWEST:
        raise InputError(
            f"{place} has {len(films)} films; expected at least {FEWEST}, for training, validation and test: cut them "
            "into more, or make a folder of each split."
        )
    return {split: [films[at] for at in of_split] for split, of_split in division(len(films)).items()}


def division(count: int) -> dict[str, list[int]]:
    """Returns which of some films are for training, validation and test."""
    of = {"train": (0, 2), "validation": (1,), "test": (3,)}
    return {split: [at for at in range(count) if at % EVERY in turns] for split, turns in of.items()}
