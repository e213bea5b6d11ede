"""The files that a model is asked about: single ones, folders, patterns and standard input."""

import glob
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.files import CLIPS, PICTURES, is_frames, look, suffix, walk

STANDARD_INPUT = "-"


def items_of(names: Sequence[str], medium: str) -> list[Item]:
    """Returns the files that names stand for, each once, in the order given; those of a folder as a person sorts them.

    Args:
        names: files, folders (all pictures, or all clips, below them are meant; of clips, a folder of frames is one),
            patterns as `scans/*.png`, or "-" for one file on standard input.
        medium: "pictures" or "clips".

    Raises:
        InputError: if no name is given, a name stands for no file, or it is a URL.
    """
    if not names:
        raise InputError(f"Name the {medium}: files, folders, patterns, or {STANDARD_INPUT} for standard input.")
    items: dict[str, Item] = {}
    for name in names:
        for item in _items(name, medium):
            items.setdefault(item.name, item)
    return list(items.values())


def _items(name: str, medium: str) -> list[Item]:
    if name == STANDARD_INPUT:
        return [Item("standard input", content=_once(sys.stdin.buffer.read))]
    if "://" in name:
        raise InputError(f"{name} is an address, and files are expected: download it first.")
    path = Path(name).expanduser()
    if path.is_dir():
        found = _in_folder(path, medium)
        if not found:
            endings = ", ".join(sorted(PICTURES if medium == "pictures" else CLIPS))
            raise InputError(f"There are no {medium} in {name}; expected files that end in {endings}.")
        return [Item(str(p), p) for p in found]
    if path.exists():  # a pipe, too
        return [Item(name, path)]
    # A folder that a pattern matches stands for a clip where it is one of frames.
    matched = sorted(map(Path, glob.glob(str(path), recursive=True)))
    found = [p for p in matched if not p.is_dir() or (medium == "clips" and is_frames(p))]
    if not found:
        only = f" It matches {len(matched)} folders only: give a folder itself." if matched else ""
        raise InputError(
            f"There is no file {name}. Expected a file, a folder, or a pattern that some file matches.{only}"
        )
    return [Item(str(p), p) for p in found]


def _in_folder(folder: Path, medium: str) -> list[Path]:
    if medium == "clips" and is_frames(folder):
        return [folder]
    tree = walk(folder)
    if medium == "clips":
        return [*(path for path in tree.media if suffix(path) in CLIPS), *tree.frames]
    inside = [path for frames in tree.frames for path in look(frames).pictures]
    return [*(path for path in tree.media if suffix(path) in PICTURES), *inside]


def _once(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Returns a function that reads once and remembers."""
    kept: list[bytes] = []

    def content() -> bytes:
        if not kept:
            kept.append(read())
        return kept[0]

    return content
