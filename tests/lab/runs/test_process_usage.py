"""How busy other processes keep the machine, from the counters of the system."""

from collections import namedtuple

import pytest

from rowrnn.lab.runs import process_usage
from rowrnn.lab.runs.process_usage import OthersLoad

Machine = namedtuple("Machine", "user nice system idle iowait guest")
Process = namedtuple("Process", "user system children_user children_system")


@pytest.mark.parametrize(
    ("passed", "own", "share"),
    [
        (Machine(30, 0, 10, 50, 10, 0), Process(10, 3, 10, 2), 0.15),  # 40 of 100 seconds busy, 25 of them its own
        (Machine(30, 0, 10, 50, 10, 20), Process(20, 5, 0, 0), 0.15),  # a guest's time is in user's
        (Machine(20, 0, 5, 75, 0, 0), Process(24, 3, 0, 0), 0.0),  # counters are coarse: never below none
        (Machine(0, 0, 0, 0, 0, 0), Process(0, 0, 0, 0), 0.0),
    ],
)
def test_the_share_of_others_is_what_is_busy_and_not_its_own(monkeypatch, passed, own, share):
    before = (Machine(7, 1, 2, 90, 3, 1), Process(1.0, 1.0, 0.0, 0.0))
    now = list(before)

    class Counting:
        def cpu_times(self):
            return now[1]

    monkeypatch.setattr(process_usage.psutil, "cpu_times", lambda: now[0])
    monkeypatch.setattr(process_usage.psutil, "Process", Counting)
    others = OthersLoad()
    now[:] = (
        type(old)(*map(sum, zip(old, more, strict=True))) for old, more in zip(before, (passed, own), strict=True)
    )
    assert others.share() == pytest.approx(share)
