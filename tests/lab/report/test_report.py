"""Tables and pictures of a made-up run, and what publishing it changes."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from experiments.mnist_rows import MnistRows
from rowrnn.errors import InputError
from rowrnn.lab.draw import draw
from rowrnn.lab.report.columns import model_table
from rowrnn.lab.report.learning_curves import learning_curves
from rowrnn.lab.report.machine_load import load_noticed
from rowrnn.lab.report.overview import find_runs, overview
from rowrnn.lab.report.publish import pages_of, publish
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.style import band
from rowrnn.lab.report.tables import markdown, table
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.record import SCHEMA, Record, read_record, read_results
from tests.helpers.cases import thinned


def results(experiment="mnist_rows"):
    row = {
        "model": "Row LSTM",
        "parameters": 12_345,
        "seeds": 3,
        "test_accuracy": interval([0.99, 0.98, 0.97]),
        "seconds_to_98": 12.4,
        "seconds_to_99": None,
        "train_images_per_second": 10_400.2,
        "inference_images_per_second": 50_000.0,
        "memory_mib": 99.6,
    }
    rows = [row, {**row, "model": "CNN"}]
    curve = {"loss": [[1.0, 0.9, 1.1], [0.5, 0.4, 0.6]], "validation_accuracy": [[0.9, 0.8, 0.85], [0.95, 0.97, 0.96]]}
    return Record(
        experiment,
        data={"name": "toy", "test": 70, "shape": [6, 4, 1], "classes": 3, "class_names": ["a", "b", "c"]},
        protocol={"seeds": 3},
        summary=rows,
        table=model_table("model", rows, MnistRows.columns),
        curves={"Row LSTM": curve, "CNN": curve},
    )


def arrays(channels=1):
    rng = np.random.default_rng(0)
    found = {"example": rng.integers(0, 255, (6, 4, channels), np.uint8), "example_label": np.int32(2)}
    for model, mistakes in (("Row LSTM", 2), ("CNN", 0)):
        found |= {
            f"{model}/correct_by_row": rng.uniform(size=(3, 6)),
            f"{model}/confusion": rng.integers(0, 9, (3, 3, 3)),
            f"{model}/mistake_image": rng.integers(0, 255, (mistakes, 6, 4, channels), np.uint8),
            f"{model}/mistake_label": np.zeros(mistakes, np.int32),
            f"{model}/mistake_prediction": np.ones(mistakes, np.int32),
            f"{model}/mistake_probability": np.full(mistakes, 0.9),
        }
    found |= {f"Row LSTM/gate/{name}": rng.uniform(size=(6, 5)) for name in ("input", "forget", "output")}
    return found | {"Row LSTM/probability": rng.uniform(size=(6, 3))}


@pytest.fixture
def run(tmp_path):
    with Run(tmp_path / "run") as run:
        run.finish(results("toy"), arrays())
    return run.directory


def test_the_interval_is_students():
    found = interval([1.0, 2.0, 4.0])
    # t of 2 degrees of freedom at 97.5 % is 4.302653, from a printed table.
    assert found["mean"] == pytest.approx(7 / 3)
    assert found["ci95"] == pytest.approx(4.302653 * np.sqrt(7 / 3 / 3), rel=1e-6)
    assert found["values"] == [1.0, 2.0, 4.0]
    assert interval([0.5]) == {"mean": 0.5, "ci95": None, "values": [0.5]}


def test_markdown_states_every_figure():
    lines = markdown(results()).splitlines()
    assert lines[0].startswith("| model | test accuracy % | parameters | seconds to 98 % |")
    # 98 % ± 4.302653 · 1 % / √3.
    assert lines[2] == "| Row LSTM | 98.00 ± 2.48 | 12,345 | 12 | - | 10,400 | 50,000 | 100 |"
    assert len(lines) == 4


def test_the_terminal_table_fits_80_columns():
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table(results()))
    assert "98.00 ± 2.48" in captured.get()
    assert "…" not in captured.get()


@pytest.mark.parametrize(("count", "said"), [(29, "Scored on 29 test examples only"), (30, "")])
def test_few_test_examples_are_said_below_the_table(count, said):
    caption = str(table(results().replace(data={"test": count})).caption)
    assert ("test examples only" in caption) == bool(said)
    assert said in caption


@pytest.mark.parametrize("channels", thinned([3, 1, 13], 3))
def test_every_picture_is_drawn_from_the_files_alone(tmp_path, channels):
    with Run(tmp_path / "run") as run:
        run.save(results(), arrays(channels))
    pictures = draw(run.directory)
    assert sorted(path.name for path in pictures) == [
        "accuracy_by_row.png",
        "confusion.png",
        "gates_row_lstm.png",
        "learning_curves.png",
        "mistakes.png",
    ]
    for path in pictures:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_a_curve_has_its_values_in_sight_and_gaps_where_there_are_none():
    axes = Figure().add_subplot()
    # Student's t of one degree of freedom: each interval reaches 6.4 to both sides of its mean.
    band(axes, np.arange(5), np.array([[1.0, 2.0], [2.0, 3.0], [np.nan, np.nan], [2.0, 3.0], [1.0, 2.0]]), "k", "a")
    bottom, top = axes.get_ylim()
    assert 0.8 < bottom <= 1
    assert 3 <= top < 3.2
    (shade,) = axes.collections
    corners = [np.asarray(path.vertices) for path in shade.get_paths()]
    assert [(x.min(), x.max()) for x, _ in (c.T for c in corners)] == [(0, 1), (3, 4)]
    assert corners[0].max() == pytest.approx(2.5 + 6.353, abs=1e-3)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_curves_of_few_epochs_have_numbers_on_both_axes(epochs):
    falling = np.array([0.49, 0.21, 0.15])[:epochs, None]
    curves = {
        model: {"loss": factor * falling, "validation_accuracy": 1 - factor * falling / 5}
        for model, factor in (("Row LSTM", 1.0), ("CNN", 0.6))
    }
    figure = learning_curves(results().replace(curves=curves))
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert labels_in_view(axes.xaxis) == {str(number) for number in range(1, epochs + 1)}
        assert len(labels_in_view(axes.yaxis)) >= 2
    plt.close(figure)


def labels_in_view(axis):
    first, last = axis.get_view_interval()
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return {tick.label1.get_text() for tick in ticks if first <= tick.get_loc() <= last} - {""}


def test_pictures_are_those_that_the_arrays_allow(tmp_path):
    way = np.stack([np.arange(6), np.full(6, 1.5)], axis=1)
    of_model = {"when": np.arange(24).reshape(6, 4), "way/0": way, "way/1": way[::-1], "gradient/start": np.ones(9)}
    of_model["gradient/end"] = np.geomspace(1e-9, 1, 9)
    every = {f"{model}/{name}": array for model in ("Row LSTM", "CNN") for name, array in of_model.items()}
    with Run(tmp_path / "orders") as run:
        run.save(results("directions"), {name: array for name, array in every.items() if "gradient" not in name})
    assert [path.name for path in draw(run.directory)] == ["learning_curves.png", "orders.png", "accuracy.png"]
    protocol, by_delay = {"seeds": 3, "delay": 5, "filler": "blank"}, results("memory")
    summary = [{**row, "test_accuracy": [row["test_accuracy"]] * 2} for row in by_delay.summary]
    memory = by_delay.replace(curves={}, protocol=protocol, summary=summary, entries={"delays": [0, 5]})
    with Run(tmp_path / "memory") as run:
        run.save(memory, {name: array for name, array in every.items() if "gradient" in name})
    assert [path.name for path in draw(run.directory)] == ["accuracy.png", "gradients.png"]
    with Run(tmp_path / "times") as run:
        run.save(Record("times"))
    with pytest.raises(InputError, match=r"The run of times in .* has nothing to draw"):
        draw(run.directory)
    with pytest.raises(InputError, match=r"This run of times has no table: no model is finished\."):
        markdown(Record("times"))


PAGE = """before ![](results/toy-confusion.png)
<!-- toy -->
{table}
<!-- /toy -->
between
<!-- other -->
kept
<!-- /other -->
"""


def test_publishing_copies_the_run_and_renews_only_its_table(run, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(PAGE.format(table="old"))
    (run / "confusion.png").write_bytes(b"shown")
    (run / "mistakes.png").write_bytes(b"not shown")
    publish(run, [readme], tmp_path / "results")
    assert readme.read_text() == PAGE.format(table=markdown(results()))
    published = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert published["finished"]
    assert Record.of(published).replace(finished=False, seconds=0.0) == results("toy")
    with np.load(tmp_path / "results" / "toy.npz") as published:
        examples = {"example", "CNN/mistake_image", "Row LSTM/mistake_image"}  # which may be somebody's
        assert set(published) == set(arrays()) - examples
        for name, array in published.items():
            np.testing.assert_array_equal(array, arrays()[name])
    assert sorted(path.name for path in (tmp_path / "results").glob("*.png")) == ["toy-confusion.png"]


def test_published_results_do_not_name_a_home_or_where_the_checkout_lies(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(PAGE.format(table="old"))
    content = json.loads((run / "results.json").read_text())
    content["command"] = f"python x.py --data-dir {Path.home()}/data --output {tmp_path}/runs/x --beside {tmp_path}s/y"
    (run / "results.json").write_text(json.dumps(content))
    publish(run, [tmp_path / "README.md"], tmp_path / "results")
    published = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert published == {**content, "command": f"python x.py --data-dir ~/data --output runs/x --beside {tmp_path}s/y"}


def test_a_table_is_renewed_on_every_page_that_shows_it(run, tmp_path):
    readme, page, other = tmp_path / "README.md", tmp_path / "docs" / "deep" / "page.md", tmp_path / "docs" / "other.md"
    page.parent.mkdir(parents=True)
    readme.write_text(PAGE.format(table="old"))
    page.write_text("![](../../results/toy-mistakes.png)\n<!-- toy -->\nold\n<!-- /toy -->\n")
    other.write_text("<!-- another -->\nold\n<!-- /another -->\n")
    assert pages_of(tmp_path) == [readme, page, other]
    (run / "mistakes.png").write_bytes(b"shown on the page")
    publish(run, pages_of(tmp_path), tmp_path / "results")
    assert readme.read_text() == PAGE.format(table=markdown(results()))
    assert markdown(results()) in page.read_text()
    assert other.read_text() == "<!-- another -->\nold\n<!-- /another -->\n"
    assert (tmp_path / "results" / "toy-mistakes.png").read_bytes() == b"shown on the page"


def test_a_page_that_is_not_there_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"The page .*away\.md cannot be read"):
        publish(run, [tmp_path / "away.md"], tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_runs_of_one_experiment_share_a_table(run, tmp_path):
    readme, folder = tmp_path / "README.md", tmp_path / "results"
    page = "<!-- late + toy + no -->\n{table}\n<!-- /late + toy + no -->\n<!-- toy_20k -->\nkept\n<!-- /toy_20k -->\n"
    readme.write_text(page.format(table="old"))
    publish(run, [readme], folder)
    alone = markdown(results())
    assert readme.read_text() == page.format(table=alone)
    with Run(tmp_path / "late") as late:
        rows = [{**results().summary[0], "model": "Row GRU"}]
        late.finish(results("toy").replace(summary=rows, table=model_table("model", rows, MnistRows.columns)))
    (folder / "stray.json").write_text("{")
    publish(late.directory, [readme], folder, "late")
    header, rule, *rows = alone.splitlines()
    both = "\n".join([header, rule, rows[0].replace("Row LSTM", "Row GRU"), *rows])
    assert readme.read_text() == page.format(table=both)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (results("toy").replace(table=[["model", "error %"], ["Row GRU", "1.00"]]), "other columns"),
        (results("pixels"), "another experiment"),
    ],
)
def test_tables_of_two_kinds_are_not_mixed(run, tmp_path, other, reason):
    readme, folder = tmp_path / "README.md", tmp_path / "results"
    page = "<!-- toy + late -->\nold\n<!-- /toy + late -->\n"
    readme.write_text(page)
    folder.mkdir()
    (folder / "late.json").write_text(json.dumps(other.flat()))
    with pytest.raises(InputError, match=reason):
        publish(run, [readme], folder)
    for unreadable in ("{", "[]"):
        (folder / "late.json").write_text(unreadable)
        with pytest.raises(InputError, match=r"late\.json, which shares the table, cannot be read"):
            publish(run, [readme], folder)
    assert readme.read_text() == page
    assert not (folder / "toy.json").exists()


def test_times_of_a_busy_machine_are_published_only_with_that_said(tmp_path):
    readme, folder = tmp_path / "README.md", tmp_path / "results"
    readme.write_text(PAGE.format(table="old"))
    loads = (0.04, 0.23, None)
    rows = [{**row, "others_load": load} for row, load in zip([*results().summary, {}], loads, strict=True)]
    with Run(tmp_path / "busy") as run:
        run.finish(results("toy").replace(summary=rows), arrays())
    said = "Other processes used up to 23 % of the processor meanwhile"
    with pytest.raises(InputError, match=rf"The table of .*busy has times\. {said}.* or publish it with --busy"):
        publish(run.directory, [readme], folder)
    assert not folder.exists()
    publish(run.directory, [readme], folder, busy=True)
    assert said in readme.read_text().split("<!-- toy -->")[1].split("<!-- /toy -->")[0]
    quiet = results().replace(summary=[{**rows[0]}])
    assert not load_noticed(quiet)
    assert not load_noticed(
        results().replace(summary=rows, table=[["model", "at validation's threshold %"], ["CNN", "99.1"]])
    )
    assert load_noticed(Record("speed", table=[["", "ms"], ["LSTM", "3.1"]], entries={"others_load": 0.06}))


def test_what_cannot_be_published_changes_nothing(run, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    with pytest.raises(InputError, match="expected the marks <!-- toy -->"):
        publish(run, [readme], tmp_path / "results")
    with Run(tmp_path / "interrupted") as other:
        other.save(results(), arrays())
    with pytest.raises(InputError, match="was interrupted"):
        publish(other.directory, [readme], tmp_path / "results")
    assert readme.read_text() == "no marks"
    assert not (tmp_path / "results").exists()


def test_records_of_every_schema_so_far_are_read_and_newer_ones_refused(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"experiment": "memory", "finished": True, "delays": [0, 5], "summary": []}))
    old = read_record(tmp_path)
    assert (old.schema, old.experiment, old.finished, old.entries["delays"]) == (0, "memory", True, [0, 5])
    file.write_text(json.dumps(results().flat()))
    assert read_results(file) == results()
    assert results().schema == SCHEMA
    file.write_text(json.dumps({**results().flat(), "schema": SCHEMA + 1}))
    message = rf"results.json has schema {SCHEMA + 1}, and .* reads schemas up to {SCHEMA}: update rowrnn"
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no readable run"):
        draw(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "arrays.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match="holds no readable run"):
        draw(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(InputError, match="holds no readable run"):
        draw(tmp_path)


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path):
    interrupted(tmp_path / "mine", "python elsewhere/mine.py --epochs 3")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{")
    runs = find_runs(tmp_path)
    _, *rows = overview(runs)
    assert [row[:2] for row in rows if row[0]] == [["mine", "interrupted"], ["broken", "unreadable"]]
    assert [run.resumed_by() for run in runs] == [f"python elsewhere/mine.py --resume {tmp_path / 'mine'}", None]


@pytest.mark.parametrize(
    "command", ["python -c", "python ''", "python '/a path/ipykernel_launcher.py' -f kernel.json", "python bin/pytest"]
)
def test_a_run_without_a_script_goes_on_by_the_same_call(tmp_path, command):
    interrupted(tmp_path / "run", command)
    assert [run.resumed_by() for run in find_runs(tmp_path)] == [
        f"the same call, with resume=Path({str(tmp_path / 'run')!r}) in its TrainingOptions"
    ]


def interrupted(directory, command):
    with Run(directory) as run:
        arguments = ["--epochs", "3"] if command.endswith(" --epochs 3") else []
        made = results("mine").replace(protocol={"seeds": 3, "resume": None}, arguments=arguments)
        run.save(made.replace(entries={"command": command}))


def test_a_study_without_arrays_draws_its_own_pictures(tmp_path):
    with Run(tmp_path / "run") as run:
        run.finish(results("mine"))
    drawn = draw(run.directory, lambda record, arrays: {"mine": Figure()})
    assert [path.name for path in drawn] == ["learning_curves.png", "mine.png"]
