"""A table of all runs in a folder: progress, accuracy, age, and what resumes them."""

import time
from datetime import datetime
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.runs.directory import how_to_resume, is_running
from rowrnn.lab.runs.record import RESULTS, Record, read_record

HEADER = ("run", "state", "how far", "accuracy %", "started")
UNITS = {"d": 86_400, "h": 3_600, "min": 60}


def overview(folder: Path) -> tuple[list[list[str]], list[str]]:
    """Lists all runs in a folder, the newest first.

    Args:
        folder: folder that contains the directories of the runs.

    Returns:
        A header and a row for each run, those that cannot be read last, the argument of `plain_table`; and for each
        interrupted run what resumes it.

    Raises:
        InputError: if there is no run in the folder.
    """
    runs, unreadable = [], []
    for path in sorted(folder.glob(f"*/{RESULTS}")):
        try:
            runs.append((path.parent, read_record(path.parent)))
        except InputError:
            unreadable.append([path.parent.name, "unreadable", "", "", ""])
    if not runs and not unreadable:
        raise InputError(f"There is no run in {folder}. Name the folder in which the directories of runs lie.")
    runs.sort(key=lambda run: run[1].started or "", reverse=True)
    states = [_state(*run) for run in runs]
    table = [
        [path.name, state, _how_far(record), _accuracy(record), _age(record)]
        for (path, record), state in zip(runs, states, strict=True)
    ]
    again = [
        how_to_resume(path, record)
        for (path, record), state in zip(runs, states, strict=True)
        if state == "interrupted" and "resume" in record.protocol
    ]
    return [list(HEADER), *table, *unreadable], again


def _state(path: Path, record: Record) -> str:
    return "finished" if record.finished else "running" if is_running(path) else "interrupted"


def _how_far(record: Record) -> str:
    progress = record.progress
    return f"{progress['model']}, epoch {progress['epoch']}/{progress['epochs']}" if progress else ""


def _accuracy(record: Record) -> str:
    """Returns the best test accuracy of a run if it has one, else the validation accuracy so far, in percent."""
    scores = [row.get("test_accuracy") for row in record.summary if isinstance(row, dict)]
    tested = [score["mean"] for score in scores if isinstance(score, dict)]
    if tested:
        return f"{100 * max(tested):.2f}"
    so_far = (record.progress or {}).get("validation_accuracy")
    return "" if so_far is None else f"{100 * so_far:.2f} (validation)"


def _age(record: Record) -> str:
    if record.started is None:
        return ""
    seconds = time.time() - datetime.strptime(record.started, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    for unit, size in UNITS.items():
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now"
