"""Learns to tell own clips apart: one model of a folder of clips with classes.

rowrnn train clips FOLDER
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from rowrnn.cells import CELLS
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import Count, KnownNames, OptionalCount, Probability
from rowrnn.lab.experiment.options import Group, TrainingOptions, Unnamed
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.own.data_options import ClipData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.classification.confusion import confusion_counts
from rowrnn.lab.tasks.classification.measures import balanced_accuracy
from rowrnn.lab.tasks.clips.augmentation import ClipAugmentation
from rowrnn.lab.tasks.clips.examples import Clips
from rowrnn.lab.tasks.clips.files import ClipSet, clips_of
from rowrnn.lab.tasks.clips.task import Model, after_each_frame, answer, correct, loss
from rowrnn.lab.training import Task
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier
from rowrnn.saving import Card
from rowrnn.sequence.stack import stack

MODELS = {"gru": "GRU", "lstm": "LSTM", "average": "average of frames"}
PROTOCOL = {
    "validation": "clips that are not trained on; they choose the epoch",
    "test": "scored once, at the end, on every test clip",
    "balanced_accuracy": "mean over classes of the share of its test clips that are answered right",
}
SHOWN = 6  # test clips in the figure


@dataclass(frozen=True)
class Options:
    """Trains a model that tells the classes of own clips apart."""

    model: Annotated[str, KnownNames(MODELS)] = "gru"
    """Model: gru and lstm read the frames in order; average does not know their order."""
    hidden: Count = 128
    """Size of a cell's state in each direction; of an average, units behind it."""
    channels: Count = 32
    """Channels of the convolutions that look at a frame."""
    features: Count = 96
    """Numbers that they make of a frame."""
    context: Count = 3
    """Frames that the first convolution sees."""
    layers: Count = 1
    """Recurrent layers."""
    both_ways: bool = True
    """Read the frames from both ends; without it a clip can be answered while it is recorded."""
    dropout: Probability = 0.3
    """Probability with which a feature is dropped while training."""
    smoothing: Probability = 0.1
    """Share of the target's probability that all classes get alike."""
    frames: OptionalCount = None
    """Most frames of a clip; those of the longest, at most 64, where not given."""
    augmentation: Unnamed[ClipAugmentation] = ClipAugmentation(
        shift=2, brightness=0.2, contrast=0.2, drop_frames=0.05, stretch=0.15
    )
    """Random changes of the training clips."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=60, seeds=1, batch=32, learning_rate=2e-3, averaging=0.99, patience=12, source=ClipData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"hidden": 32, "epochs": 2}}


class OwnClips(Study[Options]):
    """One classifier of own clips."""

    name = "train_clips"
    protocol = PROTOCOL
    columns = (
        score_column("test\naccuracy %"),
        score_column("balanced\naccuracy %", "balanced_accuracy"),
        PARAMETERS,
    )

    def __init__(self, options: Options, data: ClipSet) -> None:
        super().__init__(options, data)
        self.floats = data.preprocessing.to_floats

    @classmethod
    def load(cls, options: Options) -> ClipSet:
        source = options.training.source
        data = clips_of(source.listing("clips"), source.shaping(), source.budget(), frames=options.frames)
        terminal().print(data.source, markup=False)
        return data

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train.labels))

    def contenders(self) -> list[Contender]:
        options = self.options
        training = partial(loss, to_floats=self.floats, augmentation=options.augmentation, smoothing=options.smoothing)
        task = Task(training, partial(correct, to_floats=self.floats), self.data.train, self.data.validation)
        return [Contender(options.model, MODELS[options.model], self.build, task, width=options.hidden)]

    def build(self, width: int, rngs: nnx.Rngs) -> VideoClassifier | FrameAverage:
        """Builds the model with `width` units."""
        options, classes = self.options, self.data.classes
        cnn = FrameCNN(self.data.shape, options.channels, options.features, context=options.context, rngs=rngs)
        if options.model == "average":
            return FrameAverage(cnn, width, classes, rngs=rngs)
        layer = stack(
            CELLS[options.model],
            options.features,
            width,
            layers=options.layers,
            bidirectional=options.both_ways,
            rngs=rngs,
        )
        pooling = "mean" if options.both_ways else "last"
        return VideoClassifier(cnn, layer, classes, pooling=pooling, dropout=options.dropout, rngs=rngs)

    def setting(self) -> Setting:
        test = self.data.test
        self.shown = np.linspace(0, len(test.labels) - 1, min(SHOWN, len(test.labels))).astype(int)
        names = ("frames", "lengths", "labels")
        return Setting(arrays={f"film/{name}": np.asarray(getattr(test, name))[self.shown] for name in names})

    def card(self, trial: Trial) -> Card:
        data = self.data
        return Card(
            task="clips",
            title=trial.contender.title,
            preprocessing=data.preprocessing,
            inputs=(f"float32[b,t,{','.join(map(str, data.shape))}]",),
            classes=data.class_names,
            frames_per_second=data.frames_per_second,
            most_frames=int(np.shape(data.train.frames)[1]),
            data=data.source,
        )

    def probability_by_frame(self, model: Model, clips: Clips) -> Float[Array, "b t classes"]:
        """Returns the probability of every class after each frame of clips, as if they ended there."""
        return jax.nn.softmax(after_each_frame(model, self.floats(clips.frames), clips.lengths))

    def examine(self, trial: Trial) -> Examined:
        test = self.data.test
        logits = trial.evaluate(partial(answer, to_floats=self.floats), test)
        labels, answers = np.asarray(test.labels), logits.argmax(axis=-1)
        shown = Clips(*(np.asarray(values)[self.shown] for values in test))
        scores = {
            "test_accuracy": interval((answers == labels).mean(axis=1)),
            "balanced_accuracy": interval([balanced_accuracy(labels, of_seed) for of_seed in answers]),
        }
        arrays = {
            "confusion": confusion_counts(labels, answers, self.data.classes),
            "probability": trial.evaluate(self.probability_by_frame, shown)[0],
        }
        return Examined(scores, arrays, (self.floats(np.asarray(test.frames[:1])),))
