"""Files of the same bytes in two splits, which make a test score too good."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.sources.files import some

HEAD = 4096  # bytes, read before a whole file is
Key = tuple[object, ...]
Marked = tuple[str, Item, Key]


def duplicates(splits: Mapping[str, Sequence[Item]]) -> list[str]:
    """Returns a warning that counts files of another split that are in the training split too, in a list.

    Files are told apart by their sizes, then by their first bytes, then by all of them; folders of frames are not
    looked into. Validation and test files are compared with each other too.

    Args:
        splits: items by split.
    """
    found: list[Marked] = [(split, item, ()) for split, items in splits.items() for item in items]
    if any(item.path is not None and item.path.is_dir() for _, item, _ in found):
        found = [marked for marked in found if marked[1].path is None or not marked[1].path.is_dir()]
    for key_of in (_size, _head, _whole):
        found = _in_several_splits([(split, item, (*key, _attempt(key_of, item))) for split, item, key in found])
    groups: dict[Key, dict[str, str]] = defaultdict(dict)
    for split, item, key in found:
        groups[key].setdefault(split, item.name)
    if not groups:
        return []
    pairs = [" = ".join(names.values()) for names in groups.values()]
    are = "file is" if len(pairs) == 1 else "files are"
    return [f"WARNING: {len(pairs):,} {are} in more than one split, with the same bytes: {some(pairs)}"]


def _in_several_splits(items: Sequence[Marked]) -> list[Marked]:
    splits: dict[Key, set[str]] = defaultdict(set)
    for split, _, key in items:
        splits[key].add(split)
    return [marked for marked in items if len(splits[marked[2]]) > 1]


def _attempt(key_of: Callable[[Item], object], item: Item) -> object:
    """Returns the key of an item; one that nothing else equals for a file that cannot be read, which is told later."""
    try:
        return key_of(item)
    except (OSError, Unreadable):
        return object()


def _size(item: Item) -> object:
    return len(item.read()) if item.path is None else os.stat(item.path).st_size


def _head(item: Item) -> object:
    if item.path is None:
        return _digest(item.read())  # A cell of a table is in memory anyway.
    with open(item.path, "rb", buffering=0) as file:
        return _digest(file.read(HEAD))


def _whole(item: Item) -> object:
    if item.path is None or os.stat(item.path).st_size <= HEAD:
        return b""  # read already
    with open(item.path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
