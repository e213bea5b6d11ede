"""Learns to forecast an own table over time: one model of a CSV file.

rowrnn train series FILE
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.forecasting import ForecastOptions, ForecastStudy
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.lab.experiment.options import Group, TrainingOptions
from rowrnn.lab.experiment.study import Setting
from rowrnn.lab.own.data_options import OwnTraining, SeriesData
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, model_table, score_column
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.series.examples import SeriesSet
from rowrnn.lab.tasks.series.models import MODELS


@dataclass(frozen=True)
class Options:
    """Trains a forecaster of an own table over time."""

    model: Annotated[str, KnownNames(MODELS)] = "gru"
    """How the past is read: lstm, gru, min_gru, lru, transformer, linear (DLinear)."""
    horizon: Count = 24
    """Rows that are forecast."""
    hidden: Count = 64
    """Features between the blocks, and size of each cell's state."""
    forecast: Group[ForecastOptions] = ForecastOptions(lookback=168)
    training: Group[TrainingOptions] = OwnTraining(
        epochs=30, seeds=1, batch=32, learning_rate=1e-3, averaging=0.99, patience=5, source=SeriesData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"hidden": 32, "epochs": 3}}


class OwnSeries(ForecastStudy):
    """One forecaster of an own table, and what was a season ago."""

    name = "train_series"
    columns = (
        score_column("MSE", "mse", 3, 1.0),
        score_column("MAE", "mae", 3, 1.0),
        score_column("inside the\ninterval %", "inside", 1),
        PARAMETERS,
    )

    @classmethod
    def load(cls, options: Options) -> SeriesSet:
        return options.forecast.load(options.training.source.data, options.horizon)

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.starts("train", self.options.horizon)))

    def contenders(self) -> Sequence[Contender]:
        name, horizon = self.options.model, self.options.horizon
        build = partial(self.build, name, horizon)
        return [Contender(name, MODELS[name], build, self.task(horizon), width=self.options.hidden)]

    def setting(self) -> Setting:
        self.repeated = self.baselines(self.options.horizon)
        return Setting({"baselines": self.repeated})

    def examine(self, trial: Trial) -> Examined:
        return self.scored(trial, self.options.horizon)

    def table(self, record: Record) -> list[list[str]]:
        table = model_table(self.heading, record.summary, self.columns)
        return [*table, *self.rows_of_baselines(self.repeated)]
