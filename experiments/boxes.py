"""Which objects are in a picture, and where?

A recurrent decoder looks at the feature map of a picture and says its objects one after another, each with class and
box, until it is done; a dense detector asks every place of the map on its own. Both have the same convolutions and the
same number of parameters. The pictures are scenes of one to eight digits, or own ones.

    python experiments/boxes.py                     one seed of each, on scenes of digits
    python experiments/boxes.py --full              three seeds
    python experiments/boxes.py --data FOLDER --mirror --upside-down    own pictures, in which no way is up
    python experiments/boxes.py --quick             minutes: a small GRU
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rowrnn import lab
from rowrnn.lab.data.load import load
from rowrnn.lab.data.memory_budget import memory_budget
from rowrnn.lab.experiment.detection import COLUMNS, MODELS, DetectionOptions, DetectionStudy
from rowrnn.lab.own.data_options import BoxData, OwnTraining
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.boxes.augmentation import BoxAugmentation
from rowrnn.lab.tasks.boxes.digit_scenes import digit_set
from rowrnn.lab.tasks.boxes.files import BoxSet

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
    detection: lab.Group[DetectionOptions] = DetectionOptions(augmentation=BoxAugmentation(mirror=False))
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=16, seeds=1, batch=16, optimizer="muon", learning_rate=8e-3, averaging=0.99, source=SceneData()
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
    columns = (*COLUMNS, lab.PARAMETERS, lab.WIDTH, lab.SECONDS, lab.MEMORY)

    @classmethod
    def load(cls, options: Options) -> BoxSet:
        source = options.training.source
        if source.data != DIGITS:
            return super().load(options)
        data = digit_set(load("mnist", None, memory_budget()), SCENES)
        terminal().print(data.source, markup=False)
        return data

    def contenders(self) -> Sequence[lab.Contender]:
        budget = self.options.params
        return [self.contender(name, budget=budget, tolerance=TOLERANCE) for name in self.options.models]


if __name__ == "__main__":
    lab.run(BoxStudy, Options, PRESETS)
