"""Tables whose rows are items, as parquet files and the package `datasets` have them; their media stay undecoded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.sources.files import CLIPS, suffix
from rowrnn.lab.data.sources.found import Found

Features = dict[str, dict[str, Any]]
OBJECTS, CATEGORIES = "objects", ("category", "categories")


@runtime_checkable
class Rows(Protocol):
    """Rows of a table in groups, each read when it is asked for."""

    @property
    def name(self) -> str:
        """Name of the table for messages and for the names of items."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, with the metadata of `datasets` where it has them."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Number of rows of each group."""
        ...

    @property
    def version(self) -> tuple[Any, ...]:
        """What changes when the table does."""
        ...

    def group(self, number: int, column: str) -> pa.ChunkedArray:
        """Returns a column of a group of rows."""
        ...


@dataclass(frozen=True)
class Content:
    """The bytes of one cell of a table."""

    rows: Rows
    group: int
    row: int
    column: str

    def __call__(self) -> bytes:
        cell = self.rows.group(self.group, self.column)[self.row]
        value = cell["bytes"] if pa.types.is_struct(cell.type) else cell
        if not value.is_valid and pa.types.is_struct(cell.type) and (path := (cell.as_py() or {}).get("path")):
            raise Unreadable(
                f"{self.rows.name} has no bytes of {path}, only this path; write the table with its files in it."
            )
        return value.as_buffer().to_pybytes() if value.is_valid else b""


def read_rows(place: str, tables: Mapping[str, Sequence[Rows]]) -> Found:
    """Lists the rows of tables by split.

    Args:
        place: the data set, for messages.
        tables: tables of each split, with the same columns.

    Raises:
        InputError: if tables differ in their columns, or have not one column of pictures or clips.
    """
    first, *_ = tables.get("train") or next(iter(tables.values()))
    for rows in (rows for parts in tables.values() for rows in parts):
        if sorted(rows.schema.names) != sorted(first.schema.names):
            raise InputError(
                f"{rows.name} of {place} has the columns {', '.join(rows.schema.names)}, and {first.name} has "
                f"{', '.join(first.schema.names)}; expected the same in all files of a data set."
            )
    features = _features(first.schema)
    column = _media_column(place, first.schema, features)
    splits = {split: [item for rows in parts for item in _items(rows, column)] for split, parts in tables.items()}
    media = "clips" if _are_clips(first, column, features) else "pictures"
    return Found(place, "a table", splits, (media,), class_orders=_class_names(first))


def _class_names(rows: Rows) -> dict[str, tuple[str, ...]]:
    """Returns the names of the classes by column, in the order of their numbers in this table."""
    return {name: tuple(of["names"]) for name, of in _features(rows.schema).items() if of.get("names")}


def _items(rows: Rows, column: str) -> list[Item]:
    names, categories = _class_names(rows), _category_names(_all_features(rows.schema).get(OBJECTS))
    others = [field.name for field in rows.schema if field.name != column and not _is_bytes(field.type)]
    items = []
    start = 0
    for group, size in enumerate(rows.sizes):
        values = {name: rows.group(group, name).to_pylist() for name in others}
        for name in names.keys() & values.keys():
            values[name] = [_class_name(value, names[name]) for value in values[name]]
        if OBJECTS in values and categories:
            values[OBJECTS] = [_with_names(value, categories) for value in values[OBJECTS]]
        for row in range(size):
            name = f"{rows.name}, row {start + row}"
            columns = {other: values[other][row] for other in others}
            content = Content(rows, group, row, column)
            items.append(Item(name, content=content, columns=columns, version=(*rows.version, start + row)))
        start += size
    return items


def _class_name(number: int | None, names: tuple[str, ...]) -> str | None:
    """Returns the name of a class; None for the -1 of hidden labels."""
    return None if number is None or not 0 <= number < len(names) else names[number]


def _category_names(feature: Any) -> tuple[str, ...]:
    """Returns the names of categories in what `datasets` wrote of a column of objects; none where there are none."""
    if isinstance(feature, list):
        feature = dict(enumerate(feature))
    if not isinstance(feature, dict):
        return ()
    for name in CATEGORIES:
        if name in feature and (found := _class_label(feature[name])):
            return found
    return next((found for part in feature.values() if (found := _category_names(part))), ())


def _class_label(feature: Any) -> tuple[str, ...]:
    """Returns the names of a class label, or of one in a list."""
    if isinstance(feature, list):
        feature = feature[0] if feature else {}
    if not isinstance(feature, dict):
        return ()
    return tuple(feature["names"]) if isinstance(feature.get("names"), list) else _class_label(feature.get("feature"))


def _with_names(objects: Any, names: tuple[str, ...]) -> Any:
    """Returns objects, a mapping of lists or a list of mappings, with the names of their categories for numbers."""
    if isinstance(objects, list):
        return [_with_names(one, names) for one in objects]
    if not isinstance(objects, dict):
        return objects

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(one) for one in value]
        return _class_name(value, names) if isinstance(value, int) else value

    return {key: named(value) if key in CATEGORIES else value for key, value in objects.items()}


def _features(schema: pa.Schema) -> Features:
    """Returns what `datasets` wrote of each column of single values; empty where another program wrote the file."""
    return {name: feature for name, feature in _all_features(schema).items() if isinstance(feature, dict)}


def _all_features(schema: pa.Schema) -> dict[str, Any]:
    """Returns what `datasets` wrote of each column, of lists too."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (KeyError, TypeError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_bytes(kind: pa.DataType) -> bool:
    """Returns whether a column holds files: bytes, or a struct of bytes and a path."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _media_column(place: str, schema: pa.Schema, features: Features) -> str:
    """Returns the column of pictures or clips: the only one, else "image" or "video"."""
    found = [field.name for field in schema if _is_bytes(field.type)]
    found = [name for name in found if features.get(name, {}).get("_type", "Image") in ("Image", "Video", "Value")]
    chosen = found if len(found) == 1 else [name for name in ("image", "video") if name in found]
    if not chosen:
        types = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise InputError(
            f"{place} has {len(found)} columns of files; expected one column of pictures or clips, as bytes or as "
            f"{{bytes, path}}, or one of them named 'image'. Its columns: {types}."
        )
    return chosen[0]


def _are_clips(rows: Rows, column: str, features: Features) -> bool:
    if "_type" in features.get(column, {}):
        return features[column]["_type"] == "Video"
    if not sum(rows.sizes[:1]) or not pa.types.is_struct(rows.schema.field(column).type):
        return False
    first = rows.group(0, column)[0]
    path = first["path"].as_py() if "path" in first else None
    return bool(path) and suffix(PurePosixPath(path)) in CLIPS - {".gif"}
