"""Answers about tables over time: how each goes on."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.series import Series, parse_series
from rowrnn.lab.data.sources.times import following, times_of
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.series.examples import check_numbers, numbers_of, rows_with
from rowrnn.lab.tasks.series.pictures import draw_forecast
from rowrnn.saving import Card
from rowrnn.saving.series_columns import DAY, SeriesColumns

MONTH = 28 * DAY  # from which on steps of a calendar differ in seconds


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns how each table goes on; one that cannot be read gets an answer with the error."""
    columns, answers = _columns(card), []
    for item in items:
        try:
            past, coming, expected = _forecast(model, columns, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        rows = [
            {
                "row": row + 1,
                "time": time,
                "target": target,
                **dict(zip(("expected", "low", "high"), map(float, expected[number, row]), strict=True)),
            }
            for row, time in enumerate(coming)
            for number, target in enumerate(columns.targets)
        ]
        first = "; ".join(f"{row['target']} {row['expected']:.4g}" for row in rows[: len(columns.targets)])
        given = {target: past[:, number].tolist() for number, target in enumerate(columns.targets)}
        answers.append(Answer(item.name, f"next: {first}", details={"forecast": rows, "read": given}, comes_next=True))
    return answers


def _columns(card: Card) -> SeriesColumns:
    if card.series is None:
        raise InputError("The model's card does not say which columns it reads: give rowrnn.save one that does.")
    return card.series


def _forecast(
    model: Any, columns: SeriesColumns, item: Item
) -> tuple[Float64[np.ndarray, "t n"], list[str], Float64[np.ndarray, "targets horizon 3"]]:
    """Returns the rows that are read, the times of the coming ones, and the forecast of each target."""
    table = parse_series(item.read(), item.name)
    numbers, targets = numbers_of(table, columns.names, item.name), len(columns.targets)
    rows = rows_with(numbers, targets)
    if rows < columns.lookback:
        raise InputError(f"{item.name} has {rows:,} rows, and the model reads {columns.lookback:,}: give more rows.")
    first = rows - columns.lookback
    past = numbers[first:rows]
    check_numbers(past, columns.names, item.name, first)
    times = _times(table, columns, item.name)
    coming = _coming(times, rows, columns)
    ahead = np.zeros((columns.horizon, len(columns.names)))
    if columns.known:
        there = numbers[rows : rows + columns.horizon, -len(columns.known) :]
        if len(there) < columns.horizon or np.isnan(there).any():
            raise InputError(
                f"{item.name} has {len(there):,} rows after the last that has {columns.targets[0]!r}; expected "
                f"{columns.horizon:,}, with a number in each of {', '.join(columns.known)}, which are known ahead."
            )
        ahead[:, -len(columns.known) :] = there
    read = columns.scaled(past, times[first:rows] if times else None)
    others = np.broadcast_to(read[:, targets:], (targets, len(read), read.shape[1] - targets))
    given = np.concatenate([read[:, :targets].T[..., None], others], axis=2)
    known = None
    if columns.ahead:
        of_coming = columns.scaled(ahead, coming)[:, -columns.ahead :]
        known = np.broadcast_to(of_coming, (targets, *of_coming.shape))
    answers = np.asarray(_answers(model, given, known))
    return past, [str(time) for time in coming or [""] * columns.horizon], columns.unscaled(answers)


@jax.jit
def _answers(model: Any, past: Any, ahead: Any) -> Any:
    return model(past, ahead)


def _times(table: Series, columns: SeriesColumns, name: str) -> list[datetime] | None:
    """Returns the time of each row, where the model knows of times.

    Raises:
        InputError: if they do not follow in the steps that the model has learnt.
    """
    if not columns.time:
        return None
    _, times = times_of(table, name, columns.time)
    step = (times[1] - times[0]).total_seconds() if times and len(times) > 1 else None
    if columns.step is not None and columns.step < MONTH and step != columns.step:
        raise InputError(
            f"From one row of {name} to the next are {timedelta(seconds=step or 0)}, and the model has learnt steps of "
            f"{timedelta(seconds=columns.step or 0)}."
        )
    return times


def _coming(times: list[datetime] | None, rows: int, columns: SeriesColumns) -> list[datetime] | None:
    """Returns the times of the coming rows: those of the table, and for those that it does not have in equal steps."""
    if not times or len(times) < 2:
        return None
    there = times[rows : rows + columns.horizon]
    return [*there, *following(times[: rows + len(there)], columns.horizon - len(there))]


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws each target: what was read, and how it goes on."""
    del model, item
    columns = _columns(card)
    forecast, read = answer.details["forecast"], answer.details["read"]
    of_targets = {
        target: (
            np.array(read[target]),
            np.array([[row["expected"], row["low"], row["high"]] for row in forecast if row["target"] == target]),
        )
        for target in columns.targets
    }
    return draw_forecast(of_targets)
