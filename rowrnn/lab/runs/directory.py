"""A run of an experiment: its directory and its record."""

import fcntl
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jaxtyping import ArrayLike

from rowrnn.errors import InputError
from rowrnn.lab.devices.exchange import broadcast_from_first
from rowrnn.lab.devices.mesh import cores
from rowrnn.lab.errors import Stopped, StorageError
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.process_usage import seconds_since_start
from rowrnn.lab.runs.record import (
    CHECKPOINTS,
    CLAIM,
    RESULTS,
    TENSORBOARD,
    Record,
    read_record,
    resume_command,
    write_arrays,
    write_record,
)

PACKAGES = ("rowrnn", "jax", "jaxlib", "flax", "optax", "numpy")


class Run:
    """The directory of a run, a context manager: made at the start, removed again if nothing was reached.

    Args:
        directory: where to write. A directory that holds something already is kept: the run takes the next free
            name, `directory-2`, `directory-3`, ….
        resume: go on with the interrupted run in the directory instead.
        tensorboard: write what `epoch` is told for TensorBoard too.

    Raises:
        InputError: if the directory cannot be written, or there is no interrupted run to resume in it.
    """

    def __init__(self, directory: Path, *, resume: bool = False, tensorboard: bool = False) -> None:
        self.directory = directory
        self._resume = resume
        self._made: list[Path] = []
        self._before: Record | None = None
        self._record: Record | None = None
        self._saved = self._finished = False
        self._summary_writer = _tensorboard() if tensorboard else None
        self._writers: dict[str, Any] = {}
        self._checkpoints = directory / CHECKPOINTS
        self._now = time.strftime("%Y-%m-%dT%H:%M:%S%z")

    def __enter__(self) -> "Run":
        if jax.process_index() == 0:
            self._enter()
        self._checkpoints = Path(broadcast_from_first(str(self.directory.absolute()))) / CHECKPOINTS
        if jax.process_index() > 0:
            # Of several processes the first writes; what the others write is thrown away.
            self._before = read_record(self.directory) if self._resume else None
            self.directory = Path(tempfile.mkdtemp())
            self._claim()
        return self

    def _enter(self) -> None:
        if self._resume:
            self._take_over()
            return
        wanted, number = self.directory, 2
        try:
            while not self._claim():
                self.directory = wanted.with_name(f"{wanted.name}-{number}")
                number += 1
        except (OSError, ValueError) as error:
            self._remove_empty()
            raise InputError(
                f"The output directory {wanted} cannot be written ({getattr(error, 'strerror', error)}). "
                "Name another one with --output."
            ) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()
        if jax.process_index() > 0:
            shutil.rmtree(self.directory)
        elif kind is not None:
            resumable = any(self._checkpoints.glob("*/*"))
            if not resumable:
                shutil.rmtree(self._checkpoints, ignore_errors=True)
                if not self._saved:
                    (self.directory / RESULTS).unlink(missing_ok=True)
            saved = (self.directory / RESULTS).exists()
            finished = f"what was finished is in {self.directory / RESULTS}" if saved else "nothing was finished"
            ended = "Interrupted" if issubclass(kind, KeyboardInterrupt | Stopped) else "Ended by an error"
            print(f"{ended}: {finished}.", file=sys.stderr)
            if resumable and not issubclass(kind, InputError | FloatingPointError):
                print(f"Go on with: {resume_command(self.directory, sys.argv[0])}", file=sys.stderr)
        (self.directory / CLAIM).unlink(missing_ok=True)
        os.close(self._lock)
        self._remove_empty()

    def _claim(self) -> bool:
        """Makes the directory this run's own, if it is empty and no other run has claimed it."""
        for path in (*reversed(self.directory.parents), self.directory):
            try:
                path.mkdir()
                self._made.append(path)
            except FileExistsError:
                pass
        if not self.directory.is_dir() or any(self.directory.iterdir()):
            return False
        try:
            self._lock = os.open(self.directory / CLAIM, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        except FileExistsError:
            return False
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return True

    def _take_over(self) -> None:
        """Makes an interrupted run's directory this run's own."""
        record = read_record(self.directory)
        if record.finished:
            raise InputError(f"The run in {self.directory} is finished: there is nothing to resume.")
        self._lock = os.open(self.directory / CLAIM, os.O_CREAT | os.O_RDWR)
        try:
            # The kernel lets go of the lock of a process that was killed.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise InputError(f"The run in {self.directory} is still running.") from None
        self._before, self._made = record, [self.directory]

    def _remove_empty(self) -> None:
        for path in reversed(self._made):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def checkpoints(self, title: str) -> Path:
        """Where the checkpoints of a model of the run belong."""
        return self._checkpoints / file_name(title)

    def begin(self, record: Record) -> None:
        """Writes `results.json` before there are results; it is removed again if nothing comes of the run."""
        self._record = record
        self._write(record)

    def save(self, record: Record, arrays: Mapping[str, ArrayLike] | None = None) -> None:
        """Writes `results.json`, and `arrays.npz` where there are arrays, each whole or not at all.

        Args:
            record: what is known; whether the run is finished, and the seconds of all processes that have worked on it,
                are set here.
            arrays: arrays by name.

        Raises:
            StorageError: if the disk is full.
        """
        self._saved = True
        self._record = record
        self._write(record, arrays)

    def epoch(self, title: str, number: int, epochs: int, values: Mapping[str, float]) -> None:
        """Notes in the record how far a model has come.

        Args:
            title: the model.
            number: its epoch, from 1.
            epochs: how many it will have.
            values: what the epoch showed, by the names of the curves.
        """
        if self._record is None:
            raise RuntimeError("A run begins before its first epoch.")
        progress = {"model": title, "epoch": number, "epochs": epochs, **values}
        self._write(self._record.replace(progress=progress))
        if self._summary_writer:
            if title not in self._writers:
                self._writers[title] = self._summary_writer(str(self.directory / TENSORBOARD / title))
            for name, value in values.items():
                self._writers[title].add_scalar(name, value, number)
            self._writers[title].flush()

    def finish(self, record: Record, arrays: Mapping[str, ArrayLike] | None = None) -> None:
        """Saves the record of a finished run, and removes what it would have been resumed from."""
        self._finished = True
        self.save(record, arrays)
        if jax.process_index() == 0:
            shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _write(self, record: Record, arrays: Mapping[str, ArrayLike] | None = None) -> None:
        before = self._before.seconds if self._before else 0.0
        record = record.replace(finished=self._finished, seconds=before + seconds_since_start())
        try:
            if arrays:
                write_arrays(self.directory, arrays)
            write_record(self.directory, record)
        except OSError as error:
            raise StorageError(f"The results in {self.directory} cannot be written ({error.strerror}).") from error

    def contents(self) -> list[str]:
        """What is in the directory, by name."""
        return sorted(path.name for path in self.directory.iterdir() if path.name != CLAIM)

    def environment(self) -> dict[str, Any]:
        """What this run is: command, time, versions and devices; of a resumed one those at its start."""
        here = {
            "command": shlex.join(["python", *sys.argv]),
            "arguments": sys.argv[1:],
            "started": self._now,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "platform": f"{platform.system()} {platform.machine()}",
            "cores": cores(),
            "devices": [device.device_kind for device in jax.devices()],
        }
        if self._before is None:
            return here | {"resumed": []}
        before, again = self._before.flat(), {name: here[name] for name in ("started", "versions", "devices")}
        return {**{name: before[name] for name in here}, "resumed": [*before["resumed"], again]}


def _tensorboard() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError("Scalars for TensorBoard need tensorboardX: pip install 'rowrnn[tensorboard]'.") from None
    return SummaryWriter
