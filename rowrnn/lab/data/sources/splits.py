"""Splits: which one a folder or a file belongs to, and those that a data set lacks."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.files import look, some
from rowrnn.lab.data.sources.found import Found

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
SEED = 0
PART = 0.1  # of the training items, for each split that is missing


def split_of(name: str) -> str | None:
    """Returns the split that a name begins with, as "train" for "train-00000-of-00001"; None for other names."""
    first, *_ = [*_words(name), ""]
    return next((split for split, names in NAMES.items() if first in names), None)


def by_split(paths: Sequence[Path], place: Path) -> dict[str, Path]:
    """Returns the folders that are splits, by split; empty unless one is for training.

    A name that only has a split among its words, as "seg_train", "test2017" or "Training Data", is one beside a folder
    "train"; or if folders of two splits are named so, one of them for training, and they hold folders, or there are no
    others: classes may be named "freight train" and "test tube".

    Raises:
        InputError: if two are the same split, or there are others but none for training.
    """
    splits = {path: _named(path.name) for path in paths}
    loose = {path: _named_among_others(path.name) for path in paths}
    if "train" in splits.values():
        known = {*splits.values()}
        splits |= {path: split for path, split in loose.items() if split and not splits[path] and split not in known}
    elif {"train"} < {*loose.values()} - {None}:
        named = [path for path, split in loose.items() if split]
        nothing_else = len(named) == len(paths) == len({*loose.values()})
        if nothing_else or not any(look(path).media for path in named):
            splits = loose
    found: dict[str, Path] = {}
    for path, split in splits.items():
        if split in found:
            raise InputError(f"{found[split]} and {path} are both the split {split!r}; expected one folder a split.")
        if split is not None:
            found[split] = path
    if found and "train" not in found and len(found) == len(paths):
        raise InputError(f"{place} has the splits {', '.join(sorted(found))}, but no folder 'train' to train on.")
    return {split: found[split] for split in NAMES if split in found} if "train" in found else {}


def _named(name: str) -> str | None:
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def within(root: Path, split: str) -> Path:
    """Returns the only folder of a split's folder where it is named so too, as in seg_train/seg_train; else `root`."""
    here = look(root)
    if len(here.folders) == 1 and not here.files and _named_among_others(here.folders[0].name) == split:
        return here.folders[0]
    return root


def _named_among_others(name: str) -> str | None:
    """Returns the only split among the words of a name, "trainset" being one; None where there is none, or several."""
    words = {word.removesuffix("set") for word in _words(name)}
    found = [split for split, names in NAMES.items() if words & {*names}]
    return found[0] if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]


def completed(found: Found, split_by: str | None, *, by_class: bool = True) -> Found:
    """Takes the validation and test splits that are missing from the training items, by a fixed seed.

    A tenth each, at least one item, in the proportions of the classes where items have a label.

    Args:
        found: items of a layout.
        split_by: a column whose equal values stay in one split, as "writer"; items are drawn one by one where None.
        by_class: whether labels count.

    Raises:
        InputError: if nothing is left for training, there is no such column, or no split is missing to be drawn by it.
    """
    splits = {split: found.splits[split] for split in NAMES if found.splits.get(split)}
    if "train" not in splits:
        raise InputError(f"{found.place} has no items to train on, only {', '.join(splits) or 'empty splits'}.")
    missing = [split for split in NAMES if split not in splits]
    if split_by is not None and not missing:
        raise InputError(f"{found.place} has its own splits {', '.join(splits)}; leave --split-by out.")
    if not missing:
        return replace(found, splits=splits)
    train = splits["train"]
    if len(train) <= len(missing):
        raise InputError(
            f"{found.place} has {len(train)} training items; expected at least {len(missing) + 1}, since one each is "
            f"taken for {' and '.join(missing)}."
        )
    by_class = by_class and "label" in train[0].columns
    labels = [item.columns.get("label") if by_class else None for item in train]
    if split_by is None:
        parts = drawn(found.place, labels, missing)
    else:
        parts = _drawn_by(found.place, train, len(missing), split_by)
    for split, part in zip(["train", *missing], parts, strict=True):
        splits[split] = [train[index] for index in sorted(part)]
    how = "in the proportions of the classes" if by_class else "at random"
    how = how if split_by is None else f"with all items of one {split_by!r} together"
    notes = [f"{' and '.join(missing)} taken from the training items, a tenth each, {how}, by seed {SEED}"]
    notes += unseen_classes(labels, parts[1:], missing)
    return replace(found, splits={split: splits[split] for split in NAMES}, notes=[*found.notes, *notes])


def unseen_classes(labels: Sequence[object], parts: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Returns warnings of classes that have no item in a split.

    Args:
        labels: the class of each item.
        parts: indices of the items of each split.
        names: names of the splits.
    """
    notes = []
    for name, part in zip(names, parts, strict=True):
        if without := sorted({*labels} - {labels[index] for index in part}, key=str):
            notes.append(f"WARNING: {len(without)} of {len({*labels})} classes have no item in {name}: {some(without)}")
    return notes


def drawn(place: str, labels: Sequence[object], missing: Sequence[str]) -> list[list[int]]:
    """Draws splits that are missing from training items, a tenth each, in the proportions of the classes.

    Each item of a class of n has a place (i + u) / n between 0 and 1 in a random order, u being uniform for each class;
    the lowest places of all classes are the first part, the next ones the second, so that each has its proportions.

    Args:
        place: the data set, for messages.
        labels: the class of each training item; all equal where there are none.
        missing: names of the splits.

    Returns:
        Indices of the items for training, then of those of each missing split.

    Raises:
        InputError: if not so many items can be spared, since one of each class is for training.
    """
    rng, parts = np.random.default_rng(SEED), len(missing)
    classes: dict[object, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        classes[label].append(index)
    size = max(1, round(PART * len(labels)))
    if len(labels) - len(classes) < parts * size:
        least = min(classes, key=lambda label: len(classes[label]))
        raise InputError(
            f"{place} has {len(labels)} training items of {len(classes)} classes, too few to take {parts * size} for "
            f"{' and '.join(missing)}: one of each class stays for training, and {least!r} has {len(classes[least])}. "
            "Add items, or name splits of your own."
        )
    places: list[tuple[float, int]] = []
    for indices in classes.values():
        count, offset = len(indices), rng.uniform()
        order = rng.permutation(indices).tolist()
        # The last item of a class is for training.
        places += [((i + offset) / count if i < count - 1 else 1.0, at) for i, at in enumerate(order)]
    order = [index for _, index in sorted(places)]
    return [order[parts * size :], *(order[part * size : (part + 1) * size] for part in range(parts))]


def _drawn_by(place: str, items: Sequence[Item], parts: int, column: str) -> list[list[int]]:
    """Returns the indices for training, and of each further part, whole groups of equal values together."""
    if any(item.columns.get(column) is None for item in items):
        known = ", ".join(dict.fromkeys(name for item in items for name in item.columns)) or "none"
        raise InputError(
            f"{place} cannot be split by {column!r}, which some or all items lack; its columns: {known}. Choose one "
            "that every item has by --split-by."
        )
    sizes = Counter(str(item.columns[column]) for item in items)
    if len(sizes) <= parts:
        raise InputError(
            f"{place} cannot be split by {column!r}, which has {len(sizes)} different values; expected at least "
            f"{parts + 1}, one for each split."
        )
    names = sorted(sizes)
    order = [names[index] for index in np.random.default_rng(SEED).permutation(len(names))]
    target = max(1, round(PART * len(items)))
    part_of: dict[str, int] = {}
    for part in range(1, parts + 1):
        filled = 0
        for name in order:
            if name not in part_of and filled + sizes[name] / 2 <= target:
                part_of[name] = part
                filled += sizes[name]
        if not filled:  # All groups are large: the smallest is the part.
            part_of[min((name for name in order if name not in part_of), key=lambda name: sizes[name])] = part
    if len(part_of) == len(sizes):
        raise InputError(f"No value of {column!r} of {place} is left for training; there are too few items.")
    groups: list[list[int]] = [[] for _ in range(parts + 1)]
    for index, item in enumerate(items):
        groups[part_of.get(str(item.columns[column]), 0)].append(index)
    return groups
