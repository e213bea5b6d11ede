"""Time series in a CSV file with a header."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from rowrnn.errors import InputError, reason

MISSING = ("", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True)
class Series:
    """Columns of numbers over time.

    Args:
        names: names of the columns of numbers.
        values: `[t, columns]`, NaN where a cell is empty.
        times: by name, columns of text, as of dates.
    """

    names: tuple[str, ...]
    values: Float64[np.ndarray, "t n"]
    times: dict[str, tuple[str, ...]]


def read_series(path: str | Path) -> Series:
    """Reads a CSV file, see `parse_series`.

    Raises:
        InputError: if it cannot be read, and as `parse_series`.
    """
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read as CSV ({reason(error)}).") from error
    return parse_series(content, str(path))


def parse_series(content: bytes, path: str) -> Series:
    """Returns the table in the content of a CSV file: columns whose cells are all numbers or missing, and text.

    A cell is missing that is empty or says so as tables do, by NA, NaN, null or None. A first column without a name
    that numbers the rows, as pandas writes it, is left out.

    Args:
        content: bytes of the file.
        path: its name, for messages.

    Raises:
        InputError: if it is no CSV in UTF-8, has no header, no column of numbers or no rows, a row has another number
            of cells, or a number is infinite.
    """
    try:
        text = content.decode("utf-8-sig")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({reason(error)}).") from error
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != len(header)), None)
    if wrong is not None:
        raise InputError(f"Row {wrong} of {path} has {len(rows[wrong - 1])} cells, and its header {len(header)}.")
    if not rows or len(set(header)) < len(header) or any(map(_is_number, header)):
        raise InputError(f"{path} starts with {header[:5]}; expected a header of different names, and rows.")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    if any(columns.get("") == tuple(map(str, range(first, first + len(rows)))) for first in (0, 1)):
        del columns[""]
    numbers = {name: [_number(cell) for cell in cells] for name, cells in columns.items()}
    names = tuple(name for name, cells in numbers.items() if None not in cells)
    if not names:
        raise InputError(f"{path} has no column of numbers among {', '.join(header)}.")
    values = np.array([numbers[name] for name in names], np.float64).T
    for row, column in np.argwhere(np.isinf(values)):
        raise InputError(f"Row {row + 1} of {path} has {values[row, column]} in {names[column]!r}; expected a number.")
    return Series(names, values, {name: cells for name, cells in columns.items() if name not in names})


def _is_number(cell: str) -> bool:
    number = _number(cell)
    return number is not None and not np.isnan(number)


def _number(cell: str) -> float | None:
    """Returns the number in a cell, NaN for a missing one, None for text."""
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        return None if "_" in cell else float(cell)  # Python takes 1_000 for a number.
    except ValueError:
        return None
