"""The columns of a table over time that a forecaster reads, and what is done to them first."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from rowrnn.errors import InputError

HOUR, DAY = 3600.0, 86400.0
CALENDAR = {
    "hour": (HOUR, lambda time: (time.hour + time.minute / 60) / 24),
    "weekday": (DAY, lambda time: time.weekday() / 7),
    "day of the year": (7 * DAY, lambda time: (time.timetuple().tm_yday - 1) / 366),
}
"""What is told of a time: for steps of at most so many seconds, the share of a turn that has passed."""


@dataclasses.dataclass(frozen=True)
class SeriesColumns:
    """The columns that a forecaster reads, in the order in which it reads them, and what is done to them first.

    Args:
        targets: columns that are forecast, each as a series of its own.
        seen: columns that are known of the past only, and are read beside each series.
        known: columns that are known of the coming steps too.
        calendar: names of `CALENDAR` that are made of the times, as two columns each, and known ahead.
        mean: of each of these columns but the calendar's, over the training part.
        std: likewise; 1 for a column that does not change.
        time: name of the column of times; "" where there is none.
        step: seconds from one row to the next, None where there is no column of times.
        lookback: number of rows that are read.
        horizon: number of rows that are forecast.

    Raises:
        InputError: if there is no target, a column has two parts, or means and columns do not fit.
    """

    targets: tuple[str, ...]
    seen: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    time: str = ""
    step: float | None = None
    lookback: int = 1
    horizon: int = 1

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if not self.targets or twice or len(self.mean) != len(names) or len(self.std) != len(names):
            raise InputError(
                f"A forecaster has at least one target, each column once, and a mean and a deviation of each; not the "
                f"targets {list(self.targets)}, columns {list(names)}, {len(self.mean)} means and {len(self.std)} "
                "deviations."
            )
        if min(self.lookback, self.horizon) < 1 or not set(self.calendar) <= set(CALENDAR):
            raise InputError(
                f"A forecaster reads and forecasts at least one row, and knows of a time {', '.join(CALENDAR)}; not "
                f"{self.lookback} and {self.horizon} rows, and {list(self.calendar)}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of numbers, in order."""
        return (*self.targets, *self.seen, *self.known)

    @property
    def ahead(self) -> int:
        """Number of columns that are known of the coming steps."""
        return len(self.known) + 2 * len(self.calendar)

    def scaled(
        self, values: Float64[np.ndarray, "t columns"], times: Sequence[datetime] | None
    ) -> Float[np.ndarray, "t read"]:
        """Returns what a forecaster reads: the columns with mean 0 and deviation 1, and those of the calendar.

        Args:
            values: the columns of `names`.
            times: the time of each row, where there is a calendar.
        """
        parts = [(values - np.array(self.mean)) / np.array(self.std)]
        for name in self.calendar:
            turn = 2 * np.pi * np.array([CALENDAR[name][1](time) for time in times or ()])
            parts.append(np.stack([np.sin(turn), np.cos(turn)], axis=1))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def unscaled(self, answers: Float[np.ndarray, "targets horizon k"]) -> Float64[np.ndarray, "targets horizon k"]:
        """Returns forecasts of the targets in their own units."""
        count = len(self.targets)
        std, mean = (np.array(numbers[:count], np.float64)[:, None, None] for numbers in (self.std, self.mean))
        return np.asarray(answers, np.float64) * std + mean

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "SeriesColumns":
        """Returns the columns that `dataclasses.asdict` described.

        Raises:
            InputError: if a field is unknown or missing.
        """
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"The columns of a card cannot be read ({error}).") from error
