"""Arguments of every kind for every public function: each call ends well, or in an error of ours that says so.

A process of its own, where nothing but rowrnn's own checks stands between an argument and JAX.

python -m tests.slow.fuzzing --cases 20000    some minutes
"""

import dataclasses
import json
from collections import Counter

import tyro
from hypothesis import HealthCheck, given, seed, settings

from tests.slow import (
    fuzzed_layers,  # noqa: F401  (each marks its calls)
    fuzzed_tasks,  # noqa: F401
)
from tests.slow.calls import TARGETS, case_of


@dataclasses.dataclass(frozen=True)
class Options:
    """Fuzzes every public function."""

    cases: int = 2_400
    """How many calls, at least."""
    seed: int = 0
    """Seed of what is drawn."""


def main(options: Options) -> None:
    """Calls every function in turn, and prints how many calls ended in which way."""
    ended: dict[str, Counter[str]] = {}
    share = options.cases / sum(weight for _, _, weight in TARGETS.values())
    for name, (function, drawn, weight) in TARGETS.items():
        ended[name] = Counter()
        how_many = settings(
            max_examples=max(10, int(1 + share * weight)),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        seed(options.seed)(how_many(given(drawn)(case_of(function, ended[name]))))()
    print(json.dumps(ended))


if __name__ == "__main__":
    main(tyro.cli(Options))
