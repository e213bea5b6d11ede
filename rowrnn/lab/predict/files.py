"""The files that a model is asked about: single ones, folders, patterns and standard input.

A name that stands for no file that the model can read stands for an item whose reading says so, so that the others are
answered.
"""

import glob
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.sources.files import CLIPS, PICTURES, is_frames, look, some, suffix, walk

STANDARD_INPUT = "-"
OF_FOLDERS = {"texts": {".txt"}, "tables": {".csv"}}
"""Endings of files that are looked for in a folder itself, not below it."""
ENDINGS = {"pictures": PICTURES, "clips": CLIPS, **OF_FOLDERS}


def items_of(names: Sequence[str], medium: str) -> list[Item]:
    """Returns the files that names stand for, each once, in the order given; those of a folder as a person sorts them.

    Args:
        names: files, folders (all pictures, or all clips, below them are meant; of clips, a folder of frames is one;
            the texts or tables in them),
            patterns as `scans/*.png`, or "-" for one file on standard input.
        medium: "pictures", "clips", "texts" or "tables".

    Raises:
        InputError: if no name is given, or a folder cannot be read.
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
        return [_unreadable(name, f"{name} is an address, and files are expected: download it first.")]
    try:
        return _of_name(name, medium)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that may not be entered
        return [_unreadable(name, f"{name} cannot be looked at ({getattr(error, 'strerror', None) or error}).")]


def _of_name(name: str, medium: str) -> list[Item]:
    path = Path(name)
    if name.startswith("~") and not path.exists():
        path = path.expanduser()
    if path.is_dir():
        found = _in_folder(path, medium)
        if not found:
            endings = ", ".join(sorted(ENDINGS[medium]))
            return [_unreadable(name, f"There are no {medium} in {name}; expected files that end in {endings}.")]
        return [Item(str(p), p) for p in found]
    if path.is_file():
        return [_of_kind(Item(name, path), path, medium)]
    if path.exists():  # a pipe
        return [_of_kind(Item(name, content=_once(path.read_bytes)), path, medium)]
    # A folder that a pattern matches stands for a clip where it is one of frames.
    matched = sorted(map(Path, glob.glob(str(path), recursive=True)))
    found = [p for p in matched if not p.is_dir() or (medium == "clips" and is_frames(p))]
    if not found:
        only = f" It matches {len(matched)} folders only: give a folder itself." if matched else ""
        message = f"There is no file {name}. Expected a file, a folder, or a pattern that some file matches.{only}"
        return [_unreadable(name, message)]
    return [_of_kind(Item(str(p), p), p, medium) for p in found]


def _of_kind(item: Item, path: Path, medium: str) -> Item:
    """Returns the item, or one that says that its file is of the other kind, by its suffix."""
    ending = suffix(path)
    if medium in OF_FOLDERS and ending in CLIPS | PICTURES:
        return _unreadable(item.name, f"{item.name} is a picture or clip, and this model is asked about {medium}.")
    if medium == "pictures" and ending in CLIPS - PICTURES:
        return _unreadable(item.name, f"{item.name} is a clip, and this model is asked about pictures.")
    if medium == "clips" and ending in PICTURES - CLIPS:
        message = f"{item.name} is a picture, and this model is asked about clips: videos, GIFs or folders of frames."
        return _unreadable(item.name, message)
    return item


def _unreadable(name: str, message: str) -> Item:
    def content() -> bytes:
        raise Unreadable(message)

    return Item(name, content=content)


def _in_folder(folder: Path, medium: str) -> list[Path]:
    """Returns the pictures or clips of a folder; names the media of the other kind that are passed over."""
    if medium in OF_FOLDERS:
        return [path for path in look(folder).files if suffix(path) in OF_FOLDERS[medium]]
    if medium == "clips" and is_frames(folder):
        return [folder]
    tree = walk(folder)
    mine = CLIPS if medium == "clips" else PICTURES
    found = [path for path in tree.media if suffix(path) in mine]
    inside = [path for frames in tree.frames for path in look(frames).pictures]
    others = [path for path in tree.media if suffix(path) not in mine]
    if others:
        print(f"Passed over in {folder}, no {medium}: {some([path.name for path in others])}.", file=sys.stderr)
    return [*found, *(tree.frames if medium == "clips" else inside)]


def _once(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Returns a function that reads once and remembers."""
    kept: list[bytes] = []

    def content() -> bytes:
        if not kept:
            kept.append(read())
        return kept[0]

    return content
