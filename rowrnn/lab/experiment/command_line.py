"""The command line of an experiment: options, presets, resuming an interrupted run, and exit codes."""

import dataclasses
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import jax
import tyro

from rowrnn.errors import InputError
from rowrnn.lab.errors import Stopped, StorageError
from rowrnn.lab.experiment.options import Unnamed, record_to_resume, values_by_name, with_values
from rowrnn.lab.runs.started import Started

Options = TypeVar("Options")

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the run can be resumed


def run_experiment(
    options_class: type[Options],
    main: Callable[[Options, dict[str, bool]], object],
    presets: Mapping[str, Mapping[str, Any]],
    *,
    name: str | None = None,
    started: Started | None = None,
) -> None:
    """Parses the command line and runs `main`.

    Args:
        options_class: a frozen dataclass.
        main: function of the options and, for each preset, whether it was chosen.
        presets: option values of each preset; an option given beside a preset wins.
        name: name of the experiment; that of its script where not given.
        started: the command line; that of the process where not given.

    Raises:
        SystemExit: with a message instead of a traceback, for the errors that `exit_on_error` lists.
    """
    started = started or Started.of_process()
    *_, last = started.program
    with exit_on_error(started.name):
        main(*parse(options_class, presets, started.arguments, name or Path(last).stem, started.usage))


def parse(
    options_class: type[Options],
    presets: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    experiment: str = "",
    program: str | None = None,
) -> tuple[Options, dict[str, bool]]:
    """Parses the command line.

    With an option `resume`, the directory of an interrupted run, all other options are those that the run was started
    with, except that `output` is that directory and `machines` is as given now.

    Args:
        options_class: a frozen dataclass.
        presets: option values of each preset; an option given beside a preset wins.
        arguments: arguments of the command line.
        experiment: name of the experiment, which a run to resume must be of.
        program: what the help calls the program.

    Returns:
        The options, and for each preset whether it was chosen.

    Raises:
        InputError: if two presets are given, an option is given beside `--resume`, or the run cannot be resumed.
    """
    options, chosen = _parsed(options_class, presets, arguments, program)
    if values_by_name(options).get("resume") is not None:
        options, chosen = _as_started(options_class, presets, options, experiment)
    return options, chosen


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Turns errors into a message and an exit code.

    `InputError` exits with 2, `FloatingPointError` and `StorageError` with 1, `Stopped` with 75, Ctrl-C with 130. One
    of several processes exits at once: waiting for the others could last forever, as they may not have met the error.
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
    """Ends the process without waiting for computations on the devices or for other processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parsed(
    options_class: type[Options],
    presets: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    program: str | None = None,
) -> tuple[Options, dict[str, bool]]:
    command, default = _command(options_class, presets), options_class()
    given = tyro.cli(command, args=arguments, prog=program)
    chosen = [name for name in presets if getattr(given, name)]
    if len(chosen) > 1:
        raise InputError(f"Presets exclude each other: take one of --{' and --'.join(chosen)}.")
    for name in chosen:
        preset = command(options=with_values(default, **presets[name]))
        given = tyro.cli(command, args=arguments, default=preset, prog=program)
    return given.options, {name: name in chosen for name in presets}


def _command(options_class: type, presets: Mapping[str, Mapping[str, Any]]) -> Any:
    """Returns a dataclass of the options, with a flag for each preset."""
    flags = [
        (name, Annotated[bool, tyro.conf.arg(help=f"Preset: {_in_words(values)}.")], dataclasses.field(default=False))
        for name, values in presets.items()
    ]
    options = ("options", Unnamed[options_class], dataclasses.field(default=options_class()))
    command = dataclasses.make_dataclass("Command", [options, *flags], frozen=True)
    command.__doc__ = options_class.__doc__
    return command


def _in_words(values: Mapping[str, Any]) -> str:
    """Returns option values as they are written on a command line."""
    words = []
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            words.append(_in_words({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}))
        else:
            parts = value if isinstance(value, tuple) else (value,)
            words.append(f"--{name.replace('_', '-')} {' '.join(map(str, parts))}")
    return " ".join(words)


def _as_started(
    options_class: type[Options], presets: Mapping[str, Mapping[str, Any]], options: Any, experiment: str
) -> tuple[Options, dict[str, bool]]:
    """Returns the options that the run was started with.

    Raises:
        InputError: if an option is given beside `--resume`, or the run cannot be resumed.
    """
    given = values_by_name(options)
    of_process = {"resume": given["resume"], "machines": given["machines"]}
    if options != with_values(options_class(), **of_process):
        raise InputError("--resume takes its options from the run: give it alone, or with those of the processes.")
    directory = given["resume"]
    record = record_to_resume(directory, experiment)
    if record.arguments is None:
        raise InputError(f"{directory} was written by a version that could not resume: start it anew.")
    started, chosen = _parsed(options_class, presets, record.arguments)
    return with_values(started, output=directory, **of_process), chosen
