"""Contenders are timed by turns, and one that cannot compute a case does not end a benchmark."""

import io
import json
import math
import sys
from typing import Any

import pytest


class Fake:
    """A contender whose steps take as long as is said, a first call three times as long; or that cannot prepare."""

    def __init__(self, name, milliseconds):
        self.name, self.milliseconds, self.asked = name, milliseconds, []

    def ask(self, **message):
        self.asked.append(message)
        if "prepare" in message:
            known = [["slow", 0.5, 1.0], ["quick", 0.7, 2.0]]
            return "NotImplementedError: too wide" if self.milliseconds is None else known
        seconds = 1e-3 * self.milliseconds * (4 if message["variant"] == "slow" else 1)
        return seconds * message["steps"], 2 * message["steps"]


def measured(**milliseconds):
    from layers import Case
    from timing import Timing, measure

    contenders: dict[str, Any] = {name: Fake(name, of_one) for name, of_one in milliseconds.items()}
    options = Timing(rounds=3, round_seconds=0.01, least_steps=2)
    return measure(Case("gru", 4, 8, 28, 3, "train"), contenders.values(), options), contenders


def test_the_faster_variant_of_each_is_timed_in_every_round():
    from timing import against_best

    row, contenders = measured(rowrnn=2.0, torch=5.0, keras=3.0, floor=1.0)
    assert row["rowrnn_ms"] == pytest.approx(2.0)
    assert row["floor_ms"] == pytest.approx(1.0)
    assert row["peers"] == pytest.approx({"torch": 5.0, "keras": 3.0})
    assert row["variants"] == dict.fromkeys(contenders, "quick")
    assert row["compile_seconds"] == dict.fromkeys(contenders, 0.7)
    assert row["page_faults"] == dict.fromkeys(contenders, 2.0)
    assert row["failed"] == {}
    assert against_best(row) == pytest.approx(1.5)
    # Ten milliseconds of steps of two, and of five no fewer than two.
    assert [message["steps"] for message in contenders["rowrnn"].asked[-3:]] == [5, 5, 5]
    assert [message["steps"] for message in contenders["torch"].asked[-3:]] == [2, 2, 2]


def test_who_cannot_compute_a_case_is_left_out_and_named(capsys):
    from scan_speed import summary
    from timing import against_best, line

    row, _ = measured(rowrnn=2.0, torch=None, floor=None)
    assert row["failed"] == dict.fromkeys(("torch", "floor"), "NotImplementedError: too wide")
    assert (row["peers"], row["floor_ms"]) == ({}, None)
    assert math.isnan(against_best(row))
    assert "nan times nobody, nan floors" in line(row)
    assert "torch does not compute" in capsys.readouterr().err
    whole, _ = measured(rowrnn=2.0, torch=8.0, floor=1.0)
    (found,) = summary([row, whole])
    assert found["times_faster"] == pytest.approx({"the fastest peer": 4.0, "torch": 4.0})
    assert found["floors"] == pytest.approx(2.0)


def test_without_rowrnn_there_is_nothing_to_compare():
    with pytest.raises(RuntimeError, match=r"rowrnn does not compute Case\(cell='gru'.*too wide"):
        measured(rowrnn=None, torch=5.0)


def test_a_contender_that_cannot_compute_a_case_says_so_and_goes_on(monkeypatch):
    import peers
    from layers import Case, Variant

    def variants_of(case):
        if case.hidden > 64:
            raise NotImplementedError("too wide")
        yield Variant("one device", lambda steps: None, 0.5, 2.0)

    messages = [
        {"prepare": Case("gru", 4, 128, 3, 2, "train")._asdict()},
        {"prepare": Case("gru", 4, 8, 3, 2, "train")._asdict()},
        {"variant": "one device", "steps": 3},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(json.dumps, messages))))
    answers = io.StringIO()
    peers.serve(variants_of, answers)
    failed, prepared, (seconds, _) = map(json.loads, answers.getvalue().splitlines())
    assert failed == "NotImplementedError: too wide"
    assert prepared == [["one device", 0.5, 2.0]]
    assert seconds >= 0
