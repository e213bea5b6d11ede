"""Several processes that train together over gloo: what one trains, and what is left when one dies."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.machines import Machines

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import cluster


def test_two_processes_train_what_one_trains(tmp_path):
    ((loss, weights),) = cluster.train(1, ("gru",), tmp_path / "one").values()
    ((loss_of_two, weights_of_two),) = cluster.train(2, ("gru",), tmp_path / "two").values()
    assert loss_of_two == pytest.approx(loss, abs=1e-6)
    for name, array in weights.items():
        np.testing.assert_allclose(weights_of_two[name], array, atol=1e-6, rtol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_process_that_dies_ends_the_other_and_one_goes_on(tmp_path):
    arguments = ("--models", "gru", "--hidden", "8", "--train-images", "1600", "--seeds", "2", "--epochs", "30")
    first, second = cluster.start(2, *arguments, "--output", str(tmp_path / "run"))
    assert first.stdout
    for line in first.stdout:
        if "epoch 2/30" in line:
            break
    first.kill()
    killed = time.monotonic()
    _, errors = second.communicate(timeout=60)
    assert second.returncode not in (0, None), errors
    assert time.monotonic() - killed < 60
    first.communicate()
    assert len(list(tmp_path.glob("run/checkpoints/row_gru/0*"))) >= 1
    command = [sys.executable, str(cluster.EXPERIMENT), "--resume", str(tmp_path / "run")]
    resumed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/30" not in resumed.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["finished"]
    assert len(results["curves"]["Row GRU"]["loss"]) == 30


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        (Machines(coordinator="localhost:1"), "need --processes and --process too, or --cluster"),
        (Machines("localhost:1", 2, 2), "a process from 0 to the number of processes less one"),
        (Machines("localhost", 2, 0), "Expected a coordinator HOST:PORT"),
        (Machines("localhost:1", 2, 0, cluster=True), "leave --coordinator, --processes, --process out"),
    ],
)
def test_processes_that_are_not_told_well(machines, message):
    with pytest.raises(InputError, match=message):
        machines.join()
