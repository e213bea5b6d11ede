"""The benchmarks run, tiny, and their tables and ratios are what they say."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def row(cell, mode, batch, ours, torch, flax, floor, t=28):
    peers = {"torch": torch, "flax nnx": flax}
    sizes = {"batch": batch, "hidden": 32, "t": t, "d": 28}
    return {"cell": cell, "mode": mode, **sizes, "rowrnn_ms": ours, "floor_ms": floor, "peers": peers}


def test_ratios_are_against_the_fastest_peer():
    from scan_speed import summary, table

    rows = [row("lstm", "train", 1, 2.0, 8.0, 4.0, 1.0), row("lstm", "train", 32, 1.0, 8.0, 16.0, 0.5)]
    (found,) = summary(rows)
    assert found["times_faster"]["the fastest peer"] == pytest.approx((2 * 8) ** 0.5)
    assert found["times_faster"]["torch"] == pytest.approx((4 * 8) ** 0.5)
    assert found["least_times_faster"] == 2
    assert found["floors"] == 2
    rows.append(row("gru", "forward", 64, 5.0, 10.0, 20.0, 1.0, t=784))
    assert table(rows) == [
        ["", "batch 1", "batch 32"],
        ["LSTM 32, train", "2 ms, 2.00x", "1 ms, 8.00x"],
        ["GRU 32, forward, 784 steps", "batch 64: 5 ms, 2.00x", ""],
    ]


def test_medians_to_an_accuracy():
    from time_to_accuracy import table

    def training(seed, to_99, final):
        reached = {"seconds_to_985": 1.0 + seed, "seconds_to_99": to_99, "first_step_seconds": 2.0}
        return {"library": "rowrnn", "cell": "gru", "seed": seed, **reached, "final_accuracy": final}

    runs = [training(0, 4.0, 0.99), training(1, None, 0.98), training(2, 6.0, 0.991)]
    assert table(runs)[1] == ["GRU, rowrnn", "2.0", "2.0", "6.0", "8.0", "98.70"]
    assert table(runs[:2])[1][3:5] == ["-", "-"]


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("scan_speed", ["--peers", "abacus"], "no peer 'abacus'"),
        ("time_to_accuracy", ["--libraries", "abacus"], "no library 'abacus'"),
    ],
)
def test_unknown_contenders_are_refused(script, options, message, monkeypatch, capsys, tmp_path):
    module = importlib.import_module(script)
    monkeypatch.setattr(sys, "argv", [script, *options, "--output", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        module.run_experiment(module.Options, module.main, module.PRESETS)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_scan_speed_runs(monkeypatch, tmp_path):
    import scan_speed
    from layers import Case

    monkeypatch.setattr(scan_speed, "cases", lambda quick: [Case("gru", 4, 8, 3, 2, "train")])
    scan_speed.main(scan_speed.Options(rounds=1, round_seconds=1e-4, peers=("flax nnx",), output=tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (found,) = results["cells"]
    assert results["finished"]
    assert found["rowrnn_ms"] > 0
    assert found["floor_ms"] > 0
    assert set(found["peers"]) == {"flax nnx"}
    assert (tmp_path / "run" / "ratios.png").is_file()


def test_time_to_accuracy_runs(tmp_path):
    import time_to_accuracy

    options = {"epochs": 1, "seeds": 1, "train_images": 256, "libraries": ("flax nnx",)}
    time_to_accuracy.main(time_to_accuracy.Options(**options, output=tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [run["cell"] for run in results["runs"]] == ["lstm", "gru"]
    assert all(0.05 < run["final_accuracy"] < 1 and run["first_step_seconds"] > 0 for run in results["runs"])
