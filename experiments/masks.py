"""Which pixels belong to an object?

ReNet layers, recurrent cells that sweep over a picture from all four sides, and a U-Net of convolutions paint the
objects of a picture, at one number of parameters. Beside them stands Otsu's threshold, which learns nothing.

    python experiments/masks.py --data FOLDER           one seed of each; FOLDER has SPLIT/images and SPLIT/masks
    python experiments/masks.py --data FOLDER --full    three seeds
    python experiments/masks.py --data FOLDER --quick   minutes: a small ReNet
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from rowrnn import lab
from rowrnn.lab.experiment.segmentation import MODELS, SegmentationStudy
from rowrnn.lab.own.data_options import MaskData, OwnTraining


@dataclass(frozen=True)
class Options:
    """Trains segmenters of ReNet layers and of convolutions."""

    models: Annotated[tuple[str, ...], lab.KnownNames(MODELS)] = tuple(MODELS)
    """Models: renet, ReNet layers; unet, a U-Net."""
    params: lab.Count = 100_000
    """Parameter budget of each model, met as nearly as whole widths allow."""
    tile: lab.Count = 128
    """Height and width of the tiles that pictures of different or large sizes are cut into."""
    dropout: lab.Probability = 0.1
    """Probability with which a feature is dropped while training."""
    augmentation: lab.Unnamed[lab.Augmentation] = lab.Augmentation(rotation=15.0, zoom=0.2)
    """Random changes of the training pictures, beside turning and mirroring."""
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=30, seeds=1, batch=8, optimizer="muon", learning_rate=8e-3, averaging=0.99, source=MaskData()
    )


PRESETS = {"quick": {"models": ("renet",), "params": 15_000, "epochs": 4}, "full": {"seeds": 3}}
TOLERANCE = 0.25
"""Widths are whole numbers, and of a small model a feature more is a third of the parameters."""


class Masks(SegmentationStudy):
    """Segmenters of ReNet layers and of convolutions, and Otsu's threshold."""

    name = "masks"
    columns = (
        lab.score_column("IoU %", "iou"),
        lab.score_column("Dice %", "dice"),
        lab.PARAMETERS,
        lab.WIDTH,
        lab.SECONDS,
        lab.MEMORY,
    )

    def contenders(self) -> Sequence[lab.Contender]:
        task, budget = self.task(), self.options.params
        return [
            lab.Contender(name, MODELS[name], partial(self.build, name), task, budget=budget, tolerance=TOLERANCE)
            for name in self.options.models
        ]


if __name__ == "__main__":
    lab.run(Masks, Options, PRESETS)
