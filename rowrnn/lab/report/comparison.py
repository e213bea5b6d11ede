"""Comparison of runs: their models in one table, what differs in their options and versions, and their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rowrnn.errors import InputError, reason
from rowrnn.lab.report.columns import PARAMETERS, SECONDS
from rowrnn.lab.report.scores import ModelScore, main_score
from rowrnn.lab.report.statistics import difference
from rowrnn.lab.runs.record import Record, read_record, read_results
from rowrnn.lab.runs.told_options import differing, options_of, written

MODEL_WORDS = ("run", "model", "compared with", "how")  # columns of text
COSTS = (PARAMETERS, SECONDS)


@dataclass(frozen=True)
class Entry:
    """A model of a run in a comparison.

    Args:
        run: name of its run.
        record: record of its run.
        row: its summary row.
        score: the score that is compared.
    """

    run: str
    record: Record
    row: Mapping[str, Any]
    score: ModelScore

    @property
    def seeds(self) -> list[int]:
        """The seeds of its values."""
        first = self.record.protocol.get("seed", 0)
        return list(range(first, first + len(self.score.values)))

    def unpaired_with(self, other: "Entry") -> str:
        """Returns why its seeds cannot be paired with another model's; "" if they can."""
        if self.seeds != other.seeds:
            return "other seeds"
        if self.record is other.record:
            return ""
        differs = {}
        for what in ("name", "checksum"):
            ours, theirs = self.record.data.get(what), other.record.data.get(what)
            differs[what] = None if None in (ours, theirs) else ours != theirs
        if any(differs.values()):
            return "other data"
        return "data without checksum" if differs["checksum"] is None else ""


@dataclass(frozen=True)
class Difference:
    """How a model's score differs from that of another one.

    Args:
        model: the model.
        reference: what it is compared with.
        mean: difference of the means, positive where the model's is greater.
        bounds: bounds of the 95 % interval of the difference, None where there is none.
        how: "paired, 6 seeds", or why not.
    """

    model: Entry
    reference: Entry
    mean: float
    bounds: tuple[float, float] | None
    how: str


@dataclass(frozen=True)
class Comparison:
    """Runs compared by one score.

    Args:
        runs: the records by the names of their runs.
        entries: all their models.
    """

    runs: Mapping[str, Record]
    entries: Sequence[Entry]

    def difference(self, entry: Entry) -> Difference | None:
        """Returns the difference to the model of the same title in an earlier run, else to the very first model.

        None for the first model.
        """
        first = self.entries[0]
        if entry is first:
            return None
        alike = [other for other in self.entries if other.row["model"] == entry.row["model"]]
        reference = first if alike[0] is entry else alike[0]
        reason = entry.unpaired_with(reference)
        mean, bounds = difference(reference.score.values, entry.score.values, paired=not reason)
        counts = len(entry.score.values), len(reference.score.values)
        if min(counts) < 2:
            how = "one seed: no interval" + (f", {reason}" if reason else "")
        elif reason:
            how = f"unpaired (Welch), {reason}: {counts[0]} and {counts[1]}"
        else:
            how = f"paired, {counts[0]} seeds"
        return Difference(entry, reference, mean, bounds, how)

    def models(self) -> list[list[str]]:
        """Returns a header and a row for each model, the argument of `plain_table`."""
        score = self.entries[0].score
        costs = [column for column in COSTS if any(_cell(column, entry) for entry in self.entries)]
        header = ["run", "model", score.heading, "difference", "95 % interval", "compared with", "how"]
        table = [header + [heading for heading, _ in costs]]
        for entry in self.entries:
            table.append(
                [
                    *(entry.run, entry.row["model"], str(entry.score), *self._difference_cells(entry)),
                    *(_cell(column, entry) for column in costs),
                ]
            )
        return table

    def _difference_cells(self, entry: Entry) -> list[str]:
        of = self.difference(entry)
        if of is None:
            return [""] * 4

        def signed(value: float) -> str:
            return f"{score.factor * value:+.{score.decimals}f}"

        score = self.entries[0].score
        bounds = "n/a" if of.bounds is None else f"{signed(of.bounds[0])} to {signed(of.bounds[1])}"
        same = of.reference.run == entry.run
        return [signed(of.mean), bounds, of.reference.row["model"] if same else f"that of {of.reference.run}", of.how]

    def caption(self) -> str:
        """Returns what the table of the models says below it."""
        score = self.entries[0].score
        better = "Lower" if score.lower_is_better else "Higher"
        return (
            f"{better} is better. Scores: mean over seeds ± 95 % interval (Student's t). A model is compared with that "
            "of the same title in an earlier run, else with the first one: where the interval of a difference holds 0, "
            "these seeds do not tell the two apart."
        )

    def differences(self) -> list[list[str]]:
        """Returns a header with the runs, and a row for each option, version or other circumstance that differs."""
        circumstances = [_circumstances(record) for record in self.runs.values()]
        table = [["", *self.runs]]
        for name in differing(circumstances):
            values = [written(of[name]) if name in of else "-" for of in circumstances]
            if name == "data checksum":
                values = [value[:12] for value in values]
            table.append([name, *values])
        return table

    def curves(self) -> Record:
        """Returns a record with the curves of all runs, each model's under the names of run and model.

        Raises:
            InputError: if a run has no curves, or they have other validation scores.
        """
        curves, measures = {}, set()
        for run, record in self.runs.items():
            if not record.curves:
                raise InputError(f"The run {run} has no learning curves to draw.")
            for model, curve in record.curves.items():
                curves[f"{run}: {model}"] = curve
                measures |= {name for name in curve if name.startswith("validation_")}
        if len(measures) > 1:
            raise InputError(
                f"The curves of these runs are of {' and '.join(sorted(measures))}: draw runs of one kind."
            )
        return Record("comparison", curves=curves)

    def as_json(self) -> dict[str, Any]:
        """Returns the comparison as lists and dicts; scores and differences are as in the records, not in percent."""
        models = []
        for entry in self.entries:
            score, of = entry.score, self.difference(entry)
            models.append(
                {
                    "run": entry.run,
                    "model": entry.row["model"],
                    "parameters": entry.row.get("parameters"),
                    "score": score.name,
                    "mean": score.mean,
                    "ci95": score.ci95,
                    "values": list(score.values),
                    "difference": None
                    if of is None
                    else {
                        "run": of.reference.run,
                        "model": of.reference.row["model"],
                        "mean": of.mean,
                        "interval": of.bounds,
                        "how": of.how,
                    },
                }
            )
        header, *rows = self.differences()
        return {"models": models, "differences": {name: dict(zip(header[1:], row, strict=True)) for name, *row in rows}}


def read_named(path: Path) -> tuple[str, Record]:
    """Reads the record of a run, from its directory or a JSON file, and returns it with its name.

    Raises:
        InputError: if there is no run that this version can read.
    """
    if path.is_dir():
        return path.resolve().name, read_record(path)
    try:
        return path.parent.name if path.name == "results.json" else path.stem, read_results(path)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        message = f"{path} is no run ({reason(error)}). Name the directory of a run, or its results.json."
        raise InputError(message) from error


def compare_runs(runs: Sequence[tuple[str, Record]], score: str | None = None) -> Comparison:
    """Compares runs.

    Args:
        runs: names and records; the same name again is numbered.
        score: name of the score in the records; the main one where not given.

    Raises:
        InputError: if there is no run, no model is finished, a model has no such score, or the main scores are not of
            one kind.
    """
    if not runs:
        raise InputError("There is nothing to compare: name the directories of runs.")
    named: dict[str, Record] = {}
    for name, record in runs:
        number = 2
        unique = name
        while unique in named:
            unique, number = f"{name} ({number})", number + 1
        named[unique] = record
    entries = []
    for name, record in named.items():
        for row in record.summary:
            found = main_score(row, score)
            if found is not None:
                entries.append(Entry(name, record, row, found))
        if not any(entry.run == name for entry in entries):
            raise InputError(f"The run {name} has no score yet: no model is finished.")
    kinds = {entry.score.name for entry in entries}
    if len(kinds) != 1:
        raise InputError(
            f"These runs cannot be compared: their scores are {', '.join(sorted(kinds)) or 'none'}. Name runs of one "
            "kind, or a score that all have with --score."
        )
    return Comparison(named, entries)


def draw_curves(comparison: Comparison, path: Path) -> None:
    """Draws the learning curves of all runs in one picture; its format is that of the file's suffix.

    Raises:
        InputError: if there are no curves of one kind, or the file cannot be written.
    """
    # Imported where used: Matplotlib takes long.
    import matplotlib.pyplot as plt

    from rowrnn.lab.report.learning_curves import learning_curves
    from rowrnn.lab.report.style import drawing

    curves = comparison.curves()
    with drawing():
        figure = learning_curves(curves)
        try:
            figure.savefig(path)
        except (OSError, ValueError) as error:
            raise InputError(f"The picture {path} cannot be written ({reason(error)}).") from None
        finally:
            plt.close(figure)


def _cell(column: Any, entry: Entry) -> str:
    """Returns the text of a cell; "" where the row does not have what the column shows."""
    try:
        return column[1](entry.row)
    except (KeyError, TypeError):
        return ""


def _circumstances(record: Record) -> dict[str, Any]:
    """Returns the options, data, versions and machine of a run."""
    options = {f"--{name.replace('_', '-')}": value for name, value in options_of(record).items()}
    data = {f"data {name}": record.data[name] for name in ("name", "checksum") if name in record.data}
    names = ("platform", "processor", "cores", "devices")
    machine = {name: record.entries[name] for name in names if name in record.entries}
    return {"experiment": record.experiment, **data, **options, **record.entries.get("versions", {}), **machine}
