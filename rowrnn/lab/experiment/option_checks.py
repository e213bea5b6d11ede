"""Checks of options that several experiments share."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from rowrnn.errors import InputError


def check_names(option: str, names: Sequence[str], known: Collection[str]) -> None:
    """Refuses what is not some of the known names, each once.

    Args:
        option: the option that they were given to, without its dashes.
        names: those given.
        known: those that there are.

    Raises:
        InputError: naming the first that is unknown or given twice, or if there is none.
    """
    for name in names:
        if name not in known:
            near = get_close_matches(name.lower(), known, 1)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"There is no {name!r} for --{option}. {meant}There are {', '.join(known)}.")
        if names.count(name) > 1:
            raise InputError(f"--{option} has {name!r} twice; expected each once.")
    if not names:
        raise InputError(f"--{option} is empty; expected some of {', '.join(known)}.")


def check_dropout(dropout: float) -> None:
    """Refuses a dropout that is no probability, or drops everything.

    Raises:
        InputError: if it is not in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise InputError(f"--dropout is {dropout}; expected a dropout in [0, 1).")
