"""Records of runs that never ran."""

from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.record import Record


def record(scores, *, experiment="toy", score="test_accuracy", curves=True, **options):
    """A finished run whose models have these values of a score, one for each seed."""
    rows = [
        {"model": model, "parameters": 7, "validation_accuracy": interval([0.5]), score: interval(values)}
        for model, values in scores.items()
    ]
    seeds = len(next(iter(scores.values())))
    curve = {"loss": [[1.0] * seeds, [0.5] * seeds], "validation_accuracy": [[0.25] * seeds, [0.75] * seeds]}
    return Record(
        experiment,
        data={"name": "made", "checksum": "c0ffee"},
        protocol={"test": "in words that are no option", "seeds": seeds, "seed": 0, "resume": None, **options},
        summary=rows,
        curves=dict.fromkeys(scores, curve) if curves else {},
        finished=True,
    )
