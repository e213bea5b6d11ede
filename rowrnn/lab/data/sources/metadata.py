"""Pictures or clips with a table beside them: `metadata.jsonl` or `metadata.csv`, one a split or one for all."""

import ast
import csv
import io
import json
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rowrnn.errors import InputError, reason
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.class_folders import kinds_of
from rowrnn.lab.data.sources.files import composed, left_out, relative, some, walk
from rowrnn.lab.data.sources.found import Found

NAMES = ("metadata.jsonl", "metadata.csv")
TARGETS = ("label", "objects", "mask")  # of which a picture has one
Row = dict[str, Any]


def metadata_in(folder: Path) -> Path | None:
    """Returns the metadata file of a folder; None where it has none.

    Raises:
        InputError: if it has both kinds.
    """
    files = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(files) > 1:
        raise InputError(f"{folder} has both {' and '.join(NAMES)}; expected one of them.")
    return files[0] if files else None


def read_metadata(place: Path, roots: Mapping[str, Path], tables: Mapping[str, Path]) -> Found:
    """Lists the files that metadata name, with their columns; rows of the same file are several texts of it.

    Args:
        place: the data set, for messages and names.
        roots: the folder of each split.
        tables: the metadata file of each split, the same file where there is one for all.

    Raises:
        InputError: if a row is broken or names no file that is there, a file has no row, or rows of the same file
            contradict each other.
    """
    splits: dict[str, list[Item]] = {}
    media: list[Path] = []
    others: list[Path] = []
    for table in dict.fromkeys(tables.values()):
        below = table.parent
        tree = walk(below)
        others += [path for path in tree.others if path not in tables.values()]
        frames = {relative(path, below): path for path in tree.frames}
        files = {relative(path, below): path for path in [*tree.media, *tree.pictures_of_frames()]}
        rows = _rows_by_file(table, {**files, **frames})
        used = {name: frames.get(name) or files[name] for name in rows}
        media += used.values()
        inside = {path for name, path in frames.items() if name in rows}
        _check_all_named(
            table, [name for name, path in files.items() if name not in used and path.parent not in inside]
        )
        for name, path in used.items():
            split = next((split for split, root in roots.items() if path.is_relative_to(root)), None)
            if split is None:
                raise InputError(f"{path} of {table} is in none of the splits {some([*roots.values()])}.")
            splits.setdefault(split, []).append(Item(relative(path, place), path, columns=rows[name]))
    named = ", ".join(dict.fromkeys(table.name for table in tables.values()))
    return Found(str(place), named, splits, kinds_of(place, media), notes=left_out(others, place))


def _rows_by_file(table: Path, known: Mapping[str, Path]) -> dict[str, Row]:
    """Returns the columns of each file that a table names, by its name in `known`."""
    found: dict[str, Row] = {}
    lost: list[str] = []
    for line, row in rows_of(table):
        name = row.pop("file_name", None)
        if not isinstance(name, str) or not name:
            columns = ", ".join(map(str, row)) or "none"
            raise InputError(
                f"Line {line} of {table} has no 'file_name'; expected the path of its file below {table.parent}. Its "
                f"other columns: {columns}."
            )
        short = composed(name.replace("\\", "/")).removeprefix("./").rstrip("/")
        if short not in known:
            lost.append(f"{name} (line {line})")
        elif short in found:
            _add_text(found[short], row, f"{name} in line {line} of {table}")
        else:
            found[short] = row
    if lost:
        raise InputError(
            f"{len(lost):,} rows of {table} name files that are no picture or clip below {table.parent}: {some(lost)}. "
            "Expected a file for each row; mend the names, or take the rows out."
        )
    if not found:
        raise InputError(f"{table} has no rows; expected one for each picture or clip.")
    return found


def _add_text(row: Row, another: Row, name: str) -> None:
    """Adds the text of another row of the same file, and numbers that differ, as that of the row."""
    for column, value in another.items():
        if row.get(column) == value:
            continue
        known = isinstance(value, str | int | float) and isinstance(row.get(column), str | int | float | list)
        if column in TARGETS or not known:
            raise InputError(
                f"{name} has the {column} {value!r}, and {row.get(column)!r} in an earlier row of the same file. "
                "Expected rows of one file to differ in their texts and numbers only."
            )
        texts = row[column]
        row[column] = [*(texts if isinstance(texts, list) else [texts]), value]


def _check_all_named(table: Path, without: list[str]) -> None:
    if without:
        raise InputError(
            f"{len(without):,} files below {table.parent} have no row in {table.name}: {some(without)}. Expected a row "
            "for each picture or clip; add rows, or move these files away."
        )


def rows_of(table: Path) -> list[tuple[int, Row]]:
    """Returns the rows of a metadata file, each with the number of its line.

    Raises:
        InputError: if it is not UTF-8, or a line is not what the file's header or JSON lets expect.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as UTF-8 text ({reason(error)}).") from error
    return _rows_of_csv(table, text) if table.suffix.lower() == ".csv" else _rows_of_json(table, text)


def _rows_of_json(table: Path, text: str) -> list[tuple[int, Row]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f'Line {number} of {table} is not JSON: {error.msg} at column {error.colno}. Expected {{"file_name": '
                f'"a.png", …}} in each line, found {line[:60]!r}.'
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of {table} is {line[:60]!r}; expected an object in braces in each line.")
        rows.append((number, row))
    return rows


def _rows_of_csv(table: Path, text: str) -> list[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
    except csv.Error as error:
        raise InputError(f"The first line of {table} is broken: {error}.") from error
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"The first line of {table} names {', '.join(map(repr, twice))} twice; expected each once.")
    if "file_name" not in columns:
        raise InputError(
            f"The first line of {table} names no column 'file_name', only {', '.join(map(repr, columns)) or 'nothing'};"
            " expected a header such as file_name,label with commas between."
        )
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"Line {reader.line_num} of {table} has not {len(columns)} values as its header has.")
            rows.append((reader.line_num, {name: _value(name, value) for name, value in row.items()}))
    except csv.Error as error:
        raise InputError(f"Line {reader.line_num} of {table} is broken: {error}.") from error
    return rows


def _value(column: str, value: str) -> Any:
    """Returns the value of a cell; boxes, and lists of texts, are JSON; lists may be as Python or NumPy write them."""
    if not (column == "objects" or value.startswith(('["', "['"))):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return (_list_of_python(value) if column != "objects" else None) or value


def _list_of_python(value: str) -> list[str] | None:
    """Returns the strings of a list, as "['a', 'b']", or of an array, "['a' 'b']"; None for anything else."""
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(value).readline)]
        strings = [ast.literal_eval(token.string) for token in tokens if token.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    between = {token.string.strip() for token in tokens if token.type != tokenize.STRING}
    return strings if between <= {"[", "]", ",", ""} and all(isinstance(one, str) for one in strings) else None
