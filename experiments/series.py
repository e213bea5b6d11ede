"""What comes next in a table over time?

Forecasters read two weeks of hours, a day as one step of an LSTM, a GRU, a minGRU or a Transformer, as rows of pixels
are read elsewhere; DLinear takes each coming value as a sum of the past ones. Beside them stand what was a day ago, and
the last value.

    python experiments/series.py --data ETTh1.csv --parts 8640 2880 2880           one seed, five horizons
    python experiments/series.py --data ETTh1.csv --parts 8640 2880 2880 --full    three seeds
    python experiments/series.py --data ETTh1.csv --quick                          a minute: a GRU and DLinear, one day
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.lab.experiment.forecasting import ForecastOptions, ForecastStudy
from rowrnn.lab.own.data_options import OwnTraining, SeriesData
from rowrnn.lab.tasks.series.examples import SeriesSet
from rowrnn.lab.tasks.series.models import MODELS


@dataclass(frozen=True)
class Options:
    """Trains forecasters of a table over time that differ in how they read the past."""

    models: Annotated[tuple[str, ...], lab.KnownNames(MODELS)] = ("lstm", "gru", "min_gru", "transformer", "linear")
    """Models: lstm, gru, min_gru, lru, transformer, linear (DLinear)."""
    horizons: tuple[int, ...] = (24, 48, 96, 168, 336)
    """Rows that are forecast: a model for each."""
    hidden: lab.Count = 64
    """Features between the blocks, and size of each cell's state."""
    forecast: lab.Group[ForecastOptions] = ForecastOptions()
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=10, seeds=1, batch=32, learning_rate=1e-3, patience=3, source=SeriesData()
    )


PRESETS = {
    "quick": {"models": ("gru", "linear"), "horizons": (24,), "hidden": 32, "epochs": 3},
    "full": {"seeds": 3},
}


class Series(ForecastStudy):
    """Forecasters with an LSTM, a GRU, a minGRU, a Transformer and a linear map, and what was a day ago."""

    name = "series"
    columns = (
        lab.score_column("MSE", "mse", 3, 1.0),
        lab.score_column("MAE", "mae", 3, 1.0),
        lab.score_column("inside the\ninterval %", "inside", 1),
        lab.PARAMETERS,
        lab.SECONDS,
    )

    @classmethod
    def check(cls, options: Options) -> None:
        if not options.horizons or min(options.horizons) < 1 or len(set(options.horizons)) < len(options.horizons):
            given = " ".join(map(str, options.horizons))
            raise InputError(f"--horizons are {given!r}; expected numbers of rows, each at least 1 and once.")

    @classmethod
    def load(cls, options: Options) -> SeriesSet:
        return options.forecast.load(options.training.source.data, max(options.horizons))

    def contenders(self) -> Sequence[lab.Contender]:
        return [
            lab.Contender(
                name,
                f"{MODELS[name]}, {horizon} rows",
                partial(self.build, name, horizon),
                self.task(horizon),
                width=self.options.hidden,
                about={"horizon": horizon},
            )
            for horizon in self.options.horizons
            for name in self.options.models
        ]

    def setting(self) -> lab.Setting:
        self.repeated = {str(horizon): self.baselines(horizon) for horizon in self.options.horizons}
        return lab.Setting({"baselines": self.repeated})

    def examine(self, trial: lab.Trial) -> lab.Examined:
        return self.scored(trial, trial.contender.about["horizon"])

    def table(self, record: lab.Record) -> list[list[str]]:
        """Returns errors and cost of each model, and the errors of each baseline."""
        table = lab.model_table(self.heading, record.summary, self.columns)
        for horizon, errors in self.repeated.items():
            table += self.rows_of_baselines(errors, f", {horizon} rows")
        return table


if __name__ == "__main__":
    lab.run(Series, Options, PRESETS)
