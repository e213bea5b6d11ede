"""Runs beside each other: which differences are shown, and how they are told."""

import json

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab import commands
from rowrnn.lab.commands import app
from rowrnn.lab.report.comparison import compare_runs, draw_curves, read_named
from rowrnn.lab.report.statistics import difference
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.record import Record
from tests.helpers.records import record

A = {"GRU": [0.91, 0.93, 0.90], "CNN": [0.94, 0.95, 0.99]}
B = {"GRU": [0.92, 0.95, 0.91]}


def of(comparison, run, model):
    entry = next(entry for entry in comparison.entries if (entry.run, entry.row["model"]) == (run, model))
    return comparison.difference(entry)


def test_a_model_is_compared_with_its_namesake_and_a_new_one_with_the_first():
    comparison = compare_runs([("a", record(A)), ("b", record({**B, "LSTM": [0.5, 0.6, 0.7]}))])
    assert of(comparison, "a", "GRU") is None
    found = [of(comparison, *which) for which in (("a", "CNN"), ("b", "GRU"), ("b", "LSTM"))]
    assert [(one.reference.run, one.reference.row["model"]) for one in found] == [("a", "GRU")] * 3
    assert [one.how for one in found] == ["paired, 3 seeds"] * 3
    assert (found[1].mean, found[1].bounds) == difference(A["GRU"], B["GRU"], paired=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": {"seed": 3}}, "other seeds"),
        ({"data": {"checksum": "other"}}, "other data"),
        ({"data": {}}, "data without checksum"),
        ({"data": {"name": "another"}}, "other data"),
    ],
)
def test_seeds_that_do_not_pair_are_compared_after_welch(change, reason):
    comparison = compare_runs([("a", record(A)), ("b", record(B).replace(**change))])
    found = of(comparison, "b", "GRU")
    assert found.how == f"unpaired (Welch), {reason}: 3 and 3"
    assert (found.mean, found.bounds) == difference(A["GRU"], B["GRU"], paired=False)


def test_models_of_one_run_pair_whatever_is_known_of_their_data():
    found = of(compare_runs([("a", record(A).replace(data={}))]), "a", "CNN")
    assert found.how == "paired, 3 seeds"
    assert found.bounds == difference(A["GRU"], A["CNN"], paired=True)[1]


def test_one_seed_has_no_interval():
    comparison = compare_runs([("a", record({"GRU": [0.5]})), ("b", record({"GRU": [0.75]}))])
    _, first, second = comparison.models()
    assert first[:4] == ["a", "GRU", "50.00", ""]
    assert second[:7] == ["b", "GRU", "75.00", "+25.00", "n/a", "that of a", "one seed: no interval"]
    of_others = record({"GRU": [0.75]}).replace(data={"name": "another"})
    (found,) = compare_runs([("a", record({"GRU": [0.5]})), ("b", of_others)]).models()[2:]
    assert found[6] == "one seed: no interval, other data"


def test_what_differs_is_told_and_what_does_not_is_not():
    versions = ({"versions": {"jax": "0.10.1"}}, {"versions": {"jax": "0.12.0"}})
    first, second = (record(A, epochs=epochs, hidden=8) for epochs in (2, 20))
    comparison = compare_runs([("a", first.replace(entries=versions[0])), ("b", second.replace(entries=versions[1]))])
    assert comparison.differences() == [["", "a", "b"], ["--epochs", "2", "20"], ["jax", "0.10.1", "0.12.0"]]
    assert compare_runs([("a", first), ("b", first)]).differences() == [["", "a", "b"]]


def test_runs_of_one_name_are_told_apart_and_their_curves_drawn_together(tmp_path):
    comparison = compare_runs([("run", record(A)), ("run", record(B))])
    assert list(comparison.runs) == ["run", "run (2)"]
    assert list(comparison.curves().curves) == ["run: GRU", "run: CNN", "run (2): GRU"]
    draw_curves(comparison, tmp_path / "curves.svg")
    assert "run (2): GRU" in (tmp_path / "curves.svg").read_text().replace("&#160;", " ")
    with pytest.raises(InputError, match=r"curves\.nothing cannot be written"):
        draw_curves(comparison, tmp_path / "curves.nothing")


def test_what_cannot_be_compared_is_refused():
    lines = record({"GRU": [0.01, 0.02, 0.03]}, score="label_error_rate")
    with pytest.raises(InputError, match="their scores are label_error_rate, test_accuracy"):
        compare_runs([("a", record(A)), ("b", lines)])
    with pytest.raises(InputError, match="The run b has no score yet"):
        compare_runs([("a", record(A)), ("b", Record("toy"))])
    with pytest.raises(InputError, match="GRU has no score 'bleu'; it has test_accuracy, validation_accuracy"):
        compare_runs([("a", record(A))], "bleu")
    with pytest.raises(InputError, match="nothing to compare"):
        compare_runs([])
    with pytest.raises(InputError, match="The run a has no learning curves"):
        compare_runs([("a", record(A, curves=False))]).curves()
    assert "Lower is better" in compare_runs([("b", lines)]).caption()


def test_a_command_that_does_not_exist_is_one_line_with_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rowrnn", "comprae", "runs/a"])
    with pytest.raises(SystemExit) as caught:
        commands.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("rowrnn: There is no command 'comprae'. Did you mean 'compare'?")
    monkeypatch.setattr("sys.argv", ["rowrnn", "--help"])
    with pytest.raises(SystemExit):
        commands.main()
    shown = capsys.readouterr().out.split()
    (listed,) = [word for word in shown if word.startswith("{")]
    assert {*listed.strip("{}").split(",")} == {*commands.COMMANDS}


def test_the_command_takes_directories_and_files(tmp_path, capsys):
    for name, scores in (("one", A), ("two", B)):
        with Run(tmp_path / name) as run:
            run.finish(record(scores))
    paths = [str(tmp_path / "one"), str(tmp_path / "two" / "results.json")]
    app.cli(args=["compare", *paths, "--json"])
    models = json.loads(capsys.readouterr().out)["models"]
    assert [(model["run"], model["model"]) for model in models] == [("one", "GRU"), ("one", "CNN"), ("two", "GRU")]
    assert models[2]["difference"]["mean"] == pytest.approx(np.mean(B["GRU"]) - np.mean(A["GRU"]))
    app.cli(args=["compare", *paths, "--draw", str(tmp_path / "c.png")])
    printed = capsys.readouterr().out
    assert "paired, 3 seeds" in printed
    assert (tmp_path / "c.png").exists()
    with pytest.raises(InputError, match="is no run"):
        read_named(tmp_path / "three")
