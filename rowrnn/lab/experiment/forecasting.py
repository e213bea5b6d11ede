"""Forecasters of a table over time in an experiment: options, data, task, and what is scored."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.experiment.contender import Examined, Trial
from rowrnn.lab.experiment.option_checks import Count, Probability
from rowrnn.lab.experiment.study import Study
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.series.examples import SeriesSet, series_of
from rowrnn.lab.tasks.series.models import build
from rowrnn.lab.tasks.series.task import errors, loss, negative_mse, repeated_season, windows
from rowrnn.lab.training import Task
from rowrnn.saving.card import Card

SHOWN = 6
"""Windows of the test in the record, evenly spaced."""
PROTOCOL = {
    "values": "of each column its mean is subtracted and it is divided by its standard deviation, of the training rows",
    "validation": "mean squared error of all windows of the validation rows; it chooses the epoch",
    "test": "scored once, at the end: every window whose coming steps are test rows, all targets",
    "mse": "mean squared error of the expected values; mae: mean absolute error",
    "inside": "share of the values that lie between the quantiles of 10 and 90 %: 80 % where they are right",
    "repeated": "what was one season before, again and again; last value: the last value, again and again",
}


@dataclass(frozen=True)
class ForecastOptions:
    """What of a table is read, and how."""

    lookback: Count = 336
    """Rows that are read."""
    patch: Count = 24
    """Rows that are one step of a layer, as the hours of a day; the rows that are read are whole patches."""
    season: Count = 24
    """Rows of a season, after which the baseline repeats what was."""
    blocks: Count = 1
    """Residual blocks of a recurrent model; a Transformer has twice as many."""
    dropout: Probability = 0.2
    """Probability with which a feature is dropped while training."""
    targets: tuple[str, ...] = ()
    """Columns that are forecast; all of numbers but the known ones where none is given."""
    known: tuple[str, ...] = ()
    """Columns that are known of the coming rows too."""
    date_column: str | None = None
    """Column of the times; found where not given."""
    calendar: bool = True
    """Read what the clock and the calendar say of the times, and know it ahead."""
    parts: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of the rows for training, validation and test; or numbers of rows."""

    def load(self, place: str, horizon: int) -> SeriesSet:
        """Reads a table, and prints what was decided.

        Raises:
            InputError: as `series_of`, and if the rows that are read are no whole patches, or fewer than a season.
        """
        if self.lookback % self.patch or self.lookback < self.season:
            raise InputError(
                f"--lookback is {self.lookback}; expected a multiple of --patch, {self.patch}, and at least --season, "
                f"{self.season}."
            )
        data = series_of(
            place,
            lookback=self.lookback,
            horizon=horizon,
            date_column=self.date_column,
            targets=self.targets,
            known=self.known,
            parts=self.parts,
            calendar=self.calendar,
        )
        terminal().print(f"{data.source}.", markup=False)
        return data


class ForecastStudy(Study[Any]):
    """A study of forecasters; its options have a group `forecast` of `ForecastOptions`.

    Its first two columns are the squared and the absolute error.
    """

    protocol = PROTOCOL

    def __init__(self, options: Any, data: SeriesSet) -> None:
        super().__init__(options, data)
        self.values = jnp.asarray(data.values)

    def task(self, horizon: int) -> Task:
        """Returns the task of forecasting so many rows."""
        how = {"values": self.values, "columns": self.data.columns, "horizon": horizon}
        train, validation = (self.data.starts(part, horizon) for part in ("train", "validation"))
        return Task(partial(loss, **how), partial(negative_mse, **how), train, validation, "negative_mse", ".4f")

    def build(self, name: str, horizon: int, width: int, rngs: nnx.Rngs) -> Any:
        """Builds a forecaster with `width` features."""
        how = self.options.forecast
        sizes = {"patch": how.patch, "blocks": how.blocks, "dropout": how.dropout}
        return build(name, width, self.data.columns, horizon, **sizes, rngs=rngs)

    def baselines(self, horizon: int) -> dict[str, dict[str, float]]:
        """Returns the errors of what was a season ago, and of the last value."""
        starts = self.data.starts("test", horizon)
        found = {}
        for name, season in (("season repeated", self.options.forecast.season), ("last value repeated", 1)):
            squared, absolute = repeated_season(self.data.values, starts, self.data.columns, horizon, season)
            found[name] = {"mse": float(squared.mean()), "mae": float(absolute.mean())}
        return found

    def scored(self, trial: Trial, horizon: int) -> Examined:
        """Scores a forecaster on the windows of the test rows."""
        columns, starts = self.data.columns, self.data.starts("test", horizon)
        how = {"values": self.values, "columns": columns, "horizon": horizon}
        found = trial.evaluate(partial(errors, **how), starts)
        means = found.mean(axis=(1, 3))
        scores = {name: interval(means[:, place]) for place, name in enumerate(("mse", "mae", "inside"))}
        shown = starts[evenly(len(starts), SHOWN)]
        given = windows(self.values, jnp.asarray(shown), columns, horizon)
        model = trial.model()
        answers = np.asarray(jax.jit(lambda model, *read: model(*read))(model, given.past, given.ahead))
        arrays = {
            "errors": found.mean(axis=1),
            "past": np.asarray(given.past[..., 0]).reshape(len(shown), -1, columns.lookback),
            "truth": np.asarray(given.truth).reshape(len(shown), -1, horizon),
            "answers": answers.reshape(len(shown), -1, horizon, 3),
        }
        examples = [np.asarray(a[:1]) for a in (given.past, given.ahead) if a is not None]
        return Examined(scores, arrays, examples)

    def card(self, trial: Trial) -> Card:
        horizon = trial.contender.about.get("horizon", self.data.columns.horizon)
        columns = dataclasses.replace(self.data.columns, horizon=horizon)
        inputs = [f"float32[b,{columns.lookback},{1 + len(columns.seen) + columns.ahead}]"]
        if columns.ahead:
            inputs.append(f"float32[b,{horizon},{columns.ahead}]")
        title, source = trial.contender.title, self.data.source
        return Card(task="series", title=title, series=columns, inputs=tuple(inputs), data=source)

    def rows_of_baselines(self, baselines: Mapping[str, Mapping[str, float]], ending: str = "") -> list[list[str]]:
        """Returns a row of the table for each baseline, of what `baselines` returned, with an ending of its name."""
        others = ["-"] * (len(self.columns) - 2)
        return [
            [f"{name}{ending}", f"{errors['mse']:.3f}", f"{errors['mae']:.3f}", *others]
            for name, errors in baselines.items()
        ]
