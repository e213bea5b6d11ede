"""The main experiment as a person runs it, tiny: what it writes, what it refuses, what an interruption leaves."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tyro

from experiments import directions, memory, mnist_rows, pixels
from rowrnn import lab, program
from rowrnn.errors import InputError
from rowrnn.lab.data.load import load
from rowrnn.lab.experiment.options import values_by_name, with_values
from rowrnn.recurrence import native
from tests.helpers import ROOT, shapes7

STUDIES: dict[str, tuple[Any, Any]] = {
    study.name: (study, script)
    for study, script in (
        (mnist_rows.MnistRows, mnist_rows),
        (directions.Directions, directions),
        (memory.Memory, memory),
        (pixels.Pixels, pixels),
    )
}
SCRIPT = ROOT / "experiments" / "mnist_rows.py"
TINY = ["--params", "6000", "--epochs", "2", "--seeds", "2", "--batch", "16", "--no-quick"]

# Where the tests themselves run in the background, their children ignore Ctrl-C unless they ask for it.
HEARING = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(*arguments, script=SCRIPT, **options):
    command = [sys.executable, "-c", HEARING, str(script), *map(str, arguments)]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def run(*arguments, **options):
    process = start(*arguments, **options)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    shapes7.prepare(directory)
    return directory


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory):
    """A run of all three models on a TFDS set of seven classes with colour images of 12x20 pixels."""
    directory = tmp_path_factory.mktemp("run") / "run"
    code, output, errors = run("--data", "shapes7", "--data-dir", data_dir, "--output", directory, *TINY)
    assert code == 0, errors
    return directory, output, json.loads((directory / "results.json").read_text())


@pytest.mark.slow
def test_a_tfds_set_of_another_form_trains_through_the_script(finished):
    _, _, results = finished
    data = results["data"]
    assert (data["shape"], data["classes"], data["class_names"]) == ([12, 20, 3], 7, list(shapes7.NAMES))
    assert data["test"] == len(shapes7.examples("test")[1])
    for row in results["summary"]:
        # The classes are told apart by where a bar stands: far above one in seven, or the model learnt nothing.
        assert row["test_accuracy"]["mean"] > 0.4, row


@pytest.mark.slow
def test_results_say_what_was_done(finished):
    _, output, results = finished
    assert results["finished"]
    assert results["experiment"] == "mnist_rows"
    assert [row["model"] for row in results["summary"]] == ["Row LSTM", "Row GRU", "CNN"]
    backend = "fused" if native.unavailable() else "native"
    assert [row["computed_by"].split(":")[0] for row in results["summary"]] == [backend, backend, "XLA"]
    assert [row["devices"] for row in results["summary"]] == [{"seed": 2, "data": 1}] * 3
    assert "Backend of CNN: XLA." in output
    for row in results["summary"]:
        assert abs(row["parameters"] - 6000) <= 0.03 * 6000
        assert row["seeds"] == len(row["test_accuracy"]["values"]) == 2
        assert row["test_accuracy"]["mean"] == pytest.approx(np.mean(row["test_accuracy"]["values"]))
        assert row["train_seconds"] == pytest.approx(sum(results["curves"][row["model"]]["seconds"]))
        assert {"seconds_to_98", "seconds_to_99"} <= set(row)
        # A test accuracy counts whole test images: none is left out.
        counts = np.array(row["test_accuracy"]["values"]) * results["data"]["test"]
        np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
        assert row["model"] in output
    assert set(results["versions"]) >= {"python", "jax", "flax", "rowrnn"}
    assert len(results["devices"]) == 2
    assert "--data shapes7" in results["command"]
    assert results["protocol"]["epochs"] == 2


@pytest.mark.slow
def test_arrays_agree_with_the_summary(finished):
    directory, _, results = finished
    with np.load(directory / "arrays.npz") as arrays:
        for row in results["summary"]:
            confusion = arrays[f"{row['model']}/confusion"]
            np.testing.assert_array_equal(confusion.sum(axis=(1, 2)), results["data"]["test"])
            right = np.trace(confusion, axis1=1, axis2=2) / results["data"]["test"]
            np.testing.assert_allclose(right, row["test_accuracy"]["values"])
            # After the last row the answer is the final one (and here no model is spared test images).
            np.testing.assert_allclose(arrays[f"{row['model']}/correct_by_row"][:, -1], right, atol=1e-6)
        assert arrays["Row LSTM/gate/forget"].shape == (12, results["summary"][0]["width"])
        np.testing.assert_allclose(arrays["Row GRU/probability"].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_every_picture_is_there(finished):
    directory, output, _ = finished
    names = {path.name for path in directory.glob("*.png")}
    assert names == {
        *("learning_curves.png", "accuracy_by_row.png", "confusion.png", "mistakes.png", "calibration.png"),
        *("gates_row_lstm.png", "gates_row_gru.png"),
    }
    assert all(name in output.replace("\n", "") for name in names)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_from_disk_too(finished, data_dir, tmp_path):
    _, _, results = finished
    arguments = ("--models", "gru", "--data", "shapes7", "--data-dir", data_dir, "--output", tmp_path / "again")
    code, output, errors = run(*arguments, *TINY, "--data-memory", "0.1")
    assert code == 0, errors
    assert "training images streamed, 0.2 MiB where 0.1 are allowed" in output
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["data"]["checksum"] is None
    before = {row["model"]: row for row in results["summary"]}["Row GRU"]
    for key in ("test_accuracy", "validation_accuracy", "parameters"):
        assert again["summary"][0][key] == before[key]
    for key in ("loss", "training_accuracy", "validation_accuracy"):
        assert again["curves"]["Row GRU"][key] == results["curves"]["Row GRU"][key]


def interrupt(process, sign, *signals):
    """Sends signals when a line of the output has the sign; what the process ended with."""
    for line in process.stdout:
        if re.search(sign, line):
            for number in signals:
                process.send_signal(number)
            break
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def interrupted(data_dir, tmp_path_factory):
    """A run that was asked to stop in its second model."""
    directory = tmp_path_factory.mktemp("interrupted") / "run"
    arguments = ("--models", "gru", "lstm", "--data", "shapes7", "--data-dir", data_dir, "--tensorboard")
    process = start(*arguments, "--output", directory, *TINY, "--epochs", "14")
    code, _, errors = interrupt(process, "Row LSTM.* loss ", signal.SIGINT)
    assert code == 75, errors
    return directory, errors


@pytest.mark.slow
def test_ctrl_c_keeps_where_the_training_was(interrupted):
    directory, errors = interrupted
    results = json.loads((directory / "results.json").read_text())
    assert not results["finished"]
    assert [row["model"] for row in results["summary"]] == ["Row GRU"]
    assert f"what was finished is in {directory / 'results.json'}" in errors
    assert f"Go on with: python {SCRIPT} --resume {directory}" in errors
    assert "Stopped by SIGINT after epoch" in errors
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == ["row_gru", "row_lstm"]
    assert len(list(directory.glob("tensorboard/Row GRU/events*"))) == 1
    command = [sys.executable, "-m", "rowrnn", "runs", str(directory.parent)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"})
    assert "interrupted" in listed.stdout
    assert f"Go on with: python {SCRIPT} --resume {directory}" in listed.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "name", "arguments", "message"),
    [
        ("interrupted", "mnist_rows", ["--epochs", "3"], "takes its options from the run: give it alone"),
        ("interrupted", "directions", [], "is a run of mnist_rows, not of directions: resume it with that."),
        ("finished", "mnist_rows", [], "is finished: there is nothing to resume"),
    ],
)
def test_a_resume_that_cannot_be_meant(request, monkeypatch, capsys, state, name, arguments, message):
    directory, *_ = request.getfixturevalue(state)
    study, script = STUDIES[name]
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--resume", str(directory), *arguments])
    with pytest.raises(SystemExit) as caught:
        lab.run(study, script.Options, script.PRESETS)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_run_goes_on_even_if_it_was_left_at_once(interrupted):
    directory, _ = interrupted
    # A second Ctrl-C leaves at once; what was kept before is not damaged.
    process = start("--resume", directory)
    code, _, errors = interrupt(process, "Row LSTM", signal.SIGINT, signal.SIGINT)
    assert code in (75, 130), errors
    code, _, errors = run("--resume", directory)
    assert code == 0, errors
    results = json.loads((directory / "results.json").read_text())
    assert results["finished"]
    assert len(results["resumed"]) == 2
    assert [row["model"] for row in results["summary"]] == ["Row GRU", "Row LSTM"]
    assert len(results["curves"]["Row LSTM"]["loss"]) == 14
    assert not (directory / "checkpoints").exists()


@pytest.mark.slow
def test_a_trained_model_is_exported_from_the_run(finished, data_dir, tmp_path):
    directory, _, results = finished
    command = [sys.executable, "-m", "rowrnn", "export", str(directory), str(tmp_path / "row_lstm.jax")]
    command += ["--name", "Row LSTM"]
    subprocess.run([*command, "--seed", "1"], check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    test = load("shapes7", data_dir).test
    logits = program.load(tmp_path / "row_lstm.jax")(test.images)
    right = float((np.asarray(logits).argmax(axis=-1) == np.asarray(test.labels)).mean())
    assert right == pytest.approx(results["summary"][0]["test_accuracy"]["values"][1])


# The other experiments, tiny.


def run_script(name, data_dir, output, *arguments):
    (study, script), printed = STUDIES[name], io.StringIO()
    common = ("--data", "shapes7", "--data-dir", str(data_dir), "--output", str(output))
    options = tyro.cli(script.Options, args=[*common, *arguments])
    # Schedules of optax multiply floats by step counts.
    with contextlib.redirect_stdout(printed), jax.numpy_dtype_promotion("standard"):
        lab.run_study(study, options)
    output_text = printed.getvalue()
    results = json.loads((output / "results.json").read_text())
    assert results["finished"]
    assert results["experiment"] == name
    for path in output.glob("*.png"):
        assert path.name in output_text.replace("\n", "")
    return results, {path.name for path in output.glob("*.png")}


@pytest.mark.slow
def test_directions(data_dir, tmp_path):
    arguments = ("--directions", "both_ways", "renet", "--params", "6000", "--epochs", "2")
    results, pictures = run_script(
        "directions", data_dir, tmp_path / "run", *arguments, "--seeds", "2", "--batch", "16"
    )
    assert pictures == {"orders.png", "accuracy.png", "learning_curves.png"}
    # Images of 12x20 pixels: rows, and patches of 2x2 for ReNet.
    assert [(row["sequences"], row["steps"]) for row in results["summary"]] == [(1, 12), (10, 6)]
    for row in results["summary"]:
        assert row["test_accuracy"]["mean"] > 0.3, row
        assert abs(row["parameters"] - 6000) <= 0.03 * 6000
    best = max(results["summary"], key=lambda row: row["test_accuracy"]["mean"])
    assert results["table"][1][0] == best["model"]
    assert len(list((tmp_path / "run" / "models").iterdir())) == 4


@pytest.mark.slow
def test_pixels(data_dir, tmp_path):
    arguments = ("--hidden", "6", "--epochs", "1", "--batch", "32", "--cells", "lru", "min_gru")
    results, pictures = run_script("pixels", data_dir, tmp_path / "run", *arguments)
    assert pictures == {"learning_curves.png"}
    assert [row["model"] for row in results["summary"]] == ["sequential LRU + MinGRU", "permuted LRU + MinGRU"]
    assert {row["steps"] for row in results["summary"]} == {240}


@pytest.mark.slow
def test_memory(data_dir, tmp_path):
    what = ("--cells", "layer_norm_gru", "rg_lru", "--hidden", "16", "--filler", "noise")
    how = ("--delay", "2", "--longest", "5", "--epochs", "3", "--batch", "16")
    results, pictures = run_script("memory", data_dir, tmp_path / "run", *what, *how)
    assert pictures == {"accuracy.png", "gradients.png", "learning_curves.png"}
    assert results["delays"] == [0, 1, 2, 5]
    for row in results["summary"]:
        assert len(row["test_accuracy"]) == len(results["delays"])
        assert row["test_accuracy"][0]["mean"] > 0.25, row
    with np.load(tmp_path / "run" / "arrays.npz") as arrays:
        assert arrays["LayerNormGRU/gradient/start"].shape == (12 + 2,)
        assert (arrays["RG-LRU/gradient/end"] > 0).all()


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("directions", ["--directions", "row"], "There is no 'row' for --directions. Did you mean 'rows'"),
        ("directions", ["--cell", "gro"], "There is no 'gro' for --cell. Did you mean 'gru'"),
        (
            "directions",
            ["--patch", "5"],
            "Patches of 5x5 do not divide .* 28x28. Take other ones with --patch",
        ),
        ("directions", ["--renet-patch", "4"], "Patches of 16x16 do not divide an image of 28x28"),
        ("pixels", ["--cells", "gro"], "There is no 'gro' for --cells. Did you mean 'gru'. There are elman"),
        ("memory", ["--cells", "LSTM"], "There is no 'LSTM' for --cells. Did you mean 'lstm'"),
        ("memory", ["--delay", "0"], "--delay is 0; expected at least 1"),
    ],
)
def test_wrong_options_of_the_others(name, wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, script = STUDIES[name]
    with pytest.raises(InputError, match=message):
        lab.run_study(study, tyro.cli(script.Options, args=wrong))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_help_explains_every_option():
    code, output, _ = run("--help")
    assert code == 0
    for name in ("--params", "--epochs", "--data", "--data-dir", "--quick", "--full", "--rotation"):
        assert name in output
    assert "Parameter budget" in output
    # The help of a preset is made of its values.
    words = " ".join(output.replace("│", " ").split())
    assert "Preset: --params 10000 --epochs 1 --seeds 2 --train-images 4000." in words


@pytest.mark.slow
def test_the_options_are_in_the_record_by_name(finished):
    _, _, results = finished
    options = values_by_name(mnist_rows.Options())
    assert set(options) | {"quick", "full"} <= set(results["protocol"])
    assert results["protocol"]["augmentation"]["shift"] == options["augmentation"].shift
    assert (results["protocol"]["params"], results["protocol"]["quick"]) == (6000, False)


@pytest.mark.slow
def test_a_table_is_printed_where_the_output_knows_ascii_only(finished):
    directory, *_ = finished
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rowrnn", "draw", str(directory)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert " +- " in printed
    assert "learning_curves.png" in printed


@pytest.mark.slow
def test_an_experiment_trains_on_the_devices_of_a_process_where_jax_already_runs(data_dir, tmp_path):
    program = f"""
import jax, jax.numpy as jnp
devices = jnp.ones(1).devices()
from experiments.mnist_rows import MnistRows, Options
from rowrnn import lab
training = lab.TrainingOptions(epochs=1, seeds=1, batch=16, source=lab.DataOptions("shapes7", {str(data_dir)!r}))
lab.run_study(MnistRows, Options(models=("gru",), hidden=4, training=training))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("JAX_NUM_CPU_DEVICES", None)
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
    results = json.loads((tmp_path / "runs" / "mnist_rows" / "results.json").read_text())
    assert results["finished"]
    assert len(results["devices"]) == 1


@pytest.mark.slow
def test_bad_input_is_one_paragraph_and_exit_code_2_and_leaves_nothing(tmp_path):
    code, output, errors = run("--models", "gro", "--output", tmp_path / "run")
    assert code == 2
    assert errors.startswith("mnist_rows.py: There is no 'gro' for --models. Did you mean 'gru'?")
    assert errors.count("\n") == 1
    assert output == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": ("LSTM",)}, "Did you mean 'lstm'"),
        ({"models": ()}, "--models is empty; expected some of elman"),
        ({"models": ("gru", "cnn", "gru")}, "--models has 'gru' twice; expected each once"),
        ({"data": "mnits"}, "Did you mean .*'mnist'"),
        ({"hidden": 0}, "--hidden is 0; expected at least 1"),
        ({"channels": -3}, "--channels is -3"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"seeds": -1}, "--seeds is -1"),
        ({"batch": 0}, "--batch is 0"),
        ({"train_images": 0}, "--train-images is 0"),
        ({"data_memory": -1.0}, "--data-memory is -1.0; expected MiB of at least 0"),
        ({"dropout": 1.0}, "expected a dropout in"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected a number above 0"),
        ({"example": 10_000}, "from 0 to 9999"),
        ({"batch": 70_000}, "batch of 70000 is larger than the training set of 55000"),
        ({"batch": 200, "train_images": 100}, "batch of 200 is larger than the training set of 100"),
        ({"params": 300}, "No width meets a budget of 300 parameters"),
        ({"output": Path("/proc/nowhere/run")}, "cannot be written"),
    ],
)
def test_wrong_options_are_refused_and_leave_nothing(wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        lab.run_study(mnist_rows.MnistRows, with_values(mnist_rows.Options(), **wrong))
    assert list(tmp_path.iterdir()) == []
