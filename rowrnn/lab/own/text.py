"""Learns to go on with own text: one language model of a file, or of a folder of `.txt` files.

rowrnn train text FILE
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from rowrnn.lab.experiment.contender import Contender
from rowrnn.lab.experiment.language import LanguageOptions, LanguageStudy
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.lab.experiment.options import Group, TrainingOptions
from rowrnn.lab.own.data_options import OwnTraining, TextData
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.tasks.text.models import MODELS


@dataclass(frozen=True)
class Options:
    """Trains a language model of own text."""

    model: Annotated[str, KnownNames(MODELS)] = "lstm"
    """What passes from one symbol to the next: lstm, gru, min_gru, lru, rg_lru, slstm, mlstm, transformer."""
    hidden: Count = 128
    """Features between the blocks, and size of each cell's state."""
    language: Group[LanguageOptions] = LanguageOptions(dropout=0.2, context=128)
    training: Group[TrainingOptions] = OwnTraining(
        epochs=30, seeds=1, batch=16, optimizer="muon", learning_rate=1e-2, patience=4, source=TextData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"hidden": 48, "context": 64, "epochs": 2}}


class OwnText(LanguageStudy):
    """One language model of own text."""

    name = "train_text"
    columns = (score_column("nats", "nats", 3, 1.0), score_column("bits", "bits", 3, 1.0), PARAMETERS)

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train))

    def contenders(self) -> list[Contender]:
        name = self.options.model
        return [Contender(name, MODELS[name], partial(self.build, name), self.task(), width=self.options.hidden)]
