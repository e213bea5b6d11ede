"""The record of a run: `results.json` and `arrays.npz`.

Only this module reads and writes both files. In the JSON, the `entries` of a record and of a row stand beside their
other fields.
"""

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError, reason

RESULTS = "results.json"
ARRAYS = "arrays.npz"

SCHEMA = 1
"""Version of the file format. Files of version 0 have no number, but the same fields."""


@dataclass(frozen=True)
class ModelRow:
    """A model's row of the summary.

    Args:
        model: its title.
        parameters: number of its parameters.
        width: the width it was built with.
        seeds: number of models trained together.
        epochs: passes over the training set.
        skipped_steps: number of steps that each seed skipped because the loss or a gradient was not finite.
        train_seconds: seconds of training and validation, all seeds together, without compilation.
        compile_seconds: seconds to compile the steps.
        train_images_per_second: training images per second, over all seeds.
        memory_mib: memory that XLA plans for the steps: data, state and temporaries.
        devices: number of devices by axis of the mesh.
        computed_by: backends of its recurrences, and why.
        entries: its scores and other entries.
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
        """Returns the row as a dict, with its entries beside its fields."""
        return _flat(self)


@dataclass(frozen=True)
class Record:
    """The record of a run.

    Args:
        experiment: name of its script.
        data: description of the data set, `Dataset.describe`.
        protocol: how the figures are obtained, and the options by name.
        summary: rows, one for each model from `ModelRow.flat`, or of other measurements.
        curves: metrics after every epoch by model, each with a last axis of seeds.
        table: a header and rows; None before a model is finished.
        progress: progress of the model in training.
        arguments: arguments of the command line; None in records of runs that cannot be resumed.
        started: start time, as `%Y-%m-%dT%H:%M:%S%z`.
        finished: whether the run is complete.
        seconds: run time of all processes that have worked on it.
        entries: further entries: its environment, and those specific to the experiment.
        schema: version of the file that it was read from.
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
        """Makes a record of a dict; keys that are no fields become its entries.

        Raises:
            TypeError: if there is no `experiment`.
        """
        fields = {name: content[name] for name in _names(cls) if name in content}
        return cls(**fields, entries={name: value for name, value in content.items() if name not in fields})

    def flat(self) -> dict[str, Any]:
        """Returns the record as a dict, as it is written to the file."""
        return {name: value for name, value in _flat(self).items() if value is not None}

    def replace(self, **changes: Any) -> "Record":
        """Returns the record with some fields replaced."""
        return dataclasses.replace(self, **changes)


def load_run(directory: Path) -> tuple[Record, dict[str, np.ndarray]]:
    """Loads the record and the arrays of a run.

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
        raise InputError(
            f"{directory} holds no readable run ({reason(error)}). Name the directory of a run."
        ) from error


def read_record(directory: Path) -> Record:
    """Reads the record of a run.

    Raises:
        InputError: if the directory holds no run that this version can read.
    """
    try:
        return read_results(directory / RESULTS)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{directory} holds no readable run ({reason(error)}). Name the directory of a run."
        ) from error


def read_results(path: Path) -> Record:
    """Reads a record from a file.

    Raises:
        InputError: if a newer version wrote it.
        OSError: if the file cannot be read.
        ValueError: if it is not JSON, or is not a record.
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
    """Writes `results.json` atomically.

    Raises:
        OSError: if the file cannot be written.
    """
    text = json.dumps(record.replace(schema=SCHEMA).flat(), indent=1, default=to_json)
    with whole_file(directory / RESULTS) as path:
        path.write_text(f"{text}\n", encoding="utf-8")


def write_arrays(directory: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes `arrays.npz` atomically.

    Raises:
        OSError: if the file cannot be written.
    """
    with whole_file(directory / ARRAYS) as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})


def to_json(value: Any) -> Any:
    """Converts values that JSON cannot represent: arrays to lists, dataclasses to objects, all others to strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name != "entries"]


def _flat(of: Any) -> dict[str, Any]:
    return {**{name: getattr(of, name) for name in _names(type(of))}, **of.entries}
