"""Which objects are in a picture, and where?

A recurrent decoder looks at the feature map of a picture and says its objects one after another, each with class and
box, until it is done; a dense detector asks every place of the map on its own. Both have the same convolutions and the
same number of parameters. The pictures are scenes of one to eight digits, or own ones.

    python experiments/boxes.py                     one seed of each, on scenes of digits
    python experiments/boxes.py --full              three seeds: the committed results
    python experiments/boxes.py --data FOLDER       own pictures: images with metadata.jsonl, a column objects
    python experiments/boxes.py --quick             minutes: a small GRU
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from rowrnn import lab
from rowrnn.lab.data.load import load
from rowrnn.lab.data.memory_budget import memory_budget
from rowrnn.lab.data.shaping import standardized
from rowrnn.lab.experiment.detection import MODELS, DetectionStudy, worst_class
from rowrnn.lab.own.data_options import BoxData, OwnTraining
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.boxes.augmentation import BoxAugmentation
from rowrnn.lab.tasks.boxes.examples import SIDE, Scenes, digit_scenes
from rowrnn.lab.tasks.boxes.files import BoxSet
from rowrnn.lab.tasks.boxes.task import ORDERS
from rowrnn.saving import Preprocessing

DIGITS = "digits"
SCENES = {"train": 8_000, "validation": 1_000, "test": 2_000}


@dataclass(frozen=True)
class SceneData(BoxData):
    """Pictures with boxes, own or made."""

    data: str = DIGITS
    """The data: digits, made of MNIST; or a folder of pictures with metadata.jsonl beside them, a column objects."""


@dataclass(frozen=True)
class Options:
    """Trains detectors with a recurrent decoder and without memory."""

    models: Annotated[tuple[str, ...], lab.KnownNames(MODELS)] = ("gru", "dense")
    """Models: gru and lstm say box after box; dense asks every place on its own."""
    params: lab.Count = 300_000
    """Parameter budget of each model, met as nearly as whole widths allow."""
    order: Annotated[str, lab.KnownNames(ORDERS)] = "any"
    """Order in which a decoder learns to say objects: any, whichever is surest; rows, row by row; large, by size."""
    dropout: lab.Probability = 0.1
    """Probability with which a feature of the map is dropped while training."""
    augmentation: lab.Unnamed[BoxAugmentation] = BoxAugmentation()
    """Random changes of the training pictures."""
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=20, seeds=1, batch=16, learning_rate=2e-3, averaging=0.99, source=SceneData()
    )


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"models": ("gru",), "params": 60_000, "epochs": 2},
    "full": {"seeds": 3},
}
TOLERANCE = 0.15
"""Widths are whole numbers."""


class BoxStudy(DetectionStudy):
    """Detectors with a recurrent decoder and without memory."""

    name = "boxes"
    columns = (
        lab.score_column("AP at\n.5, %", "ap_50"),
        lab.score_column("AP at\n.5 to .95", "ap"),
        ("worst class,\nAP at .5", worst_class),
        lab.score_column("all counted\nright %", "count"),
        lab.PARAMETERS,
        lab.WIDTH,
        lab.SECONDS,
        lab.MEMORY,
    )

    @classmethod
    def load(cls, options: Options) -> BoxSet:
        source = options.training.source
        if source.data != DIGITS:
            return super().load(options)
        mnist, scenes = load("mnist", None, memory_budget()), {}
        for number, (split, count) in enumerate(SCENES.items()):
            scenes[split] = digit_scenes(number, getattr(mnist, split), count)
        data = digit_set(scenes)
        terminal().print(data.source, markup=False)
        return data

    def contenders(self) -> Sequence[lab.Contender]:
        budget = self.options.params
        return [self.contender(name, budget=budget, tolerance=TOLERANCE) for name in self.options.models]


def digit_set(scenes: dict[str, Scenes]) -> BoxSet:
    """Returns scenes of digits as a set of pictures with boxes."""
    preprocessing = standardized(Preprocessing((SIDE, SIDE)), np.asarray(scenes["train"].images))
    made = ", ".join(f"{len(of.images):,} {split}" for split, of in scenes.items())
    source = f"Scenes of one to eight digits of MNIST of different sizes, {SIDE}x{SIDE} pixels: {made}."
    classes = tuple(map(str, range(10)))
    return BoxSet(DIGITS, **scenes, classes=classes, source=source, preprocessing=preprocessing)


if __name__ == "__main__":
    lab.run(BoxStudy, Options, PRESETS)
