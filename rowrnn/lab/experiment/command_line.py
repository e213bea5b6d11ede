"""The command line of an experiment: options, presets, an interrupted run's own options, and how it ends."""

import dataclasses
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import jax
import tyro

from rowrnn.errors import InputError
from rowrnn.lab.errors import Stopped, StorageError
from rowrnn.lab.runs.record import read_record, to_json

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the run can be resumed


def run_experiment(options_class: type, main: Callable[[Any], None], presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Reads the options from the command line and runs `main` with them.

    An experiment that can be resumed has an option `resume`, the directory of an interrupted run: `output` is then that
    directory and all other options are those the run was started with, but for `machines`.

    Args:
        options_class: a frozen dataclass, with a field `bool` of each preset's name.
        main: the experiment.
        presets: option values of each preset; an option given beside a preset wins.

    Exits with a message instead of a traceback on the errors that `exit_on_error` names.
    """
    with exit_on_error(Path(sys.argv[0]).name):
        options = _parsed(options_class, presets, sys.argv[1:])
        if getattr(options, "resume", None) is not None:
            options = _as_started(options_class, presets, options)
        main(options)


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Turns what users meet into a message and an exit code.

    Wrong input is 2, divergence or a full disk 1, a request to stop that has been saved 75, Ctrl-C 130. A process that
    trains with others leaves at once where they may not have met the error: they would wait for it.
    """
    codes = {InputError: 2, FloatingPointError: 1, StorageError: 1, Stopped: TRY_AGAIN}
    try:
        yield
    except tuple(codes) as error:
        print(f"{program}: {error}", file=sys.stderr)
        code = next(code for kind, code in codes.items() if isinstance(error, kind))
        if jax.distributed.is_initialized() and not isinstance(error, Stopped):
            _leave(code)
        raise SystemExit(code) from None
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        _leave(1)


def _leave(code: int) -> NoReturn:
    """Ends the process without waiting for what still computes on the devices, or for other processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parsed(options_class: type, presets: Mapping[str, Mapping[str, Any]], arguments: Sequence[str]) -> Any:
    options = tyro.cli(options_class, args=arguments)
    chosen = [name for name in presets if getattr(options, name)]
    if len(chosen) > 1:
        raise InputError(f"Presets exclude each other: take one of --{' and --'.join(chosen)}.")
    for name in chosen:
        preset = dataclasses.replace(options_class(), **{name: True}, **presets[name])
        options = tyro.cli(options_class, args=arguments, default=preset)
    return options


def _as_started(options_class: type, presets: Mapping[str, Mapping[str, Any]], options: Any) -> Any:
    """The options that the run was started with."""
    directory, machines = options.resume, options.machines
    if options != dataclasses.replace(options_class(), resume=directory, machines=machines):
        raise InputError("--resume takes its options from the run: give it alone, or with those of the processes.")
    record, experiment = read_record(directory), Path(sys.argv[0]).stem
    if "arguments" not in record:
        raise InputError(f"{directory} was written by a version that could not resume: start it anew.")
    if record["experiment"] != experiment:
        raise InputError(f"{directory} is a run of {record['experiment']}, not of {experiment}: resume it with that.")
    started = dataclasses.replace(_parsed(options_class, presets, record["arguments"]), output=directory)
    now = json.loads(json.dumps(dataclasses.asdict(started), default=to_json))
    for name, value in now.items():
        if name not in ("output", "resume", "machines") and record["protocol"].get(name) != value:
            raise InputError(
                f"{directory} was started with --{name.replace('_', '-')} {record['protocol'].get(name)}, which is "
                f"{value} now: resume it with the version that it was started with."
            )
    return dataclasses.replace(started, resume=directory, machines=machines)
