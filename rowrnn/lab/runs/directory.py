"""The directory of a run, and what is written to it."""

import fcntl
import os
import platform
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
from rowrnn.lab.runs.circumstances import commit, processor
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.process_usage import seconds_since_start
from rowrnn.lab.runs.record import RESULTS, Record, load_run, read_record, write_arrays, write_record
from rowrnn.lab.runs.started import Started, how_to_resume

CLAIM = ".running"  # the file whose lock a running process holds
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"

PACKAGES = ("rowrnn", "jax", "jaxlib", "flax", "optax", "numpy")


class Run:
    """The directory of a run, a context manager: created on entry, removed on exit if nothing was written.

    Args:
        directory: where to write. If it is not empty, the run uses the next free name: `directory-2`, `directory-3`, ….
        resume: resume the interrupted run in the directory instead.
        tensorboard: write the values passed to `epoch` for TensorBoard too.
        started: the command that started it; that of the process where not given.

    Raises:
        InputError: if tensorboardX is missing; on entry, if the directory cannot be written, or holds no interrupted
            run to resume.
    """

    def __init__(
        self, directory: Path, *, resume: bool = False, tensorboard: bool = False, started: Started | None = None
    ) -> None:
        self.directory = directory
        self._started = started or Started.of_process()
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
            # Only the first process writes to the directory; the others write to a temporary one that is removed.
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
                if not self._saved and self._before is None:
                    (self.directory / RESULTS).unlink(missing_ok=True)
            saved = (self.directory / RESULTS).exists()
            finished = f"what was finished is in {self.directory / RESULTS}" if saved else "nothing was finished"
            ended = "Interrupted" if issubclass(kind, KeyboardInterrupt | Stopped) else "Ended by an error"
            print(f"{ended}: {finished}.", file=sys.stderr)
            record = self._record or self._before
            if record and resumable and not issubclass(kind, InputError | FloatingPointError):
                print(f"Go on with: {how_to_resume(self.directory, record)}", file=sys.stderr)
        (self.directory / CLAIM).unlink(missing_ok=True)
        os.close(self._lock)
        self._remove_empty()

    def _claim(self) -> bool:
        """Creates the directory and locks it; returns False if it is not empty or another run has claimed it."""
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
        """Locks the directory of an interrupted run.

        Raises:
            InputError: if the run cannot be read, is finished, or is still running.
        """
        record = read_record(self.directory)
        if record.finished:
            raise InputError(f"The run in {self.directory} is finished: there is nothing to resume.")
        self._lock = os.open(self.directory / CLAIM, os.O_CREAT | os.O_RDWR)
        try:
            # The kernel releases the lock of a process that was killed.
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
        """Returns the directory for the checkpoints of a model of the run."""
        return self._checkpoints / file_name(title)

    def begin(
        self, record: Record, arrays: Mapping[str, ArrayLike] | None = None
    ) -> tuple[Record, dict[str, ArrayLike]]:
        """Writes `results.json` before there are results; it is removed on exit if no results follow.

        Args:
            record: the record, without results.
            arrays: arrays by name that all models share.

        Returns:
            The record and the arrays, for a resumed run with the results that it had.

        Raises:
            InputError: if the earlier arrays cannot be read.
            StorageError: if the file cannot be written.
        """
        if self._before is not None and jax.process_index() == 0:
            before, earlier = load_run(self.directory)
            record = record.replace(summary=before.summary, curves=before.curves, table=before.table)
            arrays = {**earlier, **(arrays or {})}
        self._record = record
        self._write(record)
        return record, dict(arrays or {})

    def save(self, record: Record, arrays: Mapping[str, ArrayLike] | None = None) -> None:
        """Writes `results.json`, and `arrays.npz` if there are arrays, each atomically.

        Args:
            record: the record; its fields `finished` and `seconds` (over all processes that have worked on the run) are
                set here.
            arrays: arrays by name.

        Raises:
            StorageError: if a file cannot be written.
        """
        self._saved = True
        self._record = record
        self._write(record, arrays)

    def epoch(self, title: str, number: int, epochs: int, values: Mapping[str, float]) -> None:
        """Records the progress of a model.

        Args:
            title: title of the model.
            number: number of the epoch, from 1.
            epochs: number of epochs of the training.
            values: values after the epoch, by the names of the curves.

        Raises:
            RuntimeError: before `begin`.
            StorageError: if the record cannot be written.
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
        """Saves the record of a finished run and removes its checkpoints.

        Args:
            record: the record.
            arrays: arrays by name.

        Raises:
            StorageError: if a file cannot be written.
        """
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
        """Returns the names of the files in the directory, sorted."""
        return sorted(path.name for path in self.directory.iterdir() if path.name != CLAIM)

    def environment(self) -> dict[str, Any]:
        """Returns command, start time, versions, commit and devices, for a resumed run those of its start."""
        here = {
            "command": str(self._started),
            "arguments": list(self._started.arguments),
            "started": self._now,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "commit": commit(),
            "platform": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": cores(),
            "devices": [device.device_kind for device in jax.devices()],
        }
        if self._before is None:
            return here | {"resumed": []}
        before, again = self._before.flat(), {name: here[name] for name in ("started", "versions", "devices")}
        return {**{name: before.get(name) for name in here}, "resumed": [*before["resumed"], again]}


def is_running(directory: Path) -> bool:
    """Returns whether a process holds the lock of the run."""
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


def _tensorboard() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError("Scalars for TensorBoard need tensorboardX: pip install 'rowrnn[lab]'.") from None
    return SummaryWriter
