"""Time series in a CSV file with a header."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from rowrnn.errors import InputError


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
    """Reads a CSV file: columns whose cells are all numbers or empty, and the others as text.

    Raises:
        InputError: if it cannot be read, has no header, no column of numbers or no rows, or a row has another number of
            cells.
    """
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error}).") from error
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != len(header)), None)
    if wrong is not None:
        raise InputError(f"Row {wrong} of {path} has {len(rows[wrong - 1])} cells, and its header {len(header)}.")
    if not rows or len(set(header)) < len(header) or any(_number(cell) is not None for cell in header):
        raise InputError(f"{path} starts with {header[:5]}; expected a header of different names, and rows.")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    numbers = {name: [_number(cell) for cell in cells] for name, cells in columns.items()}
    names = tuple(name for name, cells in numbers.items() if None not in cells)
    if not names:
        raise InputError(f"{path} has no column of numbers among {', '.join(header)}.")
    values = np.array([numbers[name] for name in names], np.float64).T
    return Series(names, values, {name: cells for name, cells in columns.items() if name not in names})


def _number(cell: str) -> float | None:
    """Returns the number in a cell, NaN for an empty one, None for text."""
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        return None
