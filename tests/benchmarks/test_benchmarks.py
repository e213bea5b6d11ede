"""The benchmarks run, tiny, and their tables and ratios are what they say."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.record import Record
from tests.helpers import ROOT
from tests.helpers.made_set import Arrays, make

BENCHMARKS = ROOT / "benchmarks"


def row(cell, mode, batch, ours, torch, flax, floor, t=28):
    peers = {"torch": torch, "flax nnx": flax}
    seconds = {"rowrnn": 0.1 * batch, "torch": 1.0, "flax nnx": 2.0}
    sizes = {"batch": batch, "hidden": 32, "t": t, "d": 28}
    return {
        "cell": cell,
        "mode": mode,
        **sizes,
        "rowrnn_ms": ours,
        "floor_ms": floor,
        "peers": peers,
        "compile_seconds": seconds,
    }


def test_ratios_are_against_the_fastest_peer():
    from scan_speed import summary, table

    rows = [row("lstm", "train", 1, 2.0, 8.0, 4.0, 1.0), row("lstm", "train", 32, 1.0, 8.0, 16.0, 0.5)]
    (found,) = summary(rows)
    assert found["times_faster"]["the fastest peer"] == pytest.approx((2 * 8) ** 0.5)
    assert found["times_faster"]["torch"] == pytest.approx((4 * 8) ** 0.5)
    assert found["least_times_faster"] == 2
    assert found["floors"] == 2
    assert found["compile_seconds"] == pytest.approx({"rowrnn": 1.65, "torch": 1.0, "flax nnx": 2.0})
    rows.append(row("gru", "forward", 64, 5.0, 10.0, 20.0, 1.0, t=784))
    long = row("gru", "train", 64, 5.0, 10.0, 20.0, 1.0, t=784)
    long["peers"]["lax.scan"] = 25.0
    memory = {"rowrnn": 80.0, "checkpoints": 20.0, "lax.scan": 200.0}
    assert table([*rows, {**long, "checkpoints_ms": 6.0, "memory_mib": memory}])[2] == [
        "GRU 32, train, 784 steps",
        "batch 64: 5 ms, 2.00x",
        "80 MiB",
        "checkpoints: 6 ms, 20 MiB",
        "lax.scan: 25 ms, 200 MiB",
    ]
    assert table(rows) == [
        ["", "batch 1", "batch 32"],
        ["LSTM 32, train", "2 ms, 2.00x", "1 ms, 8.00x"],
        ["GRU 32, forward, 784 steps", "batch 64: 5 ms, 2.00x", ""],
    ]


def test_medians_to_an_accuracy():
    from time_to_accuracy import table

    def training(seed, to_99, final):
        reached = {"seconds_to_985": 1.0 + seed, "seconds_to_99": to_99, "first_step_seconds": 2.0}
        return {
            "library": "rowrnn",
            "model": "gru",
            "kind": "same",
            "changed": {},
            "seed": seed,
            **reached,
            "final_accuracy": final,
        }

    runs = [training(0, 4.0, 0.99), training(1, None, 0.98), training(2, 6.0, 0.991)]
    assert table(runs)[1] == ["GRU, rowrnn", "2.0", "2.0", "6.0", "8.0", "99.00"]
    assert table(runs[:2])[1][3:5] == ["-", "-"]


def test_seeds_together_against_one_by_one():
    from seeds_together import summary, table

    def training(together, one_by_one):
        ways = {"together": together, "one_by_one": one_by_one}
        ways = {way: {"seconds": seconds, "train_seconds": seconds / 2} for way, seconds in ways.items()}
        return {"model": "gru", **ways}

    # The median of the ratios, 0.5, 0.25 and 1, is not the ratio of the medians.
    found = summary([training(10.0, 20.0), training(30.0, 120.0), training(40.0, 40.0)])
    assert found[0]["seconds"] == {"together": 30, "one_by_one": 40, "ratio": 0.5}
    assert table(found)[1] == ["Row GRU", "30", "40", "0.50", "0.50"]


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("scan_speed", ["--peers", "abacus"], "There is no 'abacus' for --peers"),
        ("time_to_accuracy", ["--libraries", "abacus"], "There is no 'abacus' for --libraries"),
        ("time_to_accuracy", ["--changes", '{"epochs": 3}', "--libraries", "rowrnn"], "give --choose too"),
        ("time_to_accuracy", ["--models", "cnn", "--libraries", "flax nnx"], "None of the --models is trained"),
        ("seeds_together", ["--rounds", "0"], "--rounds is 0; expected at least 1."),
    ],
)
def test_an_option_out_of_its_range_is_refused(script, options, message, monkeypatch, capsys, tmp_path):
    module = importlib.import_module(script)
    monkeypatch.setattr(sys, "argv", [script, *options, "--output", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        module.run_experiment(module.Options, module.main, module.PRESETS)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_scan_speed_runs(monkeypatch, tmp_path):
    import scan_speed
    from layers import Case

    monkeypatch.setattr(scan_speed, "cases", lambda quick: [Case("gru", 4, 8, 3, 2, "train")])
    scan_speed.main(
        scan_speed.Options(rounds=1, round_seconds=1e-4, least_steps=1, peers=("flax nnx",), output=tmp_path / "run"),
        {"quick": False},
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (found,) = results["cells"]
    assert results["finished"]
    assert found["rowrnn_ms"] > 0
    assert found["floor_ms"] > 0
    assert set(found["peers"]) == {"flax nnx"}
    assert (tmp_path / "run" / "ratios.png").is_file()


def test_forms_are_compared_with_those_who_have_them():
    from form_speed import summary, table

    episodes = {**row("lstm", "train", 32, 2.0, 0.0, 0.0, None), "form": "episodes", "peers": {"lax.scan": 5.0}}
    elman = {**row("elman", "train", 32, 1.0, 4.0, 10.0, 0.8), "form": ""}
    assert table([episodes, elman]) == [
        ["layer, batch x hidden", "rowrnn ms", "torch ms", "flax nnx ms", "lax.scan ms", "times the fastest", "floors"],
        ["lstm episodes, 32 x 32, train", "2", "-", "-", "5", "2.50", "-"],
        ["elman, 32 x 32, train", "1", "4", "10", "-", "4.00", "1.25"],
    ]
    (found,) = summary([episodes, elman])
    assert found["times_faster"] == pytest.approx(10**0.5)
    assert found["least_times_faster"] == 2.5


@pytest.mark.slow
def test_form_speed_runs(monkeypatch, tmp_path):
    import form_speed
    from layers import Case

    forms = ("both directions", "two layers", "lengths", "")
    cases = [Case("elman" if not form else "gru", 4, 8, 5, 3, "train", form=form) for form in forms]
    monkeypatch.setattr(form_speed, "cases", lambda quick: cases)
    how = {"rounds": 1, "round_seconds": 1e-4, "least_steps": 1, "peers": ("flax nnx", "lax.scan"), "busy": 1}
    form_speed.main(form_speed.Options(**how, output=tmp_path / "run"), {"quick": False})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["finished"]
    assert [set(found["peers"]) for found in results["cells"]] == [{"flax nnx", "lax.scan"}] * len(forms)
    assert min(found["rowrnn_ms"] for found in results["cells"]) > 0
    assert min(found["floor_ms"] for found in results["cells"]) > 0


def test_the_floor_has_the_products_of_every_direction_and_layer():
    from floors import Sweep, sweeps
    from layers import Case

    def of(cell, form=""):
        return sweeps(Case(cell, 2, 8, 5, 3, "train", form=form))

    assert of("elman") == [Sweep(3, 8, 8)]
    assert of("lstm", "episodes") == of("peephole_lstm") == [Sweep(3, 32, 8)]
    assert of("gru", "both directions") == [Sweep(3, 24, 8), Sweep(3, 24, 8)]
    assert of("gru", "two layers") == [Sweep(3, 24, 8), Sweep(8, 24, 8, below=True)]
    assert of("lstm", "projection") == [Sweep(3, 32, 4, units=8)]


def test_an_exchange_in_a_ring_sends_each_part_twice_to_all_others():
    from exchange_cost import ring_seconds

    # A part is a quarter of a megabyte; three others add to it, and three take the sum.
    assert ring_seconds(4, 1_000_000, latency=1e-4, bandwidth=1e9) == pytest.approx(6 * (1e-4 + 0.25e-3))


@pytest.mark.slow
def test_exchange_cost_runs(tmp_path):
    run = [sys.executable, str(BENCHMARKS / "exchange_cost.py"), "--processes", "2", "--hidden", "4", "--batch", "2"]
    run += ["--rounds", "1", "--output", str(tmp_path / "run")]
    subprocess.run(run, check=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [place["devices"] for place in results["places"]] == [2, 8, 8]
    assert all(place["exchange"] > 0 for place in results["places"])


@pytest.mark.slow
def test_accelerator_runs(monkeypatch, tmp_path):
    import accelerator
    from layers import Case

    monkeypatch.setattr(accelerator, "CELLS", {"gru": accelerator.CELLS["gru"]})
    monkeypatch.setattr(accelerator, "cases", lambda quick: [Case("gru", 4, 8, 3, 2, "train", "bfloat16")] * 2)
    options = accelerator.Options(1, 1e-4, 1, ("flax nnx", "lax.scan"), 1e-9, main_job=False, output=tmp_path / "none")
    accelerator.main(options, {"quick": True})
    none = json.loads((tmp_path / "none" / "results.json").read_text())
    assert len(none["left_out"]) == 2
    assert {row["backend"] for row in none["correctness"]} >= {"plain", "fused"}
    assert all(0 < row["error"] < accelerator.BOUND for row in none["correctness"])
    accelerator.main(dataclasses.replace(options, minutes=9, output=tmp_path / "run"), {"quick": True})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["finished"], results["left_out"]) == (True, [])
    # Only those with products of rounded factors.
    assert set(results["cells"][0]["peers"]) == {"flax nnx"}
    assert results["table"][1][0] == "GRU 8, batch 4, 3 steps, train, bfloat16"


@pytest.mark.slow
def test_a_wrong_backend_ends_accelerator_with_code_1(monkeypatch, capsys, tmp_path):
    import accelerator

    wrong = {"cell": "gru", "backend": "fused", "precision": "highest", "error": float("nan")}
    monkeypatch.setattr(accelerator, "check_all", lambda: [wrong])
    monkeypatch.setattr(accelerator, "cases", lambda quick: [])
    options = accelerator.Options(1, 1e-4, 1, ("flax nnx",), 1e-9, main_job=False, output=tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        accelerator.main(options, {"quick": True})
    assert ended.value.code == 1
    assert "fused is off by nan for gru." in capsys.readouterr().err


def test_joined_runs_are_medians():
    import scan_speed

    rows = [row("lstm", "train", 1, ours, 4.0, flax, 1.0) for ours, flax in ((1.0, 9.0), (5.0, 2.0), (2.0, 3.0))]
    for variant, each in zip(("a", "b", "a"), rows, strict=True):
        each["variants"] = {"torch": variant}
    joined = scan_speed.joined(rows)
    assert (joined["rowrnn_ms"], joined["peers"]) == (2.0, {"torch": 4.0, "flax nnx": 3.0})
    assert (joined["batch"], joined["cell"], joined["variants"]) == (1, "lstm", {"torch": "a"})
    del rows[0]["peers"]["torch"]  # It failed in one of the runs.
    assert scan_speed.joined(rows)["peers"]["torch"] == 4.0


@pytest.mark.parametrize("name", ["lax.scan", "flax nnx", "flax linen"])
def test_peers_whose_loops_can_be_unrolled_are_timed_unrolled_too(name):
    from jax_layers import WAYS
    from layers import Case

    found = []
    for layer in WAYS[name].values():
        parameters, apply = layer(Case("gru", 2, 3, 8, 4, "forward"))
        x = jax.numpy.ones((2, 8, 4))
        found.append((str(jax.make_jaxpr(apply)(parameters, x)), np.asarray(apply(parameters, x))))
    (once, expected), (unrolled, outputs) = found
    assert ("unroll=1" in once, "unroll=4" in unrolled) == (True, True)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


def test_a_benchmark_records_its_options_and_presets_and_prints_its_table(monkeypatch, capsys, tmp_path):
    import scan_speed
    from layers import Case

    monkeypatch.setattr(scan_speed, "cases", lambda quick: [Case("lstm", 1, 32, 28, 28, "train")])
    runs = tuple(tmp_path / name for name in "abc")
    for directory, ours, load in zip(runs, (1.0, 5.0, 2.0), (0.01, 0.04, 0.02), strict=True):
        cells = [row("lstm", "train", 1, ours, 4.0, 8.0, 1.0)]
        with Run(directory) as run:
            entries = {"cells": cells, "others_load": load}
            run.finish(Record("scan_speed", summary=scan_speed.summary(cells), entries=entries))
    scan_speed.main(scan_speed.Options(rounds=5, join=runs, output=tmp_path / "joined"), {"quick": True})
    results = json.loads((tmp_path / "joined" / "results.json").read_text())
    assert (results["experiment"], results["finished"], results["cells"][0]["rowrnn_ms"]) == ("scan_speed", True, 2.0)
    assert results["protocol"].items() >= {**scan_speed.PROTOCOL, "rounds": 5, "quick": True, "runs": 3}.items()
    assert results["table"] == [["", "batch 1"], ["LSTM 32, train", "2 ms, 2.00x"]]
    assert {"command", "versions", "devices", "peer_versions", "threads", "summary"} <= set(results)
    # Of the runs their own least ratios are kept, and the largest load.
    assert [each["times_faster"]["train"]["least"] for each in results["joined"]] == [4.0, 0.8, 2.0]
    assert results["summary"][0]["others_load"] == 0.04
    printed = capsys.readouterr().out
    assert "2 ms, 2.00x" in printed
    assert "least in each of the runs: 4.00, 0.80, 2.00." in printed
    assert "ratios.png, results.json" in printed


@pytest.mark.slow
def test_time_to_accuracy_runs(tmp_path):
    import time_to_accuracy

    options = {"epochs": 1, "seeds": 1, "train_images": 256, "libraries": ("rowrnn", "flax nnx")}
    time_to_accuracy.main(time_to_accuracy.Options(**options, output=tmp_path / "run"), {"quick": False})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    contenders = ["LSTM, rowrnn", "LSTM, flax nnx", "GRU, rowrnn", "GRU, flax nnx"]
    contenders += ["GRU for the clock, rowrnn", "CNN for the clock, rowrnn"]
    assert [row[0] for row in results["table"][1:]] == [f"{contender} with epochs 1" for contender in contenders]
    assert all(0.05 < run["final_accuracy"] < 1 and run["first_step_seconds"] > 0 for run in results["runs"])


@pytest.mark.slow
def test_height_cost_runs(tmp_path):
    import height_cost

    options = height_cost.Options(heights=(28, 56), params=6_400, batch=2, rounds=1, output=tmp_path / "run")
    height_cost.main(options, {})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    kept = {
        title: [case["kept"] for case in results["cases"] if case["model"] == title]
        for title in height_cost.TITLES.values()
    }
    assert kept["CNN"] == [4 * 28 * 28, 4 * 56 * 28]
    assert kept["Row LSTM"][0] == kept["Row LSTM"][1] == 2 * 4 * results["widths"]["lstm"]
    assert kept["Row Transformer"][1] == 2 * kept["Row Transformer"][0] > 0
    assert len(results["table"]) == 1 + 4 * 4


@pytest.mark.slow
def test_generation_cost_runs(tmp_path):
    import generation_cost

    sizes = {"side": 5, "params": 3_100, "blocks": 2, "span": 3, "batch": 2, "samples": 2, "rounds": 1}
    generation_cost.main(generation_cost.Options(**sizes, output=tmp_path / "run"), {})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [case["model"] for case in results["cases"]] == list(generation_cost.TITLES.values())
    for case in results["cases"]:
        assert abs(case["parameters"] - 3_100) <= 310
        assert case["train_ms"] > 0
        assert case["sampling_seconds"] > 0
    assert results["cases"][2]["ratio"] == 1


@pytest.mark.slow
def test_module_cost_runs(tmp_path):
    import module_cost

    # Adam of optax multiplies floats by counts.
    with jax.numpy_dtype_promotion("standard"):
        module_cost.main(module_cost.Options(batch=4, hidden=8, rounds=1, steps=1, output=tmp_path / "run"), {})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [(case["cell"], case["mode"]) for case in results["cases"]] == [
        ("lstm", "forward"),
        ("lstm", "train"),
        ("gru", "forward"),
        ("gru", "train"),
    ]
    assert all(case["ratio"] > 0 for case in results["cases"])


@pytest.mark.slow
def test_seeds_together_runs(monkeypatch, tmp_path):
    import seeds_together

    monkeypatch.setattr(seeds_together, "MODELS", {"gru": "Row GRU"})
    tiny = {"seeds": 1, "rounds": 1, "epochs": 1, "train_images": 256}
    seeds_together.main(seeds_together.Options(**tiny, output=tmp_path / "run"), {"quick": False})
    (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["summary"]
    assert row["seconds"]["ratio"] > 0
    assert row["train_seconds"]["together"] > 0


@pytest.mark.slow
def test_stack_cost_runs(tmp_path):
    import stack_cost

    tiny = {"cells": ("gru",), "batch": 3, "hidden": 4, "steps": 5, "rounds": 1, "updates": 1}
    stack_cost.main(stack_cost.Options(**tiny, output=tmp_path / "run"), {})
    (case,) = json.loads((tmp_path / "run" / "results.json").read_text())["cases"]
    assert [row["feature"] for row in case["features"]] == list(stack_cost.FEATURES)
    assert all(row["ratio"] > 0 for row in case["features"])


def test_own_data_runs(tmp_path):
    import own_data

    rng = np.random.default_rng(0)
    splits: dict[str, Arrays] = {
        split: (rng.integers(0, 256, (count, 4, 5, 1), np.uint8), np.arange(count) % 3)
        for split, count in (("train", 30), ("test", 6))
    }
    make(tmp_path, splits)
    own_data.main(own_data.Options("made", tmp_path, rounds=2, output=tmp_path / "run"), {})
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["images"] == 36
    assert results["ratios"]["tfds"] == 1
    assert [len(times) for times in results["times"].values()] == [2, 2, 2]


@pytest.mark.slow
def test_survival_cost_runs(tmp_path):
    tiny = ["--models", "gru", "--params", "2000", "--seeds", "2", "--images", "200", "--rounds", "1"]
    command = [sys.executable, str(BENCHMARKS / "survival_cost.py"), *tiny, "--output", str(tmp_path / "run")]
    # With the optimizations that users get: without them XLA rounds the two trainings otherwise.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run(command, check=True, capture_output=True, timeout=300, env=environment)
    (case,) = json.loads((tmp_path / "run" / "results.json").read_text())["cases"]
    assert case["weight_difference"] == 0.0
    assert set(case["epoch_seconds"]) == {"as it is", "unchecked", "decoding", "decoded"}
    assert min(case["streamed"], case["checkpoint"], case["images_per_second"]) > 0
