"""An answer about one file, and tables of answers for people and for programs."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from rowrnn.errors import InputError

OTHERS = 2  # further answers that are told
UNSURE_BELOW = 0.7
"""Probability below which an answer is marked as unsure."""


@dataclass(frozen=True)
class Answer:
    """What a model says about one file.

    Args:
        file: name of the file.
        answer: the class, or the text.
        probability: of the answer, by the model; of a text, the geometric mean over its characters or words; NaN where
            there is none.
        others: the next most probable answers, with their probabilities.
        error: why there is no answer; empty where there is one.
        details: further values for programs, by name.
        comes_next: whether it says what comes next, which is neither right nor wrong yet.
    """

    file: str
    answer: str = ""
    probability: float = math.nan
    others: Sequence[tuple[str, float]] = ()
    error: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    comes_next: bool = False

    def unsure(self, below: float = UNSURE_BELOW) -> bool:
        """Returns whether there is an answer whose probability is below a bound, or an empty one."""
        return not self.error and not self.comes_next and (self.probability < below or not self.answer)

    def flat(self, below: float = UNSURE_BELOW) -> dict[str, Any]:
        """Returns the answer as a dict for JSON."""
        if self.error:
            return {"file": self.file, "error": self.error}
        if math.isnan(self.probability):
            return {"file": self.file, "answer": self.answer, **self.details}
        return {
            "file": self.file,
            "answer": self.answer,
            "probability": self.probability,
            "unsure": self.unsure(below),
            "others": dict(self.others),
            **self.details,
        }


def of_probabilities(
    file: str, classes: Sequence[str], probability: Float[np.ndarray, "classes"], details: Mapping[str, Any]
) -> Answer:
    """Returns the answer of a classifier.

    Args:
        file: name of the file.
        classes: names of the classes.
        probability: of each class.
        details: further values for programs.

    Raises:
        InputError: if there are not as many names as probabilities.
    """
    if len(classes) != len(probability):
        raise InputError(
            f"The model tells {len(probability)} classes apart, and its card names {len(classes)}: give rowrnn.save "
            "the card of this model."
        )
    best = [(classes[place], float(probability[place])) for place in np.argsort(-probability, kind="stable")]
    by_name = dict(zip(classes, probability.tolist(), strict=True))
    return Answer(file, *best[0], tuple(best[1 : 1 + OTHERS]), details={"probabilities": by_name, **details})


def forecast_of(answer: Answer) -> list[list[str]]:
    """Returns a header and a row for each coming row: its time or number, and what is expected of each target."""
    rows: dict[str, list[str]] = {}
    forecast = answer.details["forecast"]
    targets = list(dict.fromkeys(row["target"] for row in forecast))
    for row in forecast:
        said = f"{row['expected']:.4g} ({row['low']:.4g} to {row['high']:.4g})"
        rows.setdefault(row["time"] or f"+{row['row']}", []).append(said)
    return [["time" if forecast[0]["time"] else "row", *targets], *([time, *said] for time, said in rows.items())]


def rows_of(answers: Sequence[Answer], below: float = UNSURE_BELOW) -> list[list[str]]:
    """Returns a header and a row for each answer, the argument of `plain_table`; errors are told apart from it."""
    rows = [["file", "answer", "sure %", "", "or"]]
    for answer in answers:
        if answer.error:
            rows.append([shown(answer.file), "", "", "no answer", ""])
            continue
        others = "; ".join(f"{name} {100 * probability:.1f}" for name, probability in answer.others)
        mark = "unsure" if answer.unsure(below) else ""
        sure = "" if math.isnan(answer.probability) else f"{100 * answer.probability:.1f}"
        rows.append([shown(answer.file), answer.answer, sure, mark, others])
    return rows if any(row[-1] for row in rows[1:]) else [row[:-1] for row in rows]


def as_json(answers: Sequence[Answer], below: float = UNSURE_BELOW) -> str:
    """Returns the answers as JSON, one object a line."""
    return "".join(f"{_json_of(answer.flat(below))}\n" for answer in answers)


def _json_of(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Names of files that are no UTF-8 are escaped as Python's, so that what reads them back has the same name.
    return text if shown(text) == text else json.dumps(value)


def shown(text: str) -> str:
    """Returns a text for people: bytes of a file's name that are no UTF-8 are written as backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def as_csv(answers: Sequence[Answer], below: float = UNSURE_BELOW) -> str:
    """Returns the answers as CSV with a header: file, answer, probability, unsure, error; forecasts, a line for each
    row and target: file, row, time, target, expected, low, high, error.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if any("forecast" in answer.details for answer in answers):
        table.writerow(["file", "row", "time", "target", "expected", "low", "high", "error"])
        for answer in answers:
            if answer.error:
                table.writerow([answer.file, *[""] * 6, answer.error])
            for row in answer.details.get("forecast", ()):
                table.writerow([answer.file, *row.values(), ""])
        return text.getvalue()
    table.writerow(["file", "answer", "probability", "unsure", "error"])
    for answer in answers:
        unsure = "" if answer.error else str(answer.unsure(below)).lower()
        probability = "" if math.isnan(answer.probability) else f"{answer.probability:.6f}"
        table.writerow([answer.file, answer.answer, probability, unsure, answer.error])
    return text.getvalue()
