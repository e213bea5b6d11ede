"""Learns to find the objects of own pictures: one detector of pictures with boxes.

rowrnn train boxes FOLDER
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rowrnn.lab.experiment.contender import Contender
from rowrnn.lab.experiment.detection import MODELS, DetectionStudy, worst_class
from rowrnn.lab.experiment.option_checks import Count, KnownNames, Probability
from rowrnn.lab.experiment.options import Group, TrainingOptions, Unnamed
from rowrnn.lab.own.data_options import BoxData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.tasks.boxes.augmentation import BoxAugmentation
from rowrnn.lab.tasks.boxes.task import ORDERS


@dataclass(frozen=True)
class Options:
    """Trains a model that finds the objects of own pictures."""

    model: Annotated[str, KnownNames(MODELS)] = "gru"
    """Model: gru or lstm, which say box after box; dense, which asks every place of a picture on its own."""
    params: Count = 300_000
    """Number of parameters, about; the width follows from it."""
    order: Annotated[str, KnownNames(ORDERS)] = "any"
    """Order in which a decoder learns to say objects: any, whichever is surest; rows, row by row; large, by size."""
    dropout: Probability = 0.1
    """Probability with which a feature of the map is dropped while training."""
    augmentation: Unnamed[BoxAugmentation] = BoxAugmentation()
    """Random changes of the training pictures."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=60, seeds=1, batch=8, learning_rate=2e-3, averaging=0.99, patience=15, source=BoxData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"params": 60_000, "epochs": 4}}


class OwnBoxes(DetectionStudy):
    """One detector of the objects of own pictures."""

    name = "train_boxes"
    columns = (
        score_column("AP at\n.5, %", "ap_50"),
        score_column("AP at\n.5 to .95", "ap"),
        ("worst class,\nAP at .5", worst_class),
        score_column("all counted\nright %", "count"),
        PARAMETERS,
    )

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train.images))

    def contenders(self) -> Sequence[Contender]:
        return [self.contender(self.options.model, budget=self.options.params, tolerance=1.0)]
