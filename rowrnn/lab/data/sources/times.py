"""The column of times of a table: which it is, and whether its rows follow one another in equal steps."""

from calendar import monthrange
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.series import Series

MONTH = (timedelta(days=28), timedelta(days=31))
"""Lengths of months, which are equal steps where each begins on the same day."""


def times_of(series: Series, path: str, name: str | None = None) -> tuple[str, list[datetime] | None]:
    """Returns the name of the column of times and the time of each row; "" and None where there is none.

    Args:
        series: the table.
        path: its file, for messages.
        name: name of the column; the first whose cells are all times in ISO 8601, as 2016-07-01 05:00, where not given.

    Raises:
        InputError: if there is no such column, a cell of it is no time, as one of a column of others that are, or rows
            are unsorted, repeated or missing.
    """
    if name is not None and name not in series.times:
        there = ", ".join(series.times) or "none"
        raise InputError(f"{path} has no column of times {name!r}; its columns of text are: {there}.")
    parsed = {column: [_time(cell) for cell in series.times[column]] for column in ([name] if name else series.times)}
    for column, found in parsed.items():
        times = [time for time in found if time is not None]
        if len(times) == len(found):
            _check_steps(times, path, column)
            return column, times
    for column, found in parsed.items():
        if name is not None or any(found):
            wrong = found.index(None)
            raise InputError(
                f"Row {wrong + 1} of {path} has {series.times[column][wrong]!r} in {column!r}; expected a time in ISO "
                "8601, as 2016-07-01 05:00."
            )
    return "", None


def following(times: Sequence[datetime], count: int) -> list[datetime]:
    """Returns the times after the last of two or more, in the steps of the others: of months on the same day.

    A month that does not have that day gets its last one.
    """
    step, last = times[1] - times[0], times[-1]
    if not _are_months(times):
        return [last + step * (number + 1) for number in range(count)]
    dates = [(last.year + month // 12, month % 12 + 1) for month in range(last.month, last.month + count)]
    return [last.replace(year=y, month=m, day=min(last.day, monthrange(y, m)[1])) for y, m in dates]


def _are_months(times: Sequence[datetime]) -> bool:
    steps = [later - earlier for earlier, later in pairwise(times)]
    return all(MONTH[0] <= step <= MONTH[1] for step in steps) and len({time.day for time in times}) == 1


def _time(cell: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cell.strip())
    except ValueError:
        return None


def _check_steps(times: Sequence[datetime], path: str, column: str) -> None:
    if len({time.tzinfo is None for time in times}) > 1:
        raise InputError(f"Some times in {column!r} of {path} have a zone and others none: give all or none of them.")
    steps = [later - earlier for earlier, later in pairwise(times)]
    for number, step in enumerate(steps):
        if step <= timedelta(0):
            relation = "repeats" if not step else "is before"
            raise InputError(
                f"Row {number + 2} of {path}, {times[number + 1]}, {relation} row {number + 1}, {times[number]}: sort "
                "the rows by time, with one row for each."
            )
    of_months = _are_months(times)
    usual = sorted(steps)[len(steps) // 2] if steps else timedelta(0)
    for number, step in enumerate(steps):
        if step != usual and not of_months:
            raise InputError(
                f"From row {number + 1} of {path}, {times[number]}, to the next, {times[number + 1]}, are {step}, and "
                f"usually {usual}: rows must follow in equal steps. Fill the gap, as by interpolation, or cut there."
            )
