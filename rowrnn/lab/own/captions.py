"""Learns to describe own pictures: one model of a folder of pictures with captions.

rowrnn train captions FOLDER
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.lab.data import Augmentation
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import Count, KnownNames, Probability
from rowrnn.lab.experiment.options import Group, TrainingOptions, Unnamed
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.own.data_options import CaptionData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.captions.files import CaptionSet, captions_of
from rowrnn.lab.tasks.captions.task import LENGTH_POWER, MEASURE, decode, likelihood, loss_of_described, measure_texts
from rowrnn.lab.tasks.captions.vocabulary import split_words
from rowrnn.lab.training import Task
from rowrnn.models import Captioner
from rowrnn.saving import Card

MODELS = {"gru": "GRU", "lstm": "LSTM"}
SHOWN = 12  # test pictures in the record
PROTOCOL = {
    "validation": "mean log-probability of a word of the captions of pictures that are not trained on; it chooses the "
    "epoch",
    "test": "scored once, at the end, on every test picture: greedy decoding, *_beam by beam search",
    "bleu4": "corpus BLEU of words by sacrebleu, tokenize none, smoothing exp, against all captions of a picture",
}


@dataclass(frozen=True)
class Options:
    """Trains a model that describes own pictures in words."""

    model: Annotated[str, KnownNames(MODELS)] = "gru"
    """Cell of the decoder."""
    hidden: Count = 192
    """Size of the decoder's state."""
    channels: Count = 64
    """Channels of the map that the decoder attends to."""
    embedding: Count = 64
    """Size of a word's embedding."""
    min_count: Count = 2
    """Times that a word must occur in the training captions to be known."""
    dropout: Probability = 0.3
    """Probability with which a feature is dropped while training."""
    beam: Count = 3
    """Captions that beam search keeps after each word."""
    augmentation: Unnamed[Augmentation] = Augmentation(shift=2.0, rotation=5.0, zoom=0.1)
    """Random changes of the training pictures."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=80, seeds=1, batch=32, learning_rate=2e-3, averaging=0.99, patience=15, source=CaptionData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"hidden": 64, "epochs": 2}}


class OwnCaptions(Study[Options]):
    """One captioner of own pictures."""

    name = "train_captions"
    protocol = PROTOCOL
    columns = (
        score_column("exact match %", MEASURE),
        score_column("BLEU-4 %", "bleu4"),
        score_column("by beam\nBLEU-4 %", "bleu4_beam"),
        PARAMETERS,
    )

    def __init__(self, options: Options, data: CaptionSet) -> None:
        super().__init__(options, data)
        self.floats = data.preprocessing.to_floats

    @classmethod
    def load(cls, options: Options) -> CaptionSet:
        source = options.training.source
        data = captions_of(source.listing("captions"), source.shaping(), min_count=options.min_count)
        terminal().print(data.source, markup=False)
        return data

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train.counts))

    def contenders(self) -> list[Contender]:
        options = self.options
        outside = self.floats(self.data.preprocessing.surroundings()[None, None, None])[0, 0, 0]
        how: dict[str, Any] = {"to_floats": self.floats, "augmentation": options.augmentation, "outside": outside}
        training = partial(loss_of_described, **how)
        score = partial(likelihood, to_floats=self.floats)
        task = Task(training, score, self.data.train, self.data.validation, "log_likelihood", ".3f")
        return [Contender(options.model, MODELS[options.model], self.build, task, width=options.hidden)]

    def build(self, width: int, rngs: nnx.Rngs) -> Captioner:
        """Builds the captioner with `width` units."""
        options, vocabulary = self.options, self.data.vocabulary
        return Captioner(
            CELLS[options.model],
            width,
            shape=self.data.shape,
            words=len(vocabulary),
            longest=self.data.longest,
            tokens=vocabulary.tokens,
            channels=options.channels,
            embedding=options.embedding,
            dropout=options.dropout,
            rngs=rngs,
        )

    def setting(self) -> Setting:
        return Setting(arrays={"shown/images": np.asarray(self.data.test.images[:SHOWN])})

    def card(self, trial: Trial) -> Card:
        data = self.data
        return Card(
            task="captions",
            title=trial.contender.title,
            preprocessing=data.preprocessing,
            vocabulary=data.vocabulary.words,
            beam=self.options.beam,
            data=data.source,
        )

    def examine(self, trial: Trial) -> Examined:
        test, vocabulary = self.data.test, self.data.vocabulary
        call = partial(decode, beam=self.options.beam, length_power=LENGTH_POWER, to_floats=self.floats)
        # Captions are compared in the words of the vocabulary's rule, marks apart and in lower case.
        truth = [[" ".join(split_words(text)) for text in texts] for texts in self.data.texts]
        scores: dict[str, Any] = {}
        for ending, captions in zip(("", "_beam"), trial.evaluate(call, test), strict=True):
            said = [vocabulary.decode(of_seed) for of_seed in captions]
            scores |= {name + ending: score for name, score in measure_texts(said, truth).items()}
            scores[f"said{ending}"] = said[0][:SHOWN]
        scores["captions"] = truth[:SHOWN]
        return Examined(scores, {}, (self.floats(np.asarray(test.images[:1])),))
