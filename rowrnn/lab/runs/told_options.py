"""Options of a run as its record has them, and those that tell it from other runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rowrnn.lab.runs.record import Record

OF_PROCESS = {"output", "resume", "machines", "save_every", "tensorboard", "data_dir", "data_memory", "format"}
"""Options that do not change the result."""


def options_of(record: Record) -> dict[str, Any]:
    """Returns the options of a run by name, those of groups beside the others, without those of its process.

    The protocol also says in words how figures are measured; these entries are left out.
    """
    options: dict[str, Any] = {}
    for name, value in record.protocol.items():
        if name in OF_PROCESS or (isinstance(value, str) and " " in value):
            continue
        options |= value if isinstance(value, Mapping) else {name: value}
    return options


def differing(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names whose values are not the same in all mappings, in the order of their first appearance."""
    names = dict.fromkeys(name for record in records for name in record)
    return [name for name in names if any(record.get(name) != records[0].get(name) for record in records)]


def telling_options(record: Record, others: Sequence[Record]) -> dict[str, Any]:
    """Returns the options that were given on the command line, or else those that differ from other runs.

    Args:
        record: the record of a run.
        others: the records to tell it from; those of other experiments are ignored.
    """
    options = options_of(record)
    flags = [word.partition("=")[0].lstrip("-").replace("-", "_") for word in record.arguments or ()]
    given = [name for name in options if name in flags or f"no_{name}" in flags]
    alike = [options_of(other) for other in others if other.experiment == record.experiment]
    return {name: options[name] for name in given or differing([options, *alike]) if name in options}


def in_words(options: Mapping[str, Any]) -> str:
    """Returns options as on a command line: "--epochs 20 --cells lstm gru"."""
    words = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{name.replace('_', '-')}")
        else:
            words.append(f"{flag} {written(value)}")
    return " ".join(words)


def written(value: Any) -> str:
    """Returns the value of an option as text."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
