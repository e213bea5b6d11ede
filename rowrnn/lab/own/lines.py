"""Learns to read own lines of text: one reader of a folder of pictures of lines with their texts.

rowrnn train lines FOLDER
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.decoding import ctc
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import AtLeast, Count, KnownNames, Probability
from rowrnn.lab.experiment.options import Group, TrainingOptions, Unnamed
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.own.data_options import LineData, OwnTraining
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.lines.augmentation import LineAugmentation
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.lab.tasks.lines.files import LineSet, lines_of
from rowrnn.lab.tasks.lines.measures import character_error_rate, word_error_rate
from rowrnn.lab.tasks.lines.task import predict
from rowrnn.lab.tasks.lines.text_language import language_prior, spoken
from rowrnn.lab.tasks.lines.text_task import character_accuracy, text_loss
from rowrnn.lab.training import Task
from rowrnn.models.line_reader import HANDWRITING, LineReader, strips
from rowrnn.saving import Card
from rowrnn.sequence import Transformer

MODELS = {
    "lstm": "LSTM, both ways",
    "gru": "GRU, both ways",
    "transformer": "Transformer",
    "cnn": "CNN without memory",
}
SHOWN = 12  # test lines in the record
PROTOCOL = {
    "validation": "characters read right for each true one, of lines that are not trained on; it chooses the epoch",
    "test": "scored once, at the end, on every test line",
    "character_error_rate": "edits in characters, composed (NFC), of all lines, for each true character; of the most "
    "probable path, _beam: of prefix beam search, with the language model of the training texts where it has a weight",
    "word_error_rate": "the same, in words separated by spaces",
}


@dataclass(frozen=True)
class Options:
    """Trains a reader of own lines of text."""

    model: Annotated[str, KnownNames(MODELS)] = "lstm"
    """Reader: lstm or gru, which read both ways over convolutions; transformer; cnn, convolutions alone."""
    hidden: Count = 128
    """Size of a cell's state in each direction."""
    layers: Count = 2
    """Recurrent layers."""
    height: Count = 40
    """Rows that a line is brought to; its width follows."""
    groups: Count = 6
    """Groups of lines of similar width, of which a step reads some each."""
    right_to_left: bool = False
    """The lines run from right to left."""
    dropout: Probability = 0.25
    """Probability with which a feature is dropped while training."""
    shortcut: Annotated[float, AtLeast(0)] = 0.1
    """Weight of the same loss of the convolutions alone, which trains them sooner."""
    beam: Count = 30
    """Strings that beam search keeps after each step."""
    language_order: Count = 7
    """Characters of the longest n-grams of a language model of the training texts, in beam search."""
    language_weight: Annotated[float, AtLeast(0)] = 0.5
    """Weight of that language model; 0 for none."""
    length_bonus: Annotated[float, AtLeast(0)] = 1.25
    """What beam search adds for each character, since a language model prefers short strings."""
    augmentation: Unnamed[LineAugmentation] = LineAugmentation(
        slant=0.2, stretch=0.1, scale=0.1, shift=1.5, elastic=1.0, thickness=0.5, fading=0.3, noise=0.05
    )
    """Random changes of the training lines."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=60,
        seeds=1,
        batch=12,
        optimizer="muon",
        learning_rate=8e-3,
        averaging=0.99,
        patience=15,
        source=LineData(),
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"hidden": 32, "layers": 1, "epochs": 2}}


class OwnLines(Study[Options]):
    """One reader of own lines."""

    name = "train_lines"
    protocol = PROTOCOL
    columns = (
        score_column("characters\nwrong %", "character_error_rate"),
        score_column("words\nwrong %", "word_error_rate"),
        score_column("by beam:\ncharacters %", "character_error_rate_beam"),
        score_column("words\nwrong %", "word_error_rate_beam"),
        PARAMETERS,
    )

    @classmethod
    def load(cls, options: Options) -> LineSet:
        how = {"height": options.height, "groups": options.groups, "right_to_left": options.right_to_left}
        data = lines_of(options.training.source.listing("lines"), **how)
        terminal().print(data.source, markup=False)
        return data

    def training(self) -> TrainingOptions:
        """Returns the training options, with the batch counted in lines of each group."""
        given, groups = self.options.training, self.data.train.groups
        of_each = dataclasses.replace(given, batch=max(1, given.batch // len(groups)))
        return fitted(of_each, len(groups[0].widths), together=len(groups))

    def contenders(self) -> list[Contender]:
        options, validation = self.options, self.data.validation
        characters = float(np.mean([len(text) for text in validation.texts]))
        loss = partial(text_loss, augmentation=options.augmentation, shortcut=options.shortcut)
        score = partial(character_accuracy, characters=characters)
        train = self.data.train.groups
        task = Task(loss, score, train, validation.groups, "character_accuracy", together=len(train))
        return [Contender(options.model, MODELS[options.model], self.build, task, width=options.hidden)]

    def build(self, width: int, rngs: nnx.Rngs) -> LineReader:
        """Builds the reader with `width` units."""
        options = self.options
        how: dict[str, Any] = {
            **HANDWRITING,
            "layers": options.layers,
            "dropout": options.dropout,
            "shortcut": options.shortcut > 0,
        }
        cell = {"cnn": None, "transformer": Transformer, **CELLS}[options.model]
        return LineReader(self.data.height, len(self.data.alphabet), width, cell=cell, rngs=rngs, **how)

    def setting(self) -> Setting:
        test = self.data.test
        images = test.ungrouped([[image[..., 0] for image in lines.images] for lines in test.groups])[:SHOWN]
        widths = test.ungrouped([lines.widths for lines in test.groups])[:SHOWN]
        shown = np.zeros((len(images), self.data.height, max(widths)), np.uint8)
        for line, image, width in zip(shown, images, widths, strict=True):
            line[:, :width] = image[:, :width]
        return Setting(arrays={"shown/images": shown, "shown/widths": np.array(widths)})

    def card(self, trial: Trial) -> Card:
        data = self.data
        return Card(
            task="lines",
            title=trial.contender.title,
            preprocessing=data.preprocessing,
            inputs=(f"float32[b,{data.height},w,1]",),
            alphabet=tuple(data.alphabet.characters),
            right_to_left=data.alphabet.right_to_left,
            language_texts=self.language(),
            beam=self.options.beam,
            language_order=self.options.language_order,
            language_weight=float(self.options.language_weight),
            length_bonus=float(self.options.length_bonus) if self.options.language_weight else 0.0,
            data=data.source,
        )

    def language(self) -> tuple[str, ...]:
        """Returns the texts of which the language model is made."""
        return spoken(self.data.train.texts) if self.options.language_weight else ()

    def examine(self, trial: Trial) -> Examined:
        options, data = self.options, self.data
        prior = language_prior(
            self.language(), data.alphabet, options.language_order, options.language_weight, options.length_bonus
        )

        def read(model: Any, groups: tuple[Lines, ...]) -> list[tuple[ctc.Reading, ctc.Reading]]:
            found = []
            for lines in groups:
                logits, steps = predict(model, lines), strips(lines.widths)
                found.append((ctc.best_path(logits, steps), ctc.beam_search(logits, steps, beam=options.beam, **prior)))
            return found

        readings = trial.evaluate(read, data.test.groups)
        scores: dict[str, Any] = {}
        for place, ending in enumerate(("", "_beam")):
            said = [self.texts_of([pair[place] for pair in readings], seed) for seed in range(trial.row.seeds)]
            truth = data.test.texts
            scores[f"character_error_rate{ending}"] = interval([character_error_rate(of, truth) for of in said])
            scores[f"word_error_rate{ending}"] = interval([word_error_rate(of, truth) for of in said])
            scores[f"said{ending}"] = said[0][:SHOWN]
        scores["texts"] = list(data.test.texts[:SHOWN])
        example = np.zeros((1, data.height, 4 * data.height, 1), np.float32)
        return Examined(scores, {}, (example,))

    def texts_of(self, groups: list[ctc.Reading], seed: int) -> list[str]:
        """Returns the text of each test line, of the readings of its group `[seeds, m, ...]`."""
        by_group = [
            [
                self.data.alphabet.decode(labels[: int(length)])
                for labels, length in zip(np.asarray(of.labels)[seed], np.asarray(of.lengths)[seed], strict=True)
            ]
            for of in groups
        ]
        return self.data.test.ungrouped(by_group)
