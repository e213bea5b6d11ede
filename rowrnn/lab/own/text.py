"""Learns to go on with own text: one language model of a file, or of a folder of `.txt` files.

rowrnn train text FILE
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from flax import nnx

from rowrnn.lab.experiment import language
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import Count, KnownNames, Probability
from rowrnn.lab.experiment.options import Group, TrainingOptions
from rowrnn.lab.experiment.study import Study
from rowrnn.lab.own.data_options import OwnTraining, TextData
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.text.examples import TextSet, text_of
from rowrnn.lab.tasks.text.models import MODELS, build
from rowrnn.lab.tasks.text.symbols import Unit
from rowrnn.lab.tasks.text.task import log_likelihood, loss
from rowrnn.lab.training import Task
from rowrnn.models.language_model import LanguageModel
from rowrnn.saving import Card


@dataclass(frozen=True)
class Options:
    """Trains a language model of own text."""

    model: Annotated[str, KnownNames(MODELS)] = "lstm"
    """What passes from one symbol to the next: lstm, gru, min_gru, lru, rg_lru, slstm, mlstm, transformer."""
    hidden: Count = 128
    """Features between the blocks, and size of each cell's state."""
    blocks: Count = 2
    """Residual blocks."""
    expansion: Count = 2
    """Units between the linear maps of a block, relative to the features."""
    dropout: Probability = 0.2
    """Probability with which a feature of a sum is dropped while training."""
    unit: Unit = "character"
    """What is predicted: the next character, or the next word with the white space before it."""
    context: Count = 128
    """Symbols that are read at once in training."""
    min_count: Count = 1
    """Times that a symbol must occur in the training text; rarer ones are unknown."""
    training: Group[TrainingOptions] = OwnTraining(
        epochs=30, seeds=1, batch=16, optimizer="muon", learning_rate=1e-2, patience=4, source=TextData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"hidden": 48, "context": 64, "epochs": 2}}


class OwnText(Study[Options]):
    """One language model of own text."""

    name = "train_text"
    protocol = language.PROTOCOL
    columns = (score_column("nats", "nats", 3, 1.0), score_column("bits", "bits", 3, 1.0), PARAMETERS)

    @classmethod
    def load(cls, options: Options) -> TextSet:
        how = {"unit": options.unit, "context": options.context, "min_count": options.min_count}
        data = text_of(options.training.source.data, **how)
        terminal().print(f"{data.source}.", markup=False)
        return data

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train))

    def contenders(self) -> list[Contender]:
        data, options = self.data, self.options
        objective = partial(loss, context=options.context)
        task = Task(objective, log_likelihood, data.train, data.judged("validation"), "log_likelihood", ".3f")
        return [Contender(options.model, MODELS[options.model], self.build, task, width=options.hidden)]

    def build(self, width: int, rngs: nnx.Rngs) -> LanguageModel:
        """Builds the model with `width` features."""
        options = self.options
        how: dict[str, Any] = {"blocks": options.blocks, "expansion": options.expansion, "dropout": options.dropout}
        return build(options.model, width, len(self.data.symbols), **how, rngs=rngs)

    def card(self, trial: Trial) -> Card:
        return language.card(trial, self.data)

    def examine(self, trial: Trial) -> Examined:
        return language.examined(trial, self.data)
