"""All runs in a folder: their models with scores, their options, state and age, and the commands that resume them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from rowrnn.errors import InputError
from rowrnn.lab.report.scores import ModelScore, main_score
from rowrnn.lab.runs.directory import is_running
from rowrnn.lab.runs.record import RESULTS, Record, read_record
from rowrnn.lab.runs.started import how_to_resume
from rowrnn.lab.runs.told_options import in_words, telling_options

State = Literal["finished", "running", "interrupted", "unreadable"]
Order = Literal["started", "run", "experiment", "score"]
HEADER = ("run", "state", "model", "score", "of what", "options", "started")
WORDS = ("state", "model", "of what", "options", "started")  # columns of text
UNITS = {"d": 86_400, "h": 3_600, "min": 60}


@dataclass(frozen=True)
class Found:
    """A run in a folder.

    Args:
        directory: its directory.
        state: whether it is finished, running, interrupted or unreadable.
        record: its record, empty where it cannot be read.
    """

    directory: Path
    state: State
    record: Record

    def title(self) -> str:
        """Returns the name of its directory, with the experiment in brackets where the name does not begin with it."""
        name, experiment = self.directory.name, self.record.experiment
        return name if name.startswith(experiment) else f"{name} ({experiment})"

    def scores(self, model: str = "") -> dict[str, ModelScore | None]:
        """Returns the main score of each finished model whose title contains `model`, in any case."""
        rows = [row for row in self.record.summary if isinstance(row, dict) and "model" in row]
        return {row["model"]: main_score(row) for row in rows if model.lower() in row["model"].lower()}

    def resumed_by(self) -> str | None:
        """Returns what resumes the run; None if it cannot be resumed."""
        resumable = self.state == "interrupted" and "resume" in self.record.protocol
        return how_to_resume(self.directory, self.record) if resumable else None


def find_runs(
    folder: Path,
    *,
    experiment: str | None = None,
    state: State | None = None,
    model: str = "",
    sort: Order = "started",
) -> list[Found]:
    """Finds the runs in a folder.

    Args:
        folder: folder that contains the directories of the runs.
        experiment: only runs of this experiment.
        state: only runs in this state.
        model: only runs with a model whose title contains this, in any case.
        sort: `started`, the newest first, `run` or `experiment`, by name, or `score`, by experiment and the best model
            first. Runs that cannot be read are last.

    Raises:
        InputError: if there is no run in the folder, or none is left.
    """
    runs = [_found(path.parent) for path in sorted(folder.glob(f"*/{RESULTS}"))]
    if not runs:
        raise InputError(f"There is no run in {folder}. Name the folder in which the directories of runs lie.")
    left = [
        run
        for run in runs
        if (experiment is None or run.record.experiment == experiment)
        and (state is None or run.state == state)
        and (not model or run.scores(model) or model.lower() in _in_training(run).lower())
    ]
    if not left:
        experiments = sorted({run.record.experiment for run in runs if run.state != "unreadable"})
        raise InputError(
            f"None of the {len(runs)} runs in {folder} is as asked for; they are of {', '.join(experiments) or 'none'}."
        )
    if sort == "started":
        left.sort(key=lambda run: run.record.started or "", reverse=True)
    elif sort != "run":
        left.sort(key=lambda run: (run.record.experiment, _rank(run, model) if sort == "score" else 0))
    return sorted(left, key=lambda run: run.state == "unreadable")


def overview(runs: Sequence[Found], model: str = "") -> list[list[str]]:
    """Returns a header and a row for each model of the runs, the argument of `plain_table`.

    Args:
        runs: the runs.
        model: only models whose title contains this, in any case.
    """
    table, records = [list(HEADER)], [run.record for run in runs]
    for run in runs:
        lines = [[title, *_written(score)] for title, score in run.scores(model).items()]
        progress = run.record.progress
        if progress and run.state != "finished":
            so_far = next((name for name in progress if name.startswith("validation_")), None)
            score = ModelScore(so_far, progress[so_far], None, [progress[so_far]]) if so_far else None
            value, what = _written(score)
            reached = f"epoch {progress['epoch']}/{progress['epochs']}"
            lines.append([progress["model"], value, f"{what}, {reached}" if what else reached])
        options = in_words(telling_options(run.record, records))
        for number, line in enumerate(lines or [["", "", ""]]):
            first = number == 0
            about = [run.title(), run.state] if first else ["", ""]
            table.append([*about, *line, *([options, _age(run.record)] if first else ["", ""])])
    return table


def as_json(runs: Sequence[Found], model: str = "") -> list[dict[str, Any]]:
    """Returns the runs as lists and dicts, with every seed's value of the main scores.

    Args:
        runs: the runs.
        model: only models whose title contains this, in any case.
    """
    records = [run.record for run in runs]
    return [
        {
            "run": str(run.directory),
            "experiment": run.record.experiment,
            "state": run.state,
            "started": run.record.started,
            "options": telling_options(run.record, records),
            "models": [
                {"model": title}
                | ({"score": s.name, "mean": s.mean, "ci95": s.ci95, "values": list(s.values)} if s else {})
                for title, s in run.scores(model).items()
            ],
            "progress": run.record.progress if run.state != "finished" else None,
            "resume": run.resumed_by(),
        }
        for run in runs
    ]


def _found(directory: Path) -> Found:
    try:
        record = read_record(directory)
    except InputError:
        return Found(directory, "unreadable", Record(""))
    return Found(
        directory, "finished" if record.finished else "running" if is_running(directory) else "interrupted", record
    )


def _written(score: ModelScore | None) -> tuple[str, str]:
    return ("", "") if score is None else (str(score), score.heading)


def _in_training(run: Found) -> str:
    return (run.record.progress or {}).get("model", "")


def _rank(run: Found, model: str) -> float:
    """Returns a number that is lower for a better run: that of its best model."""
    scores = [score for score in run.scores(model).values() if score is not None]
    return min((s.mean if s.lower_is_better else -s.mean for s in scores), default=float("inf"))


def _age(record: Record) -> str:
    if record.started is None:
        return ""
    seconds = time.time() - datetime.strptime(record.started, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    for unit, size in UNITS.items():
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now"
