"""Checkpoints of a training, written atomically and verified by checksums before they are read.

A checkpoint is a directory `EPOCHS-STEPS` with the arrays, written by Orbax, a record in JSON, and `SHA256SUMS`, which
lists the checksum of every other file and ends with its own (`sha256sum --check` reads it too). It is written under
another name, flushed to disk, and only then renamed.
"""

import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from rowrnn.errors import InputError
from rowrnn.lab.devices.exchange import broadcast_from_first, gather, to_devices
from rowrnn.lab.errors import StorageError
from rowrnn.lab.leaf_names import leaves_by_name

SUMS, RECORD, ARRAYS = "SHA256SUMS", "record.json", "arrays"
PARTIAL = ".partial"
NAME = r"\d{6,}-\d{9,}"


class Checkpoints:
    """The checkpoints of one training, in a directory of their own.

    Args:
        directory: created at the first save.
        keep: number of newest checkpoints to keep. Each contains the best weights so far.
        every: seconds between two saves within an epoch.

    Raises:
        InputError: if `keep` is below 1 or `every` is not above 0.
    """

    def __init__(self, directory: Path, keep: int = 2, every: float = 300.0) -> None:
        if keep < 1 or not every > 0:
            raise InputError(f"Checkpoints: expected at least 1 to keep, every so many seconds, not {keep}, {every}.")
        self.directory = directory.absolute()  # required by Orbax
        self.keep = keep
        self.every = every
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Returns whether `every` seconds have passed since the last save, or since the start."""
        return time.monotonic() - self._saved >= self.every

    def all(self) -> list[Path]:
        """Returns the directories of all checkpoints, oldest first."""
        found = self.directory.iterdir() if self.directory.is_dir() else ()
        return sorted(path for path in found if re.fullmatch(NAME, path.name) and path.is_dir())

    def save(self, epochs: int, steps: int, state: PyTree[jax.Array], record: Mapping[str, Any]) -> None:
        """Saves a state; when it returns, the checkpoint is on the disk, and if it raises, there is none.

        All processes must call it; the first one writes.

        Args:
            epochs: number of finished epochs.
            steps: number of finished steps of the next epoch.
            state: arrays.
            record: values that JSON can represent.

        Raises:
            StorageError: if it cannot be written; older checkpoints stay.
        """
        from orbax.checkpoint import v1 as orbax  # Imported only where used: it takes long.

        arrays = gather(leaves_by_name(state))
        self._saved = time.monotonic()
        partial, whole = self.directory / PARTIAL, self._path(epochs, steps)
        if jax.process_index() > 0:
            orbax.save(partial / ARRAYS, arrays)  # It writes in the first process only, but waits for all.
            return
        try:
            shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
            partial.mkdir(parents=True)
            orbax.save(partial / ARRAYS, arrays)
            (partial / RECORD).write_text(json.dumps({"record": record, "arrays": _form(state)}), encoding="utf-8")
            (partial / SUMS).write_bytes(_sums(partial))
            for path in (*partial.rglob("*"), partial):
                _flush(path)
            shutil.rmtree(whole, ignore_errors=True)  # a whole one would have been resumed from
            partial.rename(whole)
            _flush(self.directory)
        except Exception as error:  # Orbax and TensorStore raise anything.
            shutil.rmtree(partial, ignore_errors=True)
            kept = (
                f"the one before, {self.all()[-1]}, is whole. Make room, and resume."
                if self.all()
                else "there is none before it. Make room, and start again."
            )
            raise StorageError(f"The checkpoint {whole} cannot be written ({_reason(error)}); {kept}") from error
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)  # If it fails, the next save tries again.

    def newest(self) -> "Checkpoint | None":
        """Returns the newest whole checkpoint; None if there is no checkpoint.

        Damaged checkpoints are named in a warning and removed, and the one before them is taken. All processes must
        call it; the first one chooses.

        Raises:
            InputError: if all checkpoints are damaged.
        """
        chosen = self._newest() if jax.process_index() == 0 else None
        name = broadcast_from_first(chosen.path.name if chosen else "")
        return Checkpoint(self.directory / name) if name else None

    def _path(self, epochs: int, steps: int) -> Path:
        return self.directory / f"{epochs:06}-{steps:09}"

    def _newest(self) -> "Checkpoint | None":
        damages = []
        for path in reversed(self.all()):
            if damage := damaged(path):
                damages.append((path, damage))
                continue
            for newer, damage in damages:
                warnings.warn(f"{damage} Its checkpoint is removed, and {path} used.", stacklevel=2)
                shutil.rmtree(newer, ignore_errors=True)
            return Checkpoint(path)
        if damages:
            raise InputError(
                f"No checkpoint in {self.directory} is whole: {' '.join(damage for _, damage in damages)} Remove that "
                "directory to train this model from its start."
            )
        return None


class Checkpoint:
    """A checkpoint whose checksums have been verified.

    Args:
        path: its directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self) -> dict[str, Any]:
        """Returns the record that was saved with the state."""
        return self._read()["record"]

    def state(self, like: PyTree[jax.ShapeDtypeStruct]) -> Any:
        """Loads the state.

        Args:
            like: shapes, dtypes and shardings of the state; the devices may differ from those it was saved from.

        Raises:
            InputError: if the names, shapes or dtypes of the arrays differ.
        """
        from orbax.checkpoint import v1 as orbax

        before, now = self._read()["arrays"], _form(like)
        differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if differ:
            name = differ[0]
            raise InputError(
                f"The checkpoint {self.path} holds another model or another way to train it: {len(differ)} arrays "
                f"differ, the first is {name}, {before.get(name)} in the checkpoint and {now.get(name)} here. Resume "
                "with the version and the options that it was written with."
            )
        # Each process reads the arrays to its host: the devices may differ from those of the checkpoint.
        wanted = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in leaves_by_name(like).items()}
        leaves = orbax.load(self.path / ARRAYS, wanted)
        state = jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in wanted])
        return to_devices(state, jax.tree.map(lambda leaf: leaf.sharding, like))

    def _read(self) -> dict[str, Any]:
        return json.loads((self.path / RECORD).read_text(encoding="utf-8"))


def damaged(checkpoint: Path) -> str:
    """Returns a sentence that names the first damaged file of a checkpoint; empty if all checksums agree."""
    try:
        *lines, own = (checkpoint / SUMS).read_bytes().splitlines(keepends=True)
    except (OSError, ValueError):
        return f"{checkpoint / SUMS} is missing or empty."
    if own != _own_sum(b"".join(lines)):
        return f"{checkpoint / SUMS} is damaged."
    expected = {name: digest for digest, name in (line.decode().rstrip("\n").split("  ", 1) for line in lines)}
    for name, digest in expected.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{path} is missing."
        try:
            found = _digest(path)
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})."
        if found != digest:
            return f"{path} is damaged: it is not the file that was written."
    return ""


def _form(tree: PyTree) -> dict[str, str]:
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves_by_name(tree).items()}


def _sums(directory: Path) -> bytes:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = "".join(f"{_digest(path)}  {path.relative_to(directory).as_posix()}\n" for path in files).encode()
    return lines + _own_sum(lines)


def _own_sum(lines: bytes) -> bytes:
    return f"# {hashlib.sha256(lines).hexdigest()}\n".encode()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Flushes a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
