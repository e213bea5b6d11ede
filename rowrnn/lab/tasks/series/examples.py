"""Examples of time series: windows of a table, with parts of its rows to learn from, to choose by and to be scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.series import Series, read_series
from rowrnn.lab.data.sources.times import times_of
from rowrnn.saving.series_columns import CALENDAR, SeriesColumns


@dataclass(frozen=True)
class SeriesSet:
    """A table over time, scaled, and the rows of each part of it.

    Args:
        columns: what is read of it, and how far.
        values: what a forecaster reads, `[t, read]`.
        parts: first row of each part, and the row after its last: train, validation, test.
        source: where the table comes from and what was decided, in words.
    """

    columns: SeriesColumns
    values: Float[np.ndarray, "t read"]
    parts: dict[str, tuple[int, int]]
    source: str

    def describe(self) -> dict[str, Any]:
        """Returns what the record says of the data."""
        rows = {part: last - first for part, (first, last) in self.parts.items()}
        return {"source": self.source, "targets": list(self.columns.targets), **rows}

    def starts(self, part: str, horizon: int) -> Int[np.ndarray, "n"]:
        """Returns the first row of each window whose coming steps lie in a part; what it reads may lie before.

        Raises:
            InputError: if the part is too short.
        """
        first, last = self.parts[part]
        first = max(0, first - self.columns.lookback)
        count = last - first - self.columns.lookback - horizon + 1
        if count < 1:
            raise InputError(
                f"The rows for {part} are {last - self.parts[part][0]:,}, and {self.columns.lookback:,} are read and "
                f"{horizon:,} forecast: give more rows, or a smaller --lookback or --horizon."
            )
        return np.arange(first, first + count, dtype=np.int32)


def series_of(
    place: str,
    *,
    lookback: int,
    horizon: int,
    date_column: str | None = None,
    targets: Sequence[str] = (),
    known: Sequence[str] = (),
    parts: Sequence[float] = (0.7, 0.1, 0.2),
    calendar: bool = True,
) -> SeriesSet:
    """Reads a table over time from a CSV file.

    Args:
        place: the file.
        lookback: number of rows that are read.
        horizon: number of rows that are forecast.
        date_column: name of the column of times; found where not given.
        targets: names of the columns that are forecast; all of numbers but the known ones where none is given.
        known: names of the columns that are known ahead.
        parts: shares of the rows for training, validation and test; or numbers of rows, of which those after the test
            are not used.
        calendar: whether what the clock and the calendar say of a time is read, and known ahead.

    Raises:
        InputError: if no file is named or it cannot be read, a column is unknown or named twice, a number is missing,
            times do not follow in equal steps, or a part is too short.
    """
    if not place:
        raise InputError("Name the data: a CSV file with a header.")
    table = read_series(place)
    time, times = times_of(table, place, date_column)
    targets, seen = _columns(table, place, targets, known)
    numbers = numbers_of(table, (*targets, *seen, *known), place)
    rows = rows_with(numbers, len(targets))
    check_numbers(numbers[:rows], (*targets, *seen, *known), place)
    bounds = _bounds(rows, parts, place)
    learnt = numbers[: bounds["train"][1]]
    step = (times[1] - times[0]).total_seconds() if times and rows > 1 else None
    columns = SeriesColumns(
        targets=targets,
        seen=seen,
        known=tuple(known),
        calendar=tuple(name for name, (longest, _) in CALENDAR.items() if calendar and step and step <= longest),
        mean=tuple(learnt.mean(axis=0).tolist()),
        # The deviation of a constant is that of its rounding.
        std=tuple(np.where(np.ptp(learnt, axis=0) > 0, learnt.std(axis=0), 1.0).tolist()),
        time=time,
        step=step,
        lookback=lookback,
        horizon=horizon,
    )
    values = columns.scaled(numbers[:rows], times[:rows] if times else None)
    counts = ", ".join(f"{last - first:,} for {part}" for part, (first, last) in bounds.items())
    words = [f"{place}: {rows:,} rows{_span(times)}", f"{counts}; forecast: {', '.join(targets)}"]
    if times is None:
        text = ", ".join(table.times) or "none of text"
        words.append(f"no column of times in ISO 8601 ({text}), so that gaps are not looked for")
    if columns.ahead:
        words.append(f"known ahead: {', '.join((*known, *columns.calendar))}")
    found = SeriesSet(columns, values, bounds, ". ".join(words))
    for part in bounds:
        found.starts(part, horizon)
    return found


def _columns(
    table: Series, place: str, targets: Sequence[str], known: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the columns that are forecast, and those that are known of the past only."""
    named = [*targets, *known]
    numbers_of(table, named, place)
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise InputError(f"The column {twice[0]!r} is named twice among the targets and the known ones.")
    others = tuple(name for name in table.names if name not in named)
    targets, seen = (tuple(targets), others) if targets else (others, ())
    if not targets:
        raise InputError(f"All columns of numbers of {place} are known ahead: there is none to forecast.")
    return targets, seen


def numbers_of(table: Series, names: Sequence[str], place: str) -> Float64[np.ndarray, "t n"]:
    """Returns columns of a table by their names.

    Raises:
        InputError: naming the first that is not there, or that is text.
    """
    for name in names:
        if name not in table.names:
            kind = "numbers only" if name in table.times else "that name"
            raise InputError(f"{place} has no column of {kind}, {name!r}; of numbers are {', '.join(table.names)}.")
    return table.values[:, [table.names.index(name) for name in names]]


def rows_with(numbers: Float64[np.ndarray, "t n"], targets: int) -> int:
    """Returns the number of rows up to the last that has a target: after it there may be rows of what is known.

    Args:
        numbers: the table, targets first.
        targets: number of targets.
    """
    there = np.flatnonzero(~np.isnan(numbers[:, :targets]).all(axis=1))
    return int(there[-1]) + 1 if len(there) else 0


def check_numbers(numbers: Float64[np.ndarray, "t n"], names: Sequence[str], place: str, first: int = 0) -> None:
    """Checks that no number is missing.

    Args:
        numbers: rows of a table.
        names: names of its columns.
        place: its file, for the message.
        first: number of the first row, from 0.

    Raises:
        InputError: naming the first that is.
    """
    missing = np.argwhere(np.isnan(numbers))
    if len(missing):
        row, column = missing[0]
        raise InputError(
            f"{len(missing):,} numbers are missing in {place}, the first in row {first + row + 1} of "
            f"{names[column]!r}: fill them, as by interpolation, or leave that column out of the table."
        )


def _bounds(rows: int, parts: Sequence[float], place: str) -> dict[str, tuple[int, int]]:
    counts = [round(part * rows) for part in parts] if sum(parts) <= 1 + 1e-9 else [int(part) for part in parts]
    if len(parts) != 3 or min(parts) <= 0 or min(counts) < 1 or sum(counts) > rows + 1:
        raise InputError(
            f"--parts are {' '.join(map(str, parts))}, and {place} has {rows:,} rows; expected three shares that add "
            "up to at most 1, or three numbers of rows, for training, validation and test."
        )
    ends = np.minimum(np.cumsum(counts), rows).tolist()
    return dict(zip(("train", "validation", "test"), zip([0, *ends[:2]], ends, strict=True), strict=True))


def _span(times: Sequence[datetime] | None) -> str:
    return f" from {times[0]} to {times[-1]}" if times else ""
