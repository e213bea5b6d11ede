"""Learns what comes next in own films: one forecaster of frames.

rowrnn train frames FOLDER
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rowrnn.lab.experiment.contender import Contender
from rowrnn.lab.experiment.films import CELLS, COLUMNS, FilmStudy
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
    given: Count = 6
    """Frames that are given."""
    ahead: Count = 6
    """Frames that are predicted."""
    patch: Count = 8
    """Side of a patch, in pixels; a patch is one position of the cell's input."""
    reach: Count = 4
    """Pixels that things move from one frame to the next, at most; even."""
    motions: Count = 2
    """Different motions within a patch."""
    crop: Count = 112
    """Height and width of the parts of frames that are trained on, at most."""
    levels: tuple[int, int] = (0, 255)
    """Values from 0 to 255 that become black and white."""
    thresholds: tuple[float, ...] = (0.25, 0.5)
    """Values in [0, 1] from which on a pixel counts as bright, in the success of the table."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=30, seeds=1, batch=8, learning_rate=4e-3, averaging=0.99, patience=8, source=FilmData()
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
