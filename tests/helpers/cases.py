"""Cases of which some stay in the fast set."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def thinned(cases: Iterable[Any] | Mapping[str, Any], step: int) -> list[Any]:
    """Returns cases for `pytest.mark.parametrize`, all but every `step`-th, from the first on, marked as slow.

    Args:
        cases: argument values, each a value, a tuple of several, or what `pytest.param` made; or values by their ids.
        step: how many cases there are for each fast one.
    """
    if isinstance(cases, Mapping):
        cases = [pytest.param(value, id=name) for name, value in cases.items()]
    made = []
    for number, case in enumerate(cases):
        given: Any = case if hasattr(case, "marks") else pytest.param(*(case if isinstance(case, tuple) else (case,)))
        slow = [pytest.mark.slow] if number % step else []
        made.append(pytest.param(*given.values, marks=[*given.marks, *slow], id=given.id))
    return made
