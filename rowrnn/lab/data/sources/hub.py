"""Data sets of the Hugging Face hub, `hf:NAME[/config]`, through the package `datasets`."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.found import Found
from rowrnn.lab.data.sources.splits import split_of
from rowrnn.lab.data.sources.table import Rows, read_rows

PREFIX = "hf:"


class Arrow:
    """One split of a data set that `datasets` holds: a memory map of an Arrow file.

    Args:
        name: name of the split, for messages.
        dataset: a `datasets.Dataset`.
    """

    def __init__(self, name: str, dataset: Any) -> None:
        dataset = dataset.flatten_indices() if dataset._indices is not None else dataset
        self.name = name
        self.version = (dataset._fingerprint,)
        self.schema: pa.Schema = dataset.features.arrow_schema
        self._batches = dataset.data.table.to_batches()
        self.sizes = [batch.num_rows for batch in self._batches]

    def group(self, number: int, column: str) -> pa.ChunkedArray:
        return pa.chunked_array([self._batches[number].column(column)])


def read_hub(place: str) -> Found:
    """Downloads a data set of the hub, or finds it in the cache of `datasets`, and lists its rows.

    Args:
        place: "hf:NAME" or "hf:OWNER/NAME", with "/CONFIG" after the latter where it has several.

    Raises:
        InputError: if `datasets` is not installed, or the set cannot be loaded or is not one of pictures or clips.
    """
    owner_and_name = place.removeprefix(PREFIX)
    if not owner_and_name or owner_and_name[0] in "./~":
        raise InputError(f"{place} names no set of the hub; expected hf:OWNER/NAME. A folder is given without {PREFIX}")
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"Reading {place} needs the package datasets: pip install 'rowrnn[hub]'.") from error
    owner_and_name, _, config = owner_and_name.partition("/")
    if config:
        name, _, config = config.partition("/")
        owner_and_name = f"{owner_and_name}/{name}"
    try:
        loaded: Any = datasets.load_dataset(owner_and_name, config or None)
    except Exception as error:  # of the network, the hub, the cache, or the set's own files
        first_line, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{place} cannot be loaded from the Hugging Face hub ({first_line}). Expected hf:OWNER/NAME or "
            "hf:OWNER/NAME/CONFIG, and a network connection where the set is not in the cache yet."
        ) from error
    return listing_of(place, dict(loaded))


def listing_of(place: str, loaded: Mapping[str, Any]) -> Found:
    """Lists the rows of what `datasets.load_dataset` returns.

    Raises:
        InputError: if no split is known, or there is not one column of pictures or clips.
    """
    known: dict[str, list[Rows]] = {}
    left: list[str] = []
    for name, dataset in loaded.items():
        split = split_of(str(name))
        if split is None:
            left.append(str(name))
        else:
            known.setdefault(split, []).append(Arrow(str(name), dataset))
    if not known:
        raise InputError(f"{place} has the splits {', '.join(map(str, loaded))}; expected one named 'train'.")
    found = read_rows(place, known)
    for split, rows in known.items():
        if len(rows) > 1:
            found.notes.append(f"WARNING: {split} is of the splits {' and '.join(one.name for one in rows)} together")
    if left:
        found.notes.append(f"splits left out: {', '.join(left)}")
    return found
