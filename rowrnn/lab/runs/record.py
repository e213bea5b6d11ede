"""The record of a run: `results.json` and `arrays.npz`, and whether the run is still going."""

import fcntl
import json
import os
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rowrnn.errors import InputError

RESULTS = "results.json"
ARRAYS = "arrays.npz"
CLAIM = ".running"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"

Results = Mapping[str, Any]


def load_run(directory: Path) -> tuple[Results, dict[str, np.ndarray]]:
    """The results and arrays of a run.

    Raises:
        InputError: if the directory holds no run.
    """
    results = read_record(directory)
    if not (directory / ARRAYS).exists():
        return results, {}
    try:
        with (directory / ARRAYS).open("rb") as file, np.load(file) as arrays:
            return results, dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{directory} holds no readable run ({error}). Name the directory of a run.") from error


def read_record(directory: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        InputError: if the directory holds no run.
    """
    try:
        return json.loads((directory / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{directory} holds no readable run ({error}). Name the directory of a run.") from error


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
    """What JSON has no form of: arrays become lists, paths strings."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
