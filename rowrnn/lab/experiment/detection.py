"""Detectors in an experiment: data, tasks, scores and card."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import KnownNames, Probability
from rowrnn.lab.experiment.options import Unnamed
from rowrnn.lab.experiment.study import Study
from rowrnn.lab.report.columns import Column, Row, format_score, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.boxes.augmentation import BoxAugmentation
from rowrnn.lab.tasks.boxes.files import BoxSet, boxes_of
from rowrnn.lab.tasks.boxes.measures import average_precision, best_threshold, counted_right, counts, true_counts
from rowrnn.lab.tasks.boxes.targets import ORDERS
from rowrnn.lab.tasks.boxes.task import changed, dense_loss, found, score, sequential_loss
from rowrnn.lab.training import Task
from rowrnn.models.boxes import Boxes
from rowrnn.models.dense_detector import DenseDetector
from rowrnn.models.sequential_detector import SequentialDetector
from rowrnn.saving.card import Card

MODELS = {"gru": "GRU, box after box", "lstm": "LSTM, box after box", "dense": "dense, without memory"}
SHOWN = 6  # test pictures in the record, evenly spaced
MORE = 1.25  # boxes that are asked for, of the most that a training picture has
PROTOCOL = {
    "ap_50": "average precision at an intersection over union of .5, mean over the classes, by pycocotools; ap: mean "
    "over .5, .55, … .95",
    "validation": "precision: of each validation picture on its own, all classes together, the average precision at "
    ".5; its mean chooses the epoch; of a picture without objects, 1 less the highest score",
    "count": "share of the test pictures of which the objects of every class are counted right; wrong_by_class: mean "
    "error of the number of a class. An object counts from a score on, of each model that with which the fewest are "
    "counted wrong in the validation pictures, by all seeds",
    "test": "scored once, at the end, on every test picture",
}


@dataclass(frozen=True)
class DetectionOptions:
    """How detectors are trained."""

    order: Annotated[str, KnownNames(ORDERS)] = "any"
    """Order in which a decoder learns to say objects: any, whichever is surest; rows, row by row; large, by size."""
    dropout: Probability = 0.1
    """Probability with which a feature of the map is dropped while training."""
    augmentation: Unnamed[BoxAugmentation] = BoxAugmentation()
    """Random changes of the training pictures."""


def worst_class(row: Row) -> str:
    """Returns the class with the lowest average precision, and that, for a table."""
    of_class = row["ap_50_by_class"]
    name = min(of_class, key=lambda name: of_class[name]["mean"])
    return f"{name} {format_score(of_class[name])}"


COLUMNS: tuple[Column, ...] = (
    score_column("AP at\n.5, %", "ap_50"),
    score_column("AP at\n.5 to .95", "ap"),
    ("worst class,\nAP at .5", worst_class),
    score_column("all counted\nright %", "count"),
)


class DetectionStudy(Study[Any]):
    """A study of detectors; its options have a group `detection` of `DetectionOptions`."""

    protocol = PROTOCOL

    def __init__(self, options: Any, data: BoxSet) -> None:
        super().__init__(options, data)
        self.floats = data.preprocessing.to_floats
        self.most = int(np.ceil(MORE * data.most))
        self.thresholds: dict[str, float] = {}

    @classmethod
    def load(cls, options: Any) -> BoxSet:
        source = options.training.source
        data = boxes_of(source.listing("boxes"), source.shaping())
        terminal().print(data.source, markup=False)
        return data

    def contender(self, name: str, **how: Any) -> Contender:
        """Returns a detector of `MODELS` as a contender."""
        augmentation = self.options.detection.augmentation
        change = partial(changed, preprocessing=self.data.preprocessing, augmentation=augmentation)
        loss: Callable[..., Any] = partial(dense_loss, change=change)
        if name != "dense":
            loss = partial(sequential_loss, change=change, order=self.options.detection.order)
        measure = partial(score, to_floats=self.floats)
        task = Task(loss, measure, self.data.train, self.data.validation, "precision", ".4f")
        return Contender(name, MODELS[name], partial(self.build, name), task, **how)

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> DenseDetector | SequentialDetector:
        """Builds a detector of `width` features a place."""
        channels, classes = self.data.train.images.shape[3], len(self.data.classes)
        how: dict[str, Any] = {"most": self.most, "dropout": self.options.detection.dropout, "rngs": rngs}
        if name == "dense":
            return DenseDetector(channels, width, classes, **how)
        return SequentialDetector(channels, width, classes, cell=CELLS[name], **how)

    def examine(self, trial: Trial) -> Examined:
        data, classes = self.data, len(self.data.classes)
        on_validation, on_test = (self._by_seed(trial, scenes.images) for scenes in (data.validation, data.test))
        everything = jax.tree.map(lambda *parts: np.concatenate(parts), *on_validation)
        truth = jax.tree.map(lambda part: np.concatenate([part] * trial.row.seeds), data.validation)
        threshold = best_threshold(everything, truth, classes)
        self.thresholds[trial.contender.title] = threshold
        precisions = [average_precision(said, data.test, data.classes) for said in on_test]
        said, wanted = [counts(said, threshold, classes) for said in on_test], true_counts(data.test, classes)
        wrong = np.abs(np.stack(said) - wanted[None]).mean(axis=1)
        scores: dict[str, Any] = {name: interval([one[name] for one in precisions]) for name in ("ap_50", "ap")}
        by_class = [one["ap_50_by_class"] for one in precisions]
        scores["ap_50_by_class"] = {name: interval([one[name] for one in by_class]) for name in by_class[0]}
        scores["count"] = interval([counted_right(of_seed, wanted).mean() for of_seed in said])
        scores["wrong_by_class"] = {name: interval(wrong[:, n]) for n, name in enumerate(data.classes)}
        scores["threshold"] = threshold
        return Examined(scores, self._shown(trial, on_test[0]), (self.floats(data.test.images[:1]),))

    def _by_seed(self, trial: Trial, images: Any) -> list[Boxes]:
        """Returns what each seed's model finds."""
        everything = trial.evaluate(partial(found, to_floats=self.floats), images)
        return [
            jax.tree.map(lambda part, seed=seed: np.asarray(part[seed]), everything) for seed in range(trial.row.seeds)
        ]

    def _shown(self, trial: Trial, said: Boxes) -> dict[str, Any]:
        """Returns some test pictures, their boxes, and what the first seed's model found in them."""
        test = self.data.test
        chosen = evenly(len(test.images), SHOWN)
        arrays = {f"true_{name}": np.asarray(part)[chosen] for name, part in test._asdict().items()}
        arrays["images"] = arrays.pop("true_images")
        arrays |= {name: np.asarray(part)[chosen] for name, part in said._asdict().items()}
        if trial.contender.name != "dense":
            shares = trial.evaluate(partial(_attention, to_floats=self.floats), arrays["images"])
            arrays["attention"] = shares[0].astype(np.float16)
        return arrays

    def card(self, trial: Trial) -> Card:
        height, width, channels = self.data.train.images.shape[1:]
        return Card(
            task="boxes",
            title=trial.contender.title,
            preprocessing=self.data.preprocessing,
            inputs=(f"float32[b,{height},{width},{channels}]",),
            classes=self.data.classes,
            least_score=self.thresholds[trial.contender.title],
            data=self.data.source,
        )


def _attention(model: SequentialDetector, images: Any, *, to_floats: Callable[[Any], Any]) -> Any:
    return model.attention(to_floats(images))[1]
