"""Learns to find the objects of own pictures: one detector of pictures with boxes.

rowrnn train boxes FOLDER
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rowrnn.lab.experiment.contender import Contender
from rowrnn.lab.experiment.detection import COLUMNS, MODELS, DetectionOptions, DetectionStudy
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.lab.experiment.options import Group, TrainingOptions
from rowrnn.lab.own.data_options import BoxData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS


@dataclass(frozen=True)
class Options:
    """Trains a model that finds the objects of own pictures."""

    model: Annotated[str, KnownNames(MODELS)] = "gru"
    """Model: gru or lstm, which say box after box; dense, which asks every place of a picture on its own."""
    params: Count = 300_000
    """Number of parameters, about; the width follows from it."""
    detection: Group[DetectionOptions] = DetectionOptions()
    training: Group[TrainingOptions] = OwnTraining(
        epochs=60, seeds=1, batch=8, optimizer="muon", learning_rate=8e-3, averaging=0.99, patience=15, source=BoxData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"params": 60_000, "epochs": 4}}


class OwnBoxes(DetectionStudy):
    """One detector of the objects of own pictures."""

    name = "train_boxes"
    columns = (*COLUMNS, PARAMETERS)

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train.images))

    def contenders(self) -> Sequence[Contender]:
        return [self.contender(self.options.model, budget=self.options.params, tolerance=1.0)]
