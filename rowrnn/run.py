"""A run of an experiment: its options, its directory, its record."""

import dataclasses
import json
import os
import platform
import resource
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
import tyro
from jaxtyping import ArrayLike

from rowrnn.errors import InputError
from rowrnn.whole_file import whole_file

RESULTS, ARRAYS, CLAIM = "results.json", "arrays.npz", ".running"
PACKAGES = ("rowrnn", "jax", "jaxlib", "flax", "optax", "numpy")


def run_experiment(options_class: type, main: Callable[[Any], None], presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Reads the options from the command line and runs `main` with them.

    Args:
        options_class: a frozen dataclass, with a field `bool` of each preset's name.
        main: the experiment.
        presets: option values of each preset; an option given beside a preset wins.

    Exits with a message instead of a traceback on the errors that `exit_on_error` names.
    """
    with exit_on_error(Path(sys.argv[0]).name):
        main(_options(options_class, presets))


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Turns the errors that users meet into a message and an exit code: wrong input 2, divergence 1, Ctrl-C 130."""
    try:
        yield
    except (InputError, FloatingPointError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        # What still computes on the devices is not waited for.
        sys.stdout.flush()
        os._exit(128 + signal.SIGINT)


def _options(options_class: type, presets: Mapping[str, Mapping[str, Any]]) -> Any:
    options = tyro.cli(options_class)
    chosen = [name for name in presets if getattr(options, name)]
    if len(chosen) > 1:
        raise InputError(f"Presets exclude each other: take one of --{' and --'.join(chosen)}.")
    for name in chosen:
        preset = dataclasses.replace(options_class(), **{name: True}, **presets[name])
        options = tyro.cli(options_class, default=preset)
    return options


def seconds_since_start() -> float:
    """Seconds since this process started, the interpreter's own start included."""
    return time.time() - psutil.Process().create_time()


class Run:
    """The directory of a run, a context manager: made at the start, removed again if nothing was saved.

    Args:
        directory: where to write. A directory that holds something already is kept: the run takes the next free
            name, `directory-2`, `directory-3`, ….

    Raises:
        InputError: if the directory cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: list[Path] = []
        self.started = time.strftime("%Y-%m-%dT%H:%M:%S%z")

    def __enter__(self) -> "Run":
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
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        (self.directory / CLAIM).unlink()
        if kind is not None:
            saved = (self.directory / RESULTS).exists()
            finished = f"what was finished is in {self.directory / RESULTS}" if saved else "nothing was finished"
            ended = "Interrupted" if issubclass(kind, KeyboardInterrupt) else "Ended by an error"
            print(f"{ended}: {finished}.", file=sys.stderr)
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
            (self.directory / CLAIM).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _remove_empty(self) -> None:
        for path in reversed(self._made):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def save(self, results: Mapping[str, Any], arrays: Mapping[str, ArrayLike] | None = None) -> None:
        """Writes `results.json` and `arrays.npz`, each whole or not at all."""
        with whole_file(self.directory / ARRAYS) as path, path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(a) for name, a in (arrays or {}).items()})
        with whole_file(self.directory / RESULTS) as path:
            path.write_text(json.dumps(results, indent=1, default=_plain) + "\n")

    def environment(self) -> dict[str, Any]:
        """What this run is: command, time, versions and devices."""
        return {
            "command": shlex.join(["python", *sys.argv]),
            "started": self.started,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "platform": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "devices": [device.device_kind for device in jax.devices()],
        }


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _plain(value: Any) -> Any:
    """What JSON has no form of: arrays become lists, paths strings."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
