"""Which memory writes best: what comes next in a text?

Language models of one number of parameters read text character by character, or word by word. They are alike but for
what passes from one symbol to the next in their residual blocks: the state of an LSTM, a GRU or a cell that is linear
over time, or attention.

    python experiments/text.py --data tinyshakespeare.txt           one seed of each
    python experiments/text.py --data tinyshakespeare.txt --full    three seeds of each
    python experiments/text.py --data tinyshakespeare.txt --quick   minutes: a small GRU
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from flax import nnx

from rowrnn import lab
from rowrnn.lab.experiment import language
from rowrnn.lab.own.data_options import OwnTraining, TextData
from rowrnn.lab.report.columns import Row
from rowrnn.lab.tasks.text.examples import TextSet, text_of
from rowrnn.lab.tasks.text.models import MODELS, build
from rowrnn.lab.tasks.text.symbols import Unit
from rowrnn.lab.tasks.text.task import log_likelihood, loss
from rowrnn.models import LanguageModel


@dataclass(frozen=True)
class Options:
    """Trains language models that differ in what passes from one symbol to the next."""

    models: Annotated[tuple[str, ...], lab.KnownNames(MODELS)] = ("lstm", "gru", "min_gru", "lru", "transformer")
    """Models: lstm, gru, min_gru, lru, rg_lru, slstm, mlstm, transformer."""
    params: lab.Count = 500_000
    """Parameter budget of each model, met within 3 %; the width follows from it."""
    blocks: lab.Count = 2
    """Blocks of a recurrent model; the Transformer has twice as many."""
    expansion: lab.Count = 2
    """Units between the linear maps of a block, relative to the width."""
    dropout: lab.Probability = 0.1
    """Probability with which a feature of a sum is dropped while training."""
    unit: Unit = "character"
    """What is predicted: the next character, or the next word with the white space before it."""
    context: lab.Count = 256
    """Symbols that are read at once in training."""
    min_count: lab.Count = 1
    """Times that a symbol must occur in the training text; rarer ones are unknown."""
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=8, seeds=1, batch=16, optimizer="muon", learning_rate=1e-2, source=TextData()
    )


PRESETS = {
    "quick": {"models": ("gru",), "params": 60_000, "context": 64, "epochs": 1, "batch": 32},
    "full": {"seeds": 3},
}


class Text(lab.Study[Options]):
    """Language models with an LSTM, a GRU, linear cells and a Transformer."""

    name = "text"
    protocol = language.PROTOCOL
    columns = (
        lab.score_column("nats", "nats", 3, 1.0),
        lab.score_column("bits", "bits", 3, 1.0),
        ("nats, read from\nits beginning", lambda row: nats_carried(row)),
        lab.PARAMETERS,
        lab.WIDTH,
        lab.SECONDS,
        ("writes\nsymbols/s", lambda row: f"{row['symbols_per_second']:,.0f}"),
        lab.MEMORY,
    )

    @classmethod
    def load(cls, options: Options) -> TextSet:
        how = {"unit": options.unit, "context": options.context, "min_count": options.min_count}
        data = text_of(options.training.source.data, **how)
        print(f"{data.source}.")
        return data

    def contenders(self) -> list[lab.Contender]:
        data, options = self.data, self.options
        objective = partial(loss, context=options.context)
        task = lab.Task(objective, log_likelihood, data.train, data.judged("validation"), "log_likelihood", ".3f")
        return [
            lab.Contender(name, MODELS[name], partial(self.build, name), task, budget=options.params)
            for name in options.models
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> LanguageModel:
        """Builds a language model with `width` features between its blocks."""
        options = self.options
        blocks = options.blocks * (2 if name == "transformer" else 1)
        how = {"blocks": blocks, "expansion": options.expansion, "dropout": options.dropout}
        return build(name, width, len(self.data.symbols), **how, rngs=rngs)

    def card(self, trial: lab.Trial) -> lab.Card:
        return language.card(trial, self.data)

    def examine(self, trial: lab.Trial) -> lab.Examined:
        return language.examined(trial, self.data)


def nats_carried(row: Row) -> str:
    """Formats the cross-entropy of the text that is read from its beginning, which a Transformer does not do."""
    return lab.format_score(row["nats_carried"], 3, 1.0) if "nats_carried" in row else "-"


if __name__ == "__main__":
    lab.run(Text, Options, PRESETS)
