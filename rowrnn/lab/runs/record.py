"""The record of a run: `results.json` and `arrays.npz`, and whether the run is still going.

Both files are read and written here and nowhere else; in the JSON the `entries` of a record and of a row stand beside
their other fields.
"""

import dataclasses
import fcntl
import json
import os
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError

RESULTS = "results.json"
ARRAYS = "arrays.npz"
CLAIM = ".running"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"

SCHEMA = 1
"""The schema that is written. Records of schema 0 had no number, and the same fields."""


@dataclass(frozen=True)
class ModelRow:
    """A model's line of the summary.

    Args:
        model: its title.
        parameters: number of its parameters.
        width: what its build was called with.
        seeds: models trained together.
        epochs: passes over the training set.
        skipped_steps: steps that each seed left out because their loss or gradient was not finite.
        train_seconds: seconds of training with its validation, all seeds together, compilation apart.
        compile_seconds: seconds to compile the steps.
        train_images_per_second: images of all seeds in a second of training.
        memory_mib: what XLA plans for the steps: data, state and temporaries.
        devices: number of devices by axis of the mesh.
        computed_by: backends of its recurrences, and why.
        entries: its scores, and what else is told of it.
    """

    model: str
    parameters: int
    width: int
    seeds: int
    epochs: int
    skipped_steps: Any
    train_seconds: float
    compile_seconds: float
    train_images_per_second: float
    memory_mib: float
    devices: Mapping[str, int]
    computed_by: str
    entries: Mapping[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """The row as it stands in the summary, and as columns of tables take it."""
        return _flat(self)


@dataclass(frozen=True)
class Record:
    """What is known of a run.

    Args:
        experiment: name of its script.
        data: the data set, as it describes itself.
        protocol: how the figures come about, and the options by name.
        summary: a row of each model, as `ModelRow.flat` gives it, or of whatever is measured.
        curves: by model, metrics after every epoch, each with a last axis of seeds.
        table: a header and rows, where they are not those of `rowrnn.lab.report.tables`.
        progress: of the model that trains: how far it has come.
        arguments: of its command line; None in records that could not be resumed.
        started: when, as `%Y-%m-%dT%H:%M:%S%z`.
        finished: whether it reached its end.
        seconds: that all processes have worked on it.
        entries: what else is recorded: its environment, and what only this experiment knows.
        schema: the form of the file that it was read from.
    """

    experiment: str
    data: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    summary: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    table: Sequence[Sequence[str]] | None = None
    progress: Mapping[str, Any] | None = None
    arguments: Sequence[str] | None = None
    started: str | None = None
    finished: bool = False
    seconds: float = 0.0
    entries: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Record":
        """The record with these fields, whose further ones are its entries.

        Raises:
            TypeError: if there is no `experiment`.
        """
        fields = {name: content[name] for name in _names(cls) if name in content}
        return cls(**fields, entries={name: value for name, value in content.items() if name not in fields})

    def flat(self) -> dict[str, Any]:
        """The record as it stands in the file."""
        return {name: value for name, value in _flat(self).items() if value is not None}

    def replace(self, **changes: Any) -> "Record":
        """The record with other values of some fields."""
        return dataclasses.replace(self, **changes)


def load_run(directory: Path) -> tuple[Record, dict[str, np.ndarray]]:
    """The record and arrays of a run.

    Raises:
        InputError: if the directory holds no run that this version can read.
    """
    record = read_record(directory)
    if not (directory / ARRAYS).exists():
        return record, {}
    try:
        with (directory / ARRAYS).open("rb") as file, np.load(file) as arrays:
            return record, dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{directory} holds no readable run ({error}). Name the directory of a run.") from error


def read_record(directory: Path) -> Record:
    """The record of a run.

    Raises:
        InputError: if the directory holds no run that this version can read.
    """
    try:
        return read_results(directory / RESULTS)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{directory} holds no readable run ({error}). Name the directory of a run.") from error


def read_results(path: Path) -> Record:
    """The record in a file.

    Raises:
        InputError: if a newer version wrote it.
        OSError, ValueError, TypeError: if the file cannot be read, is no JSON or no record.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "experiment" not in content:
        raise ValueError("it names no experiment")
    schema = content.get("schema", 0)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, and this version of rowrnn reads schemas up to {SCHEMA}: update rowrnn with "
            "pip install --upgrade rowrnn."
        )
    return Record.of({**content, "schema": schema})


def write_record(directory: Path, record: Record) -> None:
    """Writes `results.json`, whole or not at all."""
    text = json.dumps(record.replace(schema=SCHEMA).flat(), indent=1, default=to_json)
    with whole_file(directory / RESULTS) as path:
        path.write_text(f"{text}\n", encoding="utf-8")


def write_arrays(directory: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes `arrays.npz`, whole or not at all."""
    with whole_file(directory / ARRAYS) as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})


def is_running(directory: Path) -> bool:
    """Whether a process works on the run."""
    try:
        lock = os.open(directory / CLAIM, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(lock)


def resume_command(directory: Path, script: str) -> str:
    """How to go on with an interrupted run."""
    return shlex.join(["python", script, "--resume", str(directory)])


def to_json(value: Any) -> Any:
    """What JSON has no form of: arrays become lists, paths strings, dataclasses objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name != "entries"]


def _flat(of: Any) -> dict[str, Any]:
    return {**{name: getattr(of, name) for name in _names(type(of))}, **of.entries}
