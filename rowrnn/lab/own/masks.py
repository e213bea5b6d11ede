"""Learns to paint the objects of own pictures: one model of pictures with masks.

rowrnn train masks FOLDER
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from rowrnn.lab.data import Augmentation
from rowrnn.lab.experiment.contender import Contender
from rowrnn.lab.experiment.option_checks import Count, KnownNames, Probability
from rowrnn.lab.experiment.options import Group, TrainingOptions, Unnamed
from rowrnn.lab.experiment.segmentation import MODELS, SegmentationStudy
from rowrnn.lab.own.data_options import MaskData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column


@dataclass(frozen=True)
class Options:
    """Trains a model that says which pixels of own pictures belong to an object."""

    model: Annotated[str, KnownNames(MODELS)] = "renet"
    """Model: renet, cells that sweep over the picture from all four sides; unet, a U-Net of convolutions."""
    params: Count = 100_000
    """Number of parameters, about; the width follows from it."""
    tile: Count = 128
    """Height and width of the tiles that pictures of different or large sizes are cut into."""
    dropout: Probability = 0.1
    """Probability with which a feature is dropped while training."""
    augmentation: Unnamed[Augmentation] = Augmentation(rotation=15.0, zoom=0.2)
    """Random changes of the training pictures, beside turning and mirroring."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=40,
        seeds=1,
        batch=8,
        optimizer="muon",
        learning_rate=8e-3,
        averaging=0.99,
        patience=10,
        source=MaskData(),
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"params": 15_000, "epochs": 2}}


class OwnMasks(SegmentationStudy):
    """One segmenter of own pictures, and Otsu's threshold."""

    name = "train_masks"
    columns = (score_column("IoU %", "iou"), score_column("Dice %", "dice"), PARAMETERS)

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train.images))

    def contenders(self) -> Sequence[Contender]:
        name, build = self.options.model, partial(self.build, self.options.model)
        return [Contender(name, MODELS[name], build, self.task(), budget=self.options.params, tolerance=1.0)]
