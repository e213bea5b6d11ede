"""Can a recurrent network tell how something moves?

A digit waves, nods, shakes, circles, zigzags, approaches, retreats or is still, over twelve frames of 32x32 pixels. A
single frame contains no information about the gesture (`rowrnn.lab.tasks.gestures.examples`): with ten gestures, chance
is 10 %. Six of them form three pairs of time reversals, which cannot be told apart without the order of the frames: a
model of unordered frames has an expected accuracy of at most 50 % on these and 70 % on all.

Recurrent cells read the features that a small CNN extracts from each frame. The baselines, of the same number of
parameters, are the same CNN on single frames, at the frame with the best validation accuracy, and its features averaged
over all frames.

    python experiments/gestures.py            20 minutes on 2 cores
    python experiments/gestures.py --full     two hours on one core: three seeds, all images
    python experiments/gestures.py --quick    2 minutes: a GRU and both baselines, 1,000 steps
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
from flax import nnx

from rowrnn import CELLS, Transformer, lab
from rowrnn.errors import InputError
from rowrnn.lab.tasks.classification.confusion import confusion_counts
from rowrnn.lab.tasks.gestures.examples import CANVAS, GESTURES, REVERSED, Videos, gestures
from rowrnn.lab.tasks.gestures.task import (
    Model,
    accuracy_by_frame,
    classes_at,
    correct,
    fixed_videos,
    loss,
    predict,
)
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier

GAIN = 8.0  # Frames are mostly black: scaled to a root mean square of about 1, or training would start slowly.
BASELINES = {"frame": "single frame", "average": "average of frames"}
TITLES = {**{name: cell.__name__ for name, cell in CELLS.items()}, "transformer": "Transformer", **BASELINES}
PROTOCOL = {
    "validation": "videos of images not trained on, the same in every epoch",
    "test": "scored once, at the end: videos of test images",
    "loss": "cross-entropy of the answer after every frame, or to every single frame, mean over frames",
    "test_accuracy": "of the answer after the last frame; of a single frame of the answer to that at the place of "
    "the video where it is best in validation",
    "place": "of that frame in the video, from 0, for each seed",
    "reversed_pairs_accuracy": "the same, of gestures that are another one in reversed time",
    "partner_share": "of those, the share that was taken for just that other one",
    "generation_share": "share of the training time in which videos are made",
}


@dataclass(frozen=True)
class Options:
    """Trains models to classify the motion of a digit in a video."""

    models: Annotated[tuple[str, ...], lab.KnownNames(TITLES)] = ("lstm", "gru", "average", "frame")
    """Models: cells of rowrnn.CELLS; transformer, causal; frame, single frames; average, of the frames' features."""
    params: lab.Count = 60_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    channels: lab.Count = 16
    """Output channels of the CNN's convolutions."""
    features: lab.Count = 32
    """Features that the CNN extracts from a frame."""
    frames: lab.Count = 12
    """Frames of a video."""
    test_images: lab.OptionalCount = 2_000
    """Number of validation and of test videos; by default one of each image."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(
        epochs=14, seeds=2, batch=32, learning_rate=8e-3, train_images=16_000
    )


PRESETS = {
    "quick": {"models": ("gru", "average", "frame"), "seeds": 1, "epochs": 8, "train_images": 4_000},
    "full": {"seeds": 3, "epochs": 6, "train_images": None, "test_images": None},
}


class Gestures(lab.Study[Options]):
    """Recurrent video classifiers, and the baselines of single frames and averaged features."""

    name = "gestures"
    protocol = PROTOCOL
    columns = (
        lab.score_column("test\naccuracy %"),
        lab.score_column("reversed\npairs %", "reversed_pairs_accuracy"),
        lab.score_column("taken for\npartner %", "partner_share"),
        lab.PARAMETERS,
        lab.WIDTH,
        lab.SECONDS,
        lab.generation_column("videos"),
    )

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        self.validation = fixed_videos(1, data.validation.first(options.test_images), frames=options.frames)

    def contenders(self) -> list[lab.Contender]:
        return [
            lab.Contender(
                name,
                TITLES[name],
                partial(self.build, name),
                lab.Task(
                    partial(loss, frames=self.options.frames, single_frames=name == "frame"),
                    partial(correct, single_frames=name == "frame"),
                    self.data.train,
                    self.validation,
                ),
                budget=self.options.params,
                generate=lambda batch, key: gestures(key, batch.images, self.options.frames),
            )
            for name in self.options.models
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Model:
        """Builds a model whose cell, or for a baseline hidden layer, has `width` units."""
        options, classes = self.options, len(GESTURES)
        shape = (CANVAS, CANVAS, self.data.shape[2])
        cnn = FrameCNN(shape, options.channels, options.features, gain=GAIN, rngs=rngs)
        if name in BASELINES:
            return FrameAverage(cnn, width, classes, rngs=rngs)
        if name == "transformer":
            layer: Any = Transformer(options.features, width, causal=True, longest=options.frames, rngs=rngs)
        else:
            layer = CELLS[name](options.features, width, rngs=rngs)
        return VideoClassifier(cnn, layer, classes, rngs=rngs)

    def setting(self) -> lab.Setting:
        self.test = fixed_videos(2, self.data.test.first(self.options.test_images), frames=self.options.frames)
        if not np.isin(self.test.labels, list(REVERSED)).any():
            raise InputError(f"{len(self.test.labels)} test videos show no pair of gestures: take more --test-images.")
        # The first test video of each gesture is drawn in the figures.
        _, self.film = np.unique(np.asarray(self.test.labels), return_index=True)
        film = Videos(*(np.asarray(array)[self.film] for array in self.test))
        entries = {"gestures": list(GESTURES), "paired": len(REVERSED)}
        return lab.Setting(entries, {"film/frames": film.frames, "film/labels": film.labels})

    def examine(self, trial: lab.Trial) -> lab.Examined:
        single = trial.contender.name == "frame"
        predict_all = partial(trial.evaluate, partial(predict, single_frames=single))
        place = np.full(trial.row.seeds, self.options.frames - 1)
        if single:
            place = accuracy_by_frame(predict_all(self.validation), self.validation).argmax(axis=1)
        logits = predict_all(self.test)
        answer, labels = classes_at(logits, place), np.asarray(self.test.labels)
        partner = np.array([REVERSED.get(label, -1) for label in labels])
        paired = partner >= 0
        scores = {
            "test_accuracy": lab.interval((answer == labels).mean(axis=1)),
            "reversed_pairs_accuracy": lab.interval((answer == labels)[:, paired].mean(axis=1)),
            "partner_share": lab.interval((answer == partner)[:, paired].mean(axis=1)),
            "place": place,
        }
        arrays = {
            "confusion": confusion_counts(labels, answer, logits.shape[-1]),
            "accuracy_by_frame": accuracy_by_frame(logits, self.test),
            "probability": np.asarray(jax.nn.softmax(logits[0, self.film])),
        }
        return lab.Examined(scores, arrays, (lab.as_float(self.test.frames[:1, : 1 if single else None]),))


if __name__ == "__main__":
    lab.run(Gestures, Options, PRESETS)
