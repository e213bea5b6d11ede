"""The list of runs: all models with their own main score, told apart by their options."""

import json

import pytest

from rowrnn.errors import InputError
from rowrnn.lab.commands import app
from rowrnn.lab.report.overview import find_runs, overview
from rowrnn.lab.report.scores import main_score
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.told_options import in_words, telling_options
from tests.helpers.records import record


@pytest.fixture
def folder(tmp_path):
    """Three runs, the last interrupted in its second model, and one that cannot be read."""
    lines = record({"GRU": [0.25, 0.5]}, experiment="lines", score="label_error_rate")
    progress = {"model": "Row GRU", "epoch": 3, "epochs": 4, "loss": 0.5, "validation_accuracy": 0.875}
    toys = [record({"Row LSTM": [0.5], "CNN": [0.75]}, epochs=epochs) for epochs in (2, 4)]
    with Run(tmp_path / "lines") as run:
        run.finish(lines.replace(started="2026-01-01T00:00:00+0000"))
    with Run(tmp_path / "toy") as run:
        run.finish(toys[0].replace(started="2026-01-02T00:00:00+0000"))
    with Run(tmp_path / "mine") as run:
        run.save(toys[1].replace(started="2026-01-03T00:00:00+0000", progress=progress))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{")
    return tmp_path


def test_every_model_has_its_own_score_and_every_run_what_tells_it_apart(folder):
    _, *rows = overview(find_runs(folder))
    assert [row[:6] for row in rows] == [
        ["mine (toy)", "interrupted", "Row LSTM", "50.00", "accuracy %", "--epochs 4"],
        ["", "", "CNN", "75.00", "accuracy %", ""],
        ["", "", "Row GRU", "87.50", "validation accuracy %, epoch 3/4", ""],
        ["toy", "finished", "Row LSTM", "50.00", "accuracy %", "--epochs 2"],
        ["", "", "CNN", "75.00", "accuracy %", ""],
        # Two values a quarter apart: 12.706 · 0.25 / 2.
        ["lines", "finished", "GRU", "37.50 ± 158.83", "label error rate %", ""],
        ["broken", "unreadable", "", "", "", ""],
    ]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"experiment": "toy"}, ["mine", "toy"]),
        ({"state": "finished"}, ["toy", "lines"]),
        ({"state": "unreadable"}, ["broken"]),
        ({"model": "gru"}, ["mine", "lines"]),
        ({"sort": "run"}, ["lines", "mine", "toy", "broken"]),
        ({"sort": "experiment"}, ["lines", "mine", "toy", "broken"]),
    ],
)
def test_runs_are_chosen_and_sorted(folder, asked, names):
    assert [run.directory.name for run in find_runs(folder, **asked)] == names


def test_the_best_is_first_whichever_way_its_score_goes(tmp_path):
    scores = {"worse": 0.5, "best": 0.9, "better": 0.8}
    for score in ("test_accuracy", "label_error_rate"):
        for name, value in scores.items():
            with Run(tmp_path / score / name) as run:
                run.finish(record({"GRU": [value]}, score=score))
    best, worst = (
        [run.directory.name for run in find_runs(tmp_path / s, sort="score")]
        for s in ("test_accuracy", "label_error_rate")
    )
    assert best == ["best", "better", "worse"]
    assert worst == best[::-1]


def test_a_choice_without_runs_is_refused(folder):
    with pytest.raises(InputError, match=r"None of the 4 runs in .* they are of lines, toy\."):
        find_runs(folder, experiment="captions")


def test_the_command_lists_them_as_json_too(folder, capsys):
    app.cli(args=["runs", str(folder), "--json", "--experiment", "lines"])
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["experiment"], run["state"], run["resume"]) == ("lines", "finished", None)
    (model,) = run["models"]
    assert (model["model"], model["score"], model["values"]) == ("GRU", "label_error_rate", [0.25, 0.5])
    app.cli(args=["runs", str(folder), "--model", "row lstm"])
    printed = capsys.readouterr().out
    assert "Row LSTM" in printed
    assert "CNN" not in printed
    assert f"Go on with: python experiments/toy.py --resume {folder / 'mine'}" in printed


def test_options_on_the_command_line_tell_more_than_those_that_differ():
    given = record({"GRU": [0.5]}, epochs=2, cells=["lstm", "gru"], blind=False).replace(
        arguments=["--cells", "lstm", "gru", "--no-blind", "--output", "here"]
    )
    other = record({"GRU": [0.5]}, epochs=4, cells=["gru"], blind=True)
    assert in_words(telling_options(given, [given, other])) == "--cells lstm gru --no-blind"
    assert in_words(telling_options(other, [given, other])) == "--epochs 4 --cells gru --blind"
    assert telling_options(other, [other]) == {}


@pytest.mark.parametrize(
    ("row", "name", "text", "heading"),
    [
        ({"validation_x": interval([0.5]), "exact_match": interval([0.25])}, "exact_match", "25.00", "exact match %"),
        ({"mse_per_frame": interval([79.42]), "ssim": interval([0.5])}, "mse_per_frame", "79.4", "mse per frame"),
        ({"validation_accuracy": interval([0.5])}, "validation_accuracy", "50.00", "validation accuracy %"),
        ({"test_accuracy": [interval([0.5]), interval([0.7])]}, "test_accuracy", "60.00", "accuracy %"),
        ({"label_error_rate": interval([1.5])}, "label_error_rate", "150.00", "label error rate %"),
        ({"nats": interval([0.93])}, "nats", "0.930", "nats"),
        ({"nll": interval([82.04])}, "nll", "82.0", "nll"),
        ({"mae": interval([0.42])}, "mae", "0.420", "mae"),
        ({"log_likelihood": interval([0.5])}, "log_likelihood", "0.500", "log likelihood"),
    ],
)
def test_the_main_score_is_the_first_of_the_test_set(row, name, text, heading):
    score = main_score(row)
    assert score is not None
    assert (score.name, str(score), score.heading) == (name, text, heading)


@pytest.mark.parametrize("name", ["nats", "nll", "mae", "label_error_rate", "negative_mse", "log_likelihood"])
def test_of_which_scores_less_is_better(name):
    score = main_score({name: interval([0.5])})
    assert score is not None
    assert score.lower_is_better == (name not in {"negative_mse", "log_likelihood"})


def test_a_row_without_scores_has_no_main_score():
    assert main_score({"model": "GRU", "parameters": 7}) is None
