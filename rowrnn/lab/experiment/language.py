"""Language models in an experiment: options, task, scores on the test text, speed of writing, and a sample."""

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from rowrnn.lab.experiment.contender import Examined, Trial
from rowrnn.lab.experiment.option_checks import Count, Probability
from rowrnn.lab.experiment.study import Study
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.tasks.text.examples import TextSet, text_of
from rowrnn.lab.tasks.text.models import build
from rowrnn.lab.tasks.text.symbols import Unit
from rowrnn.lab.tasks.text.task import log_likelihood, loss, nats, nats_carried, written
from rowrnn.lab.training import Task
from rowrnn.models.language_model import LanguageModel
from rowrnn.saving.card import Card
from rowrnn.sequence.transformer import Transformer

SAMPLE = 600
"""Symbols of the sample, which the speed of writing is measured on."""
PROMPT = 64
TEMPERATURE = 0.8

PROTOCOL = {
    "validation": "mean log-likelihood of a symbol of the validation text in nats, given at least half a context "
    "before it; it chooses the epoch",
    "test": "scored once, at the end, on the whole test text, but for its first half context and what fills no half of "
    "one at its end",
    "nats": "mean cross-entropy of a symbol of the test text, given at least half a context before it; bits: the same, "
    "÷ ln 2",
    "nats_carried": "of recurrent models: the test text is read from its beginning to its end, and all of it but its "
    "first symbol is scored",
    "sample": f"of the first seed: {SAMPLE} symbols at the temperature {TEMPERATURE} after the first {PROMPT} of the "
    "test text",
    "symbols_per_second": "written one by one, one text, compilation apart; with the reading of the prompt and, by a "
    "Transformer, of the half context before that it sees again",
}


@dataclass(frozen=True)
class LanguageOptions:
    """How a text is read, and by what blocks."""

    blocks: Count = 2
    """Residual blocks of a recurrent model; a Transformer has twice as many."""
    expansion: Count = 2
    """Units between the linear maps of a block, relative to the features."""
    dropout: Probability = 0.1
    """Probability with which a feature of a sum is dropped while training."""
    unit: Unit = "character"
    """What is predicted: the next character, or the next word with the white space before it."""
    context: Count = 256
    """Symbols that are read at once in training."""
    min_count: Count = 1
    """Times that a symbol must occur in the training text; rarer ones are unknown."""


class LanguageStudy(Study[Any]):
    """A study of language models; its options have a group `language` of `LanguageOptions`."""

    protocol = PROTOCOL

    @classmethod
    def load(cls, options: Any) -> TextSet:
        how = options.language
        data = text_of(options.training.source.data, unit=how.unit, context=how.context, min_count=how.min_count)
        terminal().print(f"{data.source}.", markup=False)
        return data

    def task(self) -> Task:
        """Returns the task of all models: the next symbol."""
        objective, validation = partial(loss, context=self.data.context), self.data.judged("validation")
        return Task(objective, log_likelihood, self.data.train, validation, "log_likelihood", ".3f")

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> LanguageModel:
        """Builds a language model with `width` features between its blocks."""
        how = self.options.language
        blocks = how.blocks * (2 if name == "transformer" else 1)
        sizes = {"blocks": blocks, "expansion": how.expansion, "dropout": how.dropout}
        return build(name, width, len(self.data.symbols), **sizes, rngs=rngs)

    def card(self, trial: Trial) -> Card:
        data = self.data
        return Card(
            task="text",
            title=trial.contender.title,
            inputs=("int32[b,t]",),
            vocabulary=data.symbols.known,
            unit=data.symbols.unit,
            context=data.context,
            data=data.source,
        )

    def examine(self, trial: Trial) -> Examined:
        data = self.data
        of_each = trial.evaluate(nats, data.judged("test"))
        half = of_each.shape[2] // 2
        scored = of_each[:, :, half:].mean(axis=(1, 2))
        scores: dict[str, Any] = {"nats": interval(scored), "bits": interval(scored / math.log(2))}
        models = [jax.tree.map(lambda a, n=n: a[n], trial.models) for n in range(trial.row.seeds)]
        if not isinstance(models[0].layer, Transformer):
            scores["nats_carried"] = interval([nats_carried(model, data.texts["test"]) for model in models])
        prompt, how = data.texts["test"][:PROMPT], {"temperature": TEMPERATURE, "context": data.context}
        for _ in range(2):  # The first call compiles.
            started = time.perf_counter()
            sample, _ = written(models[0], prompt, SAMPLE, jax.random.key(0), **how)
            seconds = time.perf_counter() - started
        scores |= {"symbols_per_second": SAMPLE / seconds, "sample": data.symbols.decode(sample)}
        examples = (np.zeros((1, data.context), np.int32),)
        return Examined(scores, {"nats": of_each.mean(axis=1)}, examples, call=logits_of)


def logits_of(model: Any, symbols: Any) -> Any:
    """Returns the logits of the symbol after each."""
    return model(symbols)[0]
