"""Learns what comes next in own films: one forecaster of frames.

rowrnn train frames FOLDER
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rowrnn.lab.experiment.contender import Contender
from rowrnn.lab.experiment.films import CELLS, COLUMNS, FilmOptions, FilmStudy
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.lab.experiment.options import Group, TrainingOptions
from rowrnn.lab.own.data_options import FilmData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS


@dataclass(frozen=True)
class Options:
    """Trains a model that predicts the next frames of films."""

    model: Annotated[str, KnownNames(CELLS)] = "gru"
    """Convolutional cell: lstm or gru."""
    params: Count = 73_000
    """Number of parameters, about; the channels of its state follow from it."""
    film: Group[FilmOptions] = FilmOptions()
    training: Group[TrainingOptions] = OwnTraining(
        epochs=30, seeds=1, batch=8, optimizer="muon", learning_rate=8e-3, averaging=0.99, patience=8, source=FilmData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"params": 30_000, "given": 4, "ahead": 4, "crop": 64, "epochs": 2}}


class OwnFrames(FilmStudy):
    """One forecaster of own films, and baselines."""

    name = "train_frames"
    columns = (*COLUMNS, PARAMETERS)

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train.frames))

    def contenders(self) -> Sequence[Contender]:
        return [self.contender(self.options.model, budget=self.options.params, tolerance=1.0)]
