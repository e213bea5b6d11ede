"""Checks of options, as part of their types: `Annotated[int, AtLeast(1)]` is an option that is at least 1."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

from rowrnn.errors import InputError


@dataclass(frozen=True)
class AtLeast:
    """A check that a number is finite and at least `least`, or None.

    Args:
        least: the lower bound.
        what: what the number counts, for the message.
    """

    least: int
    what: str = ""

    def __call__(self, option: str, value: int | float | None) -> None:
        if value is not None and not self.least <= value < math.inf:
            raise InputError(f"{_flag(option)} is {value}; expected {self.what}at least {self.least}.")


@dataclass(frozen=True)
class Positive:
    """A check that a number is above 0."""

    def __call__(self, option: str, value: int | float) -> None:
        if not value > 0:
            raise InputError(f"{_flag(option)} is {value}; expected a number above 0.")


@dataclass(frozen=True)
class BelowOne:
    """A check that a number is in [0, 1)."""

    def __call__(self, option: str, value: int | float) -> None:
        if not 0 <= value < 1:
            raise InputError(f"{_flag(option)} is {value}; expected a {option.replace('_', ' ')} in [0, 1).")


@dataclass(frozen=True, eq=False)  # hashed by identity: tyro hashes types, and `known` may be a dict
class KnownNames:
    """A check that a name, or each of several, is known; at least one, and each once unless they may repeat.

    Args:
        known: the known names.
        repeated: whether a name may be given twice.
    """

    known: Collection[str]
    repeated: bool = False

    def __call__(self, option: str, value: str | Sequence[str]) -> None:
        names = (value,) if isinstance(value, str) else tuple(value)
        check_names(option, tuple(dict.fromkeys(names)) if self.repeated else names, self.known)


Check = AtLeast | Positive | BelowOne | KnownNames
Count = Annotated[int, AtLeast(1)]
"""An option that is an integer of at least 1."""
OptionalCount = Annotated[int | None, AtLeast(1)]
"""An option that is an integer of at least 1, or not given."""
Probability = Annotated[float, BelowOne()]
"""An option that is a number in [0, 1)."""


def check_names(option: str, names: Sequence[str], known: Collection[str]) -> None:
    """Checks that names are known, each is given once, and there is at least one.

    Args:
        option: the option that they were given to, without its dashes.
        names: the names given.
        known: the known names.

    Raises:
        InputError: naming the first that is unknown or given twice, or if there is none.
    """
    for name in names:
        if name not in known:
            meant = did_you_mean(name, known)
            raise InputError(f"There is no {name!r} for {_flag(option)}. {meant}There are {', '.join(known)}.")
        if names.count(name) > 1:
            raise InputError(f"{_flag(option)} has {name!r} twice; expected each once.")
    if not names:
        raise InputError(f"{_flag(option)} is empty; expected some of {', '.join(known)}.")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Returns a question that names the known name nearest to one that is unknown, or "" where none is near."""
    near = get_close_matches(name.lower(), known, 1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
