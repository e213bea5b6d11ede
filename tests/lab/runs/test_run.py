"""The directory of a run: never another's, never half a file, never left empty."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.errors import StorageError
from rowrnn.lab.experiment.command_line import exit_on_error, run_experiment
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.process_usage import seconds_since_start
from rowrnn.lab.runs.record import SCHEMA, Record


def saved(run):
    entries = {"a": np.arange(3), "b": run.directory, "c": np.float32(0.5)}
    run.save(Record("toy", entries=entries), {"x": np.arange(4)})


def test_a_run_saves_json_and_arrays(tmp_path):
    with Run(tmp_path / "deep" / "run") as run:
        saved(run)
    record = json.loads((run.directory / "results.json").read_text())
    assert 0 < record.pop("seconds") < 3600
    assert record.items() >= {"a": [0, 1, 2], "b": str(run.directory), "c": 0.5, "finished": False}.items()
    assert (record["experiment"], record["schema"]) == ("toy", SCHEMA)
    with np.load(run.directory / "arrays.npz") as arrays:
        np.testing.assert_array_equal(arrays["x"], [0, 1, 2, 3])
    assert sorted(path.name for path in run.directory.iterdir()) == ["arrays.npz", "results.json"]


def test_another_run_is_kept_and_the_next_free_name_taken(tmp_path):
    names = []
    for _ in range(3):
        with Run(tmp_path / "run") as run:
            saved(run)
            names.append(run.directory.name)
    assert names == ["run", "run-2", "run-3"]


def test_two_runs_at_once_never_share_a_directory(tmp_path):
    (tmp_path / "run").mkdir()
    with Run(tmp_path / "run") as first, Run(tmp_path / "run") as second:
        saved(first)
        saved(second)
    assert (first.directory.name, second.directory.name) == ("run", "run-2")
    assert sorted(path.name for path in first.directory.iterdir()) == ["arrays.npz", "results.json"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "."])
def test_a_name_that_cannot_be_a_directory_is_refused(tmp_path, monkeypatch, name):
    (tmp_path / "full").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot be written"), Run(Path(name)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_file_with_the_name_is_kept(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be written .* --output"), Run(tmp_path / "run" / "inside"):
        pass
    with Run(tmp_path / "run") as run:
        saved(run)
    assert run.directory.name == "run-2"
    assert (tmp_path / "run").read_text() == "mine"


def test_a_run_that_saved_nothing_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), Run(tmp_path / "deep" / "run"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_first_checkpoint_that_fails_leaves_nothing_to_resume(tmp_path, capsys):
    def full(run):
        run.begin(Record("a"))
        run.checkpoints("A model").mkdir(parents=True)
        raise StorageError("full")

    with pytest.raises(StorageError), Run(tmp_path / "run") as run:
        full(run)
    assert list(tmp_path.iterdir()) == []
    assert "Go on with" not in capsys.readouterr().err


def interrupted_after_saving(run):
    saved(run)
    raise KeyboardInterrupt


def test_an_interrupted_run_says_what_there_is(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), Run(tmp_path / "run") as run:
        interrupted_after_saving(run)
    assert f"what was finished is in {run.directory / 'results.json'}" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), Run(tmp_path / "other"):
        raise KeyboardInterrupt
    assert "Interrupted: nothing was finished" in capsys.readouterr().err
    with pytest.raises(InputError), Run(tmp_path / "wrong"):
        raise InputError("wrong")
    assert "Ended by an error: nothing was finished" in capsys.readouterr().err


def test_a_save_that_fails_leaves_the_older_one(tmp_path):
    with Run(tmp_path / "run") as run:
        saved(run)
        before = (run.directory / "results.json").read_bytes()
        circular: list[object] = []
        circular.append(circular)
        with pytest.raises(ValueError, match="Circular"):
            run.save(Record("toy", entries={"a": circular}))
    assert (run.directory / "results.json").read_bytes() == before
    assert sorted(path.name for path in run.directory.iterdir()) == ["arrays.npz", "results.json"]


@dataclass(frozen=True)
class Options:
    epochs: int = 5
    width: int = 7


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (Options(), {"full": False})),
        (["--full"], (Options(epochs=20), {"full": True})),
        (["--full", "--epochs", "3"], (Options(epochs=3), {"full": True})),
        (["--width", "1", "--full"], (Options(epochs=20, width=1), {"full": True})),
    ],
)
def test_an_option_beside_a_preset_wins(monkeypatch, arguments, expected):
    monkeypatch.setattr("sys.argv", ["experiment.py", *arguments])
    seen = []
    run_experiment(Options, lambda *given: seen.append(given), {"full": {"epochs": 20}})
    assert seen == [expected]


def test_presets_exclude_each_other(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["experiment.py", "--full", "--quick"])
    with pytest.raises(SystemExit) as caught:
        run_experiment(Options, lambda *_: pytest.fail("It ran."), {"full": {"epochs": 20}, "quick": {"epochs": 1}})
    assert caught.value.code == 2
    assert "take one of --full and --quick" in capsys.readouterr().err


def test_a_divergence_is_a_message_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as caught, exit_on_error("experiment.py"):
        raise FloatingPointError("The loss is no longer finite.")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "experiment.py: The loss is no longer finite.\n"


def test_an_input_error_is_one_paragraph_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["experiment.py"])

    def refuse(options, chosen):
        raise InputError("Nothing fits. Take less.")

    with pytest.raises(SystemExit) as caught:
        run_experiment(Options, refuse, {})
    assert caught.value.code == 2
    assert capsys.readouterr().err == "experiment.py: Nothing fits. Take less.\n"


def test_seconds_since_start_grow():
    first = seconds_since_start()
    assert 0 < first <= seconds_since_start() < 3600
