"""Decoded items, kept on disk from one start to the next, and read as a memory map."""

import contextlib
import hashlib
import io
import os
import secrets
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, SupportsIndex

import numpy as np
from jaxtyping import Int, UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.reading import NAMED, check_unreadable, read_all
from rowrnn.machine.cache_directory import cache_directory

MAGIC = b"rowrnn decoded 2"
ABANDONED = 86_400  # seconds
CHECKED = 1 << 30  # bytes of the arrays, at most, that are compared with their checksums at a start

Read = Callable[[Item], UInt8[np.ndarray, "..."]]


@dataclass(frozen=True)
class Arrays:
    """Arrays of uint8 one after the other in memory or in a file; all have the same rank, and sizes may differ.

    Args:
        flat: their elements.
        shapes: the shape of each.
        kept: for each of them, the index of its item; unreadable items have none.
        errors: what is wrong with each item that cannot be read.
        cached: whether they were read from the cache.
    """

    flat: UInt8[np.ndarray, "total"]
    shapes: Int[np.ndarray, "n rank"]
    kept: Int[np.ndarray, "n"]
    errors: Sequence[str] = ()
    cached: bool = False

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *np.cumsum(self.shapes.prod(axis=1)).tolist()]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: SupportsIndex) -> UInt8[np.ndarray, "..."]:
        number = range(len(self))[index]
        return self.flat[self._starts[number] : self._starts[number + 1]].reshape(self.shapes[number])

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "..."]]:
        return (self[number] for number in range(len(self)))

    def stacked(self) -> UInt8[np.ndarray, "n ..."]:
        """Returns all in one array, without a copy.

        Raises:
            InputError: if their sizes differ.
        """
        sizes = np.unique(self.shapes, axis=0)
        if len(sizes) > 1:
            found = " and ".join(map(str, sizes[:2].tolist()))
            raise InputError(f"The arrays have {len(sizes)} sizes, as {found}; expected one.")
        return self.flat.reshape(len(self), *(sizes[0] if len(sizes) else ()))


def decoded_splits(
    splits: Mapping[str, Sequence[Item]], read: Read, preprocessing: str
) -> tuple[dict[str, Arrays], str]:
    """Returns what a function makes of each item of each split, and a sentence about unreadable items; see `decoded`.

    Raises:
        InputError: if more than 1 % of the items of all splits together cannot be read, or all of one split.
    """
    found = {split: decoded(items, read, preprocessing, f"Decoding {split}") for split, items in splits.items()}
    errors = [error for arrays in found.values() for error in arrays.errors]
    try:
        words = check_unreadable(errors, sum(map(len, splits.values())))
        for split, arrays in found.items():
            if not len(arrays):
                raise InputError(f"No file of the split {split!r} can be read: {' '.join(arrays.errors[:NAMED])}")
    except InputError:
        for items in splits.values():
            _path(items, preprocessing).unlink(missing_ok=True)
        raise
    return found, words


def decoded(items: Sequence[Item], read: Read, preprocessing: str, doing: str = "Decoding") -> Arrays:
    """Returns what a function makes of each item, from the cache where the same was made before.

    The cache lies in `$XDG_CACHE_HOME/rowrnn` or `~/.cache/rowrnn`, a file for each set of names, sizes, modification
    times and preprocessing. A damaged one is made anew; without room on the disk the arrays stay in memory.

    Args:
        items: what to decode.
        read: a function of an item to a uint8 array of any size; it raises `Unreadable` for a damaged file.
        preprocessing: a description that changes with what `read` does.
        doing: what is done, for the progress bar.
    """
    path = _path(items, preprocessing)
    found = _opened(path)
    if found is not None:
        return found
    errors: list[str] = []
    shapes: list[tuple[int, ...]] = []
    sums: list[int] = []
    kept: list[int] = []
    with _Storage(path) as storage:
        for number, array in enumerate(read_all(items, read, doing)):
            if isinstance(array, Unreadable):
                errors.append(str(array))
                continue
            content = array.tobytes()
            storage.write(content)
            shapes.append(array.shape)
            sums.append(zlib.crc32(content))
            kept.append(number)
        index = {
            "shapes": np.array(shapes, np.int64).reshape(len(shapes), len(shapes[0]) if shapes else 0),
            "kept": np.array(kept, np.int64),
            "sums": np.array(sums, np.uint32),
            "errors": np.array(errors, np.str_),
        }
        return Arrays(storage.finish(index), index["shapes"], index["kept"], errors)


def _path(items: Sequence[Item], preprocessing: str) -> Path:
    digest = hashlib.sha256(MAGIC + preprocessing.encode())
    for item in items:
        digest.update(repr((item.name, item.fingerprint())).encode("utf-8", "surrogateescape"))
    return cache_directory() / f"{digest.hexdigest()[:40]}.decoded"


class _Storage:
    """A file of the cache while it is written, under a name of its own; memory where the disk takes it no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
        self._memory: bytearray | None = None
        self._file: io.FileIO | None = None
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            self._file = open(self._partial, "x+b", buffering=0)  # noqa: SIM115 (`__exit__` closes it)
        except OSError:
            self._memory = bytearray()

    def __enter__(self) -> "_Storage":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink()

    def write(self, content: bytes) -> None:
        """Appends the elements of an array."""
        if self._file is not None:
            try:
                _write(self._file, content)
                self._size += len(content)
                return
            except OSError:
                self._to_memory()
        assert self._memory is not None
        self._memory += content

    def finish(self, index: Mapping[str, np.ndarray]) -> UInt8[np.ndarray, "total"]:
        """Writes what is known of the arrays, gives the file its name, and returns all elements."""
        if self._file is not None:
            try:
                content = io.BytesIO()
                np.savez(content, allow_pickle=False, **index)
                _write(self._file, content.getvalue())
                _write(self._file, _footer(self._size, content.getvalue()))
                os.fsync(self._file.fileno())
                self._partial.replace(self._path)
                return _mapped(self._file, self._size)
            except OSError:
                self._to_memory()
        return np.frombuffer(bytes(self._memory or b""), np.uint8)

    def _to_memory(self) -> None:
        assert self._file is not None
        self._memory = bytearray(os.pread(self._file.fileno(), self._size, 0))
        self._file.close()
        self._file = None
        self._partial.unlink(missing_ok=True)


def _write(file: io.FileIO, content: bytes) -> None:
    """Writes all of `content`; a full disk takes some of it before it raises."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def _remove_abandoned(folder: Path) -> None:
    """Removes what processes that were killed a day ago or earlier left half written."""
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _footer(size: int, index: bytes) -> bytes:
    return size.to_bytes(8, "little") + hashlib.sha256(index).digest() + MAGIC


def _mapped(file: IO[bytes], size: int) -> UInt8[np.ndarray, "total"]:
    return np.memmap(file, np.uint8, mode="r", shape=(size,)) if size else np.zeros(0, np.uint8)


def _opened(path: Path) -> Arrays | None:
    """Returns the arrays of a file of the cache; None where it is missing or damaged."""
    try:
        with open(path, "rb") as file:
            end = file.seek(-len(_footer(0, b"")), os.SEEK_END)
            footer = file.read()
            size = int.from_bytes(footer[:8], "little")
            file.seek(size)
            content = file.read(max(0, end - size))
            if _footer(size, content) != footer:
                return None
            with np.load(io.BytesIO(content)) as entries:
                index = dict(entries)  # An entry is read again wherever it is asked for.
            arrays = Arrays(_mapped(file, size), index["shapes"], index["kept"], index["errors"].tolist(), cached=True)
            sums = index["sums"].tolist()
            step = 1 + size // CHECKED
            sound = all(zlib.crc32(arrays[i]) == sums[i] for i in range(0, len(arrays), step))
            return arrays if sound else None
    except (OSError, ValueError, OverflowError, KeyError, zipfile.BadZipFile):
        return None
