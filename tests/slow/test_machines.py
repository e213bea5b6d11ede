"""Several processes that train together over gloo: what one trains, and what is left when one dies."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.devices.processes import Machines
from tests.helpers import shapes7
from tests.slow import cluster

pytestmark = pytest.mark.slow


def test_two_processes_train_what_one_trains(tmp_path):
    ((loss, weights),) = cluster.train(1, ("gru",), tmp_path / "one").values()
    ((loss_of_two, weights_of_two),) = cluster.train(2, ("gru",), tmp_path / "two").values()
    assert loss_of_two == pytest.approx(loss, abs=1e-6)
    for name, array in weights.items():
        np.testing.assert_allclose(weights_of_two[name], array, atol=1e-6, rtol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_two_processes_read_from_disk_what_one_holds(tmp_path):
    shapes7.prepare(tmp_path)
    what = ("--models", "gru", "--data", "shapes7", "--data-dir", str(tmp_path), "--params", "6000")
    how = ("--epochs", "2", "--seeds", "1", "--batch", "10", "--dropout", "0", "--shift", "0")
    cluster.finish(cluster.start(1, *what, *how, "--output", str(tmp_path / "held")))
    # A process with room for the images does as the one without.
    of_each = ("--data-memory=0.1", "--data-memory=100")
    cluster.finish(cluster.start(2, *what, *how, "--output", str(tmp_path / "read"), of_each=of_each))
    ((loss, weights),) = cluster.outcome(tmp_path / "held").values()
    ((loss_read, weights_read),) = cluster.outcome(tmp_path / "read").values()
    assert loss_read == pytest.approx(loss, abs=1e-6)
    for name, array in weights.items():
        np.testing.assert_allclose(weights_read[name], array, atol=1e-6, rtol=0)
    data = json.loads((tmp_path / "read" / "results.json").read_text())["data"]
    assert "training images streamed, 0.2 MiB where 0.1 are allowed" in data["source"]


def test_a_process_that_dies_ends_the_other_and_one_goes_on(tmp_path):
    arguments = ("--models", "gru", "--hidden", "8", "--train-images", "1600", "--seeds", "2", "--epochs", "12")
    first, second = cluster.start(2, *arguments, "--output", str(tmp_path / "run"))
    assert first.stdout
    for line in first.stdout:
        if "epoch 2/12" in line:
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
    assert "epoch 1/12" not in resumed.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["finished"]
    assert len(results["curves"]["Row GRU"]["loss"]) == 12


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
