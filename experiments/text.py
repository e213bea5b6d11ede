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

from rowrnn import lab
from rowrnn.lab.experiment.language import LanguageOptions, LanguageStudy
from rowrnn.lab.own.data_options import OwnTraining, TextData
from rowrnn.lab.report.columns import Row
from rowrnn.lab.tasks.text.models import MODELS


@dataclass(frozen=True)
class Options:
    """Trains language models that differ in what passes from one symbol to the next."""

    models: Annotated[tuple[str, ...], lab.KnownNames(MODELS)] = ("lstm", "gru", "min_gru", "lru", "transformer")
    """Models: lstm, gru, min_gru, lru, rg_lru, slstm, mlstm, transformer."""
    params: lab.Count = 500_000
    """Parameter budget of each model, met within 3 %; the width follows from it."""
    language: lab.Group[LanguageOptions] = LanguageOptions()
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=8, seeds=1, batch=16, optimizer="muon", learning_rate=1e-2, source=TextData()
    )


PRESETS = {
    "quick": {"models": ("gru",), "params": 60_000, "context": 64, "epochs": 1, "batch": 32},
    "full": {"seeds": 3},
}


def carried(row: Row) -> str:
    """Formats the cross-entropy of the text that is read from its beginning, which a Transformer does not do."""
    return lab.format_score(row["nats_carried"], 3, 1.0) if "nats_carried" in row else "-"


class Text(LanguageStudy):
    """Language models with an LSTM, a GRU, linear cells and a Transformer."""

    name = "text"
    columns = (
        lab.score_column("nats", "nats", 3, 1.0),
        lab.score_column("bits", "bits", 3, 1.0),
        ("nats, read from\nits beginning", carried),
        lab.PARAMETERS,
        lab.WIDTH,
        lab.SECONDS,
        ("writes\nsymbols/s", lambda row: f"{row['symbols_per_second']:,.0f}"),
        lab.MEMORY,
    )

    def contenders(self) -> list[lab.Contender]:
        task = self.task()
        return [
            lab.Contender(name, MODELS[name], partial(self.build, name), task, budget=self.options.params)
            for name in self.options.models
        ]


if __name__ == "__main__":
    lab.run(Text, Options, PRESETS)
