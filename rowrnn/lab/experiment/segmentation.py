"""Segmenters in an experiment: data, task, scores and card."""

from functools import partial
from typing import Any

from flax import nnx

from rowrnn.lab.data import Augmentation
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.experiment.contender import Examined, Trial
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.report.columns import model_table
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.masks.files import MaskSet, masks_of
from rowrnn.lab.tasks.masks.task import loss, mean_iou, otsu, overlap, probabilities, scores
from rowrnn.lab.training import Task
from rowrnn.models.segmenter import Segmenter, UNet
from rowrnn.saving.card import Card

MODELS = {"renet": "ReNet", "unet": "U-Net"}
SHOWN = 6  # test pictures in the record, evenly spaced
PROTOCOL = {
    "iou": "intersection over union of the objects' pixels, of each test picture or tile, mean over them; 1 where both "
    "masks are empty; dice: likewise the Dice coefficient",
    "validation": "iou of the validation pictures; it chooses the epoch",
    "test": "scored once, at the end, on every test picture",
    "otsu": "Otsu's threshold of each picture's grey values; the smaller part is the object",
}


class SegmentationStudy(Study[Any]):
    """A study of segmenters; its options have `tile`, `dropout`, `augmentation` and `training`.

    Its first two columns are IoU and Dice.
    """

    protocol = PROTOCOL

    def __init__(self, options: Any, data: MaskSet) -> None:
        super().__init__(options, data)
        self.floats = data.preprocessing.to_floats

    @classmethod
    def load(cls, options: Any) -> MaskSet:
        source = options.training.source
        data = masks_of(source.listing("masks"), colour=source.colour, tile=options.tile)
        terminal().print(data.source, markup=False)
        return data

    def task(self) -> Task:
        """Returns the task of all models."""
        augmentation: Augmentation = self.options.augmentation
        outside = self.floats(self.data.preprocessing.surroundings()[None, None, None])[0, 0, 0]
        objective = partial(loss, to_floats=self.floats, augmentation=augmentation, outside=outside)
        score = partial(mean_iou, to_floats=self.floats)
        return Task(objective, score, self.data.train, self.data.validation, "iou", ".4f")

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Segmenter | UNet:
        """Builds a segmenter of `width` features."""
        channels = self.data.train.images.shape[3]
        return {"renet": Segmenter, "unet": UNet}[name](channels, width, dropout=self.options.dropout, rngs=rngs)

    def setting(self) -> Setting:
        iou, dice = overlap(otsu(self.data.test.images), self.data.test.masks)
        self.otsu = {"iou": float(iou.mean()), "dice": float(dice.mean())}
        return Setting({"baselines": {"otsu": self.otsu}})

    def table(self, record: Record) -> list[list[str]]:
        """Returns scores and cost of each model, and the scores of Otsu's threshold."""
        table = model_table(self.heading, record.summary, self.columns)
        scores = [f"{100 * score:.2f}" for score in self.otsu.values()]
        return [*table, ["Otsu's threshold", *scores, *["-"] * (len(self.columns) - len(scores))]]

    def examine(self, trial: Trial) -> Examined:
        test = self.data.test
        found = trial.evaluate(partial(scores, to_floats=self.floats), test).mean(axis=1)
        chosen = evenly(len(test.images), SHOWN)
        shown = type(test)(test.images[chosen], test.masks[chosen])
        of_shown = trial.evaluate(lambda model, batch: probabilities(model, self.floats(batch.images)), shown)
        arrays = {"images": shown.images, "masks": shown.masks, "probabilities": of_shown[0]}
        measured = {name: interval(found[:, place]) for place, name in enumerate(("iou", "dice"))}
        return Examined(measured, arrays, (self.floats(test.images[:1]),))

    def card(self, trial: Trial) -> Card:
        height, width, channels = self.data.train.images.shape[1:]
        return Card(
            task="masks",
            title=trial.contender.title,
            preprocessing=self.data.preprocessing,
            inputs=(f"float32[b,{height},{width},{channels}]",),
            data=self.data.source,
        )
