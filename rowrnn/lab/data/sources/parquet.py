"""Parquet files as the Hugging Face hub has them: `SPLIT-00000-of-0000N.parquet`, also in `data/` or in `SPLIT/`."""

import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.files import look, some, suffix
from rowrnn.lab.data.sources.found import Found
from rowrnn.lab.data.sources.splits import split_of
from rowrnn.lab.data.sources.table import Rows, read_rows

KEPT = 4  # groups of rows in memory
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)(?:-[0-9a-f]+)?")


class Parquet:
    """A parquet file; the groups of rows that were read last stay in memory."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        stat = path.stat()
        self.version = (path.name, stat.st_size, stat.st_mtime_ns)
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} cannot be read as a parquet file ({error}). Is it complete?") from error
        self.schema: pa.Schema = self._file.schema_arrow
        groups = range(self._file.num_row_groups)
        self.sizes = [self._file.metadata.row_group(number).num_rows for number in groups]
        self._kept: OrderedDict[tuple[int, str], pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()

    def group(self, number: int, column: str) -> pa.ChunkedArray:
        with self._lock:
            key = (number, column)
            if key not in self._kept:
                try:
                    self._kept[key] = self._file.read_row_group(number, columns=[column]).column(0)
                except (pa.ArrowException, OSError) as error:
                    raise InputError(f"{self.name} is damaged in its rows {number} ({error}).") from error
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]


def parquet_files(place: Path) -> list[Path]:
    """Returns the parquet files of a folder, or of its folder `data`, or of its folders of splits."""
    inside = {folder.name: folder for folder in look(place).folders}
    for folder in (place, inside.get("data")):
        files = [file for file in look(folder).files if suffix(file) == ".parquet"] if folder else []
        if files:
            return files
    of_splits = [folder for name, folder in inside.items() if split_of(name)]
    return [file for folder in of_splits for file in look(folder).files if suffix(file) == ".parquet"]


def read_parquet(place: Path, files: Sequence[Path]) -> Found:
    """Lists the rows of parquet files; a file belongs to the split that its name or its folder begins with.

    Raises:
        InputError: if a shard is missing, a file is damaged, or there is no column of pictures or clips.
    """
    _check_shards(place, files)
    known: dict[str, list[Rows]] = {}
    left: list[str] = []
    for path in files:
        split = split_of(path.stem) or (split_of(path.parent.name) if path.parent != place else None)
        if split is None:
            left.append(path.name)
        else:
            known.setdefault(split, []).append(Parquet(path))
    if not known:
        left.clear()
        known["train"] = [Parquet(path) for path in files]
    found = read_rows(str(place), known)
    if left:
        found.notes.append(f"files of no known split left out: {some(left)}")
    return found


def _check_shards(place: Path, files: Sequence[Path]) -> None:
    shards: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in files:
        if match := SHARD.fullmatch(path.stem):
            shards[match[1], int(match[3])].add(int(match[2]))
    for (name, count), have in shards.items():
        missing = [f"{name}-{number:05}-of-{count:05}.parquet" for number in range(count) if number not in have]
        if missing:
            raise InputError(f"{place} lacks {len(missing)} of {count} files of {name!r}: {some(missing)}.")
