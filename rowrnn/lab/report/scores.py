"""The scores of the models of a record: which is the main one, and how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.report.columns import format_score
from rowrnn.lab.report.statistics import interval

# Words in the names of scores of which less is better, and of scores that are not written in percent.
ERRORS = {"error", "mse", "mae", "loss", "distance", "perplexity", "nats", "bits", "nll"}
PLAIN = ERRORS - {"error"} | {"ssim", "auc", "likelihood"}


@dataclass(frozen=True)
class ModelScore:
    """A score of a model over its seeds.

    Args:
        name: its name in the record, such as "test_accuracy".
        mean: mean over seeds.
        ci95: half-width of the 95 % interval of the mean; None for one seed.
        values: the value of each seed.
    """

    name: str
    mean: float
    ci95: float | None
    values: Sequence[float]

    @property
    def of_validation(self) -> bool:
        """Whether it was measured on the validation set."""
        return self.name.startswith("validation_")

    @property
    def in_percent(self) -> bool:
        """Whether it is written in percent: a share of something, or a rate, which may exceed 1."""
        words = set(self.name.split("_"))
        return not PLAIN & words and ("rate" in words or all(0 <= value <= 1 for value in self.values))

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better, as of an error."""
        words = self.name.split("_")
        return bool(ERRORS & set(words)) and "negative" not in words

    @property
    def heading(self) -> str:
        """Its name in words: "accuracy %"."""
        words = self.name.removeprefix("test_").replace("_", " ")
        return f"{words} %" if self.in_percent else words

    @property
    def factor(self) -> float:
        """What it is multiplied with where it is written."""
        return 100.0 if self.in_percent else 1.0

    @property
    def decimals(self) -> int:
        """Decimals with which it is written."""
        return 2 if self.in_percent else 1 if abs(self.mean) >= 10 else 3

    def __str__(self) -> str:
        """Returns mean and interval: "99.38 ± 0.04"."""
        return format_score({"mean": self.mean, "ci95": self.ci95}, self.decimals, self.factor)


def scores_of(row: Mapping[str, Any]) -> dict[str, ModelScore]:
    """Returns the scores of a summary row, those of the test set first.

    Several scores under one name, as of several delays, become their mean.
    """
    found = {}
    for name, value in row.items():
        if isinstance(value, list) and value and all(map(_is_score, value)):
            value = interval(np.mean([score["values"] for score in value], axis=0))
        if _is_score(value):
            found[name] = ModelScore(name, value["mean"], value["ci95"], tuple(value["values"]))
    return dict(sorted(found.items(), key=lambda score: score[1].of_validation))


def main_score(row: Mapping[str, Any], name: str | None = None) -> ModelScore | None:
    """Returns the main score of a summary row: the first of the test set, else of the validation set, else None.

    Args:
        row: summary row of a model.
        name: name of the score to return instead.

    Raises:
        InputError: if the row has no score of this name.
    """
    scores = scores_of(row)
    if name is not None and name not in scores:
        raise InputError(f"{row.get('model')} has no score {name!r}; it has {', '.join(scores) or 'none'}.")
    return scores[name] if name is not None else next(iter(scores.values()), None)


def _is_score(value: Any) -> bool:
    return isinstance(value, Mapping) and {"mean", "ci95", "values"} <= set(value)
