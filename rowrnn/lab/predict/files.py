"""The files that a model is asked about: single ones, folders, patterns and standard input."""

import glob
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item

STANDARD_INPUT = "-"


def items_of(names: Sequence[str], suffixes: Sequence[str]) -> list[Item]:
    """Returns the files that names stand for, each once, in the order given; those of a folder sorted.

    Args:
        names: files, folders (all files below them with one of the suffixes are meant), patterns as `scans/*.png`, or
            "-" for one file on standard input.
        suffixes: suffixes, in lower case, of the files of a folder that are meant.

    Raises:
        InputError: if a name stands for no file, or is a URL.
    """
    items: dict[str, Item] = {}
    for name in names:
        for item in _items(name, suffixes):
            items.setdefault(item.name, item)
    return list(items.values())


def _items(name: str, suffixes: Sequence[str]) -> list[Item]:
    if name == STANDARD_INPUT:
        return [Item("standard input", content=_once(sys.stdin.buffer.read))]
    if "://" in name:
        raise InputError(f"{name} is an address, and files are expected: download it first.")
    path = Path(name).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))
        if not found:
            raise InputError(f"There is no file in {name} that ends in {', '.join(suffixes)}.")
        return [Item(str(p), p) for p in found]
    if path.is_file():
        return [Item(name, path)]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not found:
        raise InputError(f"There is no file {name}. Expected a file, a folder, or a pattern that some file matches.")
    return [Item(str(p), p) for p in found if p.is_file()]


def _once(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Returns a function that reads once and remembers."""
    kept: list[bytes] = []

    def content() -> bytes:
        if not kept:
            kept.append(read())
        return kept[0]

    return content
