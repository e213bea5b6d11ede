"""Tables over time: their parts and windows, the loss, the baselines and the experiment, by hand on small cases."""

import csv
import json
from datetime import datetime, timedelta

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import series as script
from rowrnn.errors import InputError
from rowrnn.lab.data.sources.series import read_series
from rowrnn.lab.data.sources.times import following, times_of
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.own import series
from rowrnn.lab.predict.command import Wish, tell
from rowrnn.lab.tasks.series.examples import series_of
from rowrnn.lab.tasks.series.task import errors, loss, repeated_season, windows
from rowrnn.saving import Card
from rowrnn.saving.series_columns import SeriesColumns

START = datetime(2024, 2, 26)


def write(path, rows, **columns):
    """A table by hours."""
    names = ["date", *columns]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(names)
        for row in range(rows):
            table.writerow([START + timedelta(hours=row), *(values[row] for values in columns.values())])
    return str(path)


def waves(rows):
    """A wave a day, one of two days, and what is known ahead, which the first holds too."""
    hours = np.arange(rows)
    rng = np.random.default_rng(0)
    plan = rng.normal(size=rows).round(3)
    day = np.sin(2 * np.pi * hours / 24)
    return {"load": (10 + 3 * day + 2 * plan).round(4), "other": (day**2).round(4), "plan": plan}


def test_a_table_has_three_parts_scaled_by_the_first(tmp_path):
    columns = waves(100)
    data = series_of(write(tmp_path / "t.csv", 100, **columns), lookback=8, horizon=4, known=["plan"])
    assert data.columns.targets == ("load", "other")
    assert data.columns.known == ("plan",)
    assert data.columns.calendar == ("hour", "weekday", "day of the year")
    assert data.columns.step == 3600
    assert data.parts == {"train": (0, 70), "validation": (70, 80), "test": (80, 100)}
    load = np.array(columns["load"])
    np.testing.assert_allclose(data.values[:, 0], (load - load[:70].mean()) / load[:70].std(), rtol=0, atol=1e-5)
    # Seven o'clock of a Tuesday.
    angles = 2 * np.pi * np.array([7 / 24, 1 / 7])
    turns = [f(angle) for angle in angles for f in (np.sin, np.cos)]
    np.testing.assert_allclose(data.values[31, 3:7], turns, rtol=0, atol=1e-6)
    # The first window that is scored reads what lies before the test; the last ends with the table.
    starts = data.starts("test", 4)
    assert (starts[0] + 8, starts[-1] + 12, len(starts)) == (80, 100, 17)
    assert data.starts("train", 4)[0] == 0
    assert data.starts("train", 4)[-1] + 12 == 70


def test_a_column_that_is_constant_is_no_noise_to_be_enlarged(tmp_path):
    columns = {**waves(100), "setpoint": np.where(np.arange(100) < 90, 21.7, 21.8)}
    data = series_of(write(tmp_path / "t.csv", 100, **columns), lookback=8, horizon=4, targets=["load"])
    (place,) = [n for n, name in enumerate((*data.columns.targets, *data.columns.seen)) if name == "setpoint"]
    np.testing.assert_allclose(data.values[[0, -1], place], [0, 0.1], rtol=0, atol=1e-5)


def test_times_that_are_not_read_are_told(tmp_path):
    rows = [f"{day:02}.01.2024,{day}" for day in range(1, 21)]
    (tmp_path / "t.csv").write_text("\n".join(["date,x", *rows]) + "\n")
    data = series_of(str(tmp_path / "t.csv"), lookback=2, horizon=1)
    assert "no column of times in ISO 8601 (date), so that gaps are not looked for" in data.source


def test_windows_hold_each_target_as_a_series_of_its_own(tmp_path):
    how = {"lookback": 6, "horizon": 3, "targets": ["load"], "known": ["plan"], "calendar": False}
    data = series_of(write(tmp_path / "t.csv", 60, **waves(60)), **how)
    assert data.columns.seen == ("other",)
    found = windows(jnp.asarray(data.values), jnp.array([2, 9]), data.columns, 3)
    np.testing.assert_array_equal(found.past[1], data.values[9:15])
    assert found.ahead is not None
    np.testing.assert_array_equal(found.ahead[0], data.values[8:11, 2:])
    np.testing.assert_array_equal(found.truth[1], data.values[15:18, 0])
    both = series_of(write(tmp_path / "t.csv", 60, **waves(60)), lookback=6, horizon=3, calendar=False)
    found = windows(jnp.asarray(both.values), jnp.array([2, 9]), both.columns, 3)
    assert found.past.shape == (6, 6, 1)
    assert found.ahead is None
    np.testing.assert_array_equal(found.truth[4], both.values[15:18, 1])


def test_loss_and_errors_by_hand(tmp_path):
    data = series_of(write(tmp_path / "t.csv", 60, **waves(60)), lookback=6, horizon=3, calendar=False)
    values, starts = jnp.asarray(data.values), jnp.array([2, 9, 30])

    def model(past, ahead, key=None):
        """Says 0.1, between -0.5 and 0.6."""
        return jnp.broadcast_to(jnp.array([0.1, -0.5, 0.6]), (len(past), 3, 3))

    truth = np.stack([data.values[s + 6 : s + 9, :3].T for s in (2, 9, 30)]).astype(np.float64)
    low, high = truth + 0.5, truth - 0.6
    expected = np.square(truth - 0.1).mean()
    quantiles = np.maximum(0.1 * low, -0.9 * low).mean() + np.maximum(0.9 * high, -0.1 * high).mean()
    how = {"values": values, "columns": data.columns, "horizon": 3}
    found, metrics = loss(model, starts, jax.random.key(0), **how)
    assert found == pytest.approx(expected + quantiles, abs=1e-6)
    assert metrics["squared_error"] == pytest.approx(expected, abs=1e-6)
    scored = errors(model, starts, **how)
    np.testing.assert_allclose(scored[:, 0], np.square(truth - 0.1).mean(axis=1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(scored[:, 1], np.abs(truth - 0.1).mean(axis=1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(scored[:, 2], ((truth >= -0.5) & (truth <= 0.6)).mean(axis=1), rtol=0, atol=1e-6)


def test_a_season_is_repeated(tmp_path):
    data = series_of(write(tmp_path / "t.csv", 60, **waves(60)), lookback=6, horizon=5, targets=["other"])
    starts = np.array([3, 20])
    found = repeated_season(data.values, starts, data.columns, 5, 3)
    other = data.values[:, 0].astype(np.float64)
    missed = np.array([[other[s + 6 + h] - other[s + 3 + h % 3] for h in range(5)] for s in starts])
    np.testing.assert_allclose(found, [np.square(missed).mean(axis=0), np.abs(missed).mean(axis=0)], rtol=0, atol=1e-7)
    last = repeated_season(data.values, starts, data.columns, 5, 1)
    np.testing.assert_allclose(
        last[1], np.mean([[abs(other[s + 6 + h] - other[s + 5]) for h in range(5)] for s in starts], axis=0), atol=1e-7
    )


def test_months_are_equal_steps(tmp_path):
    file = tmp_path / "m.csv"
    file.write_text("month,sales\n" + "".join(f"2023-{month:02}-01,{month}\n" for month in range(1, 13)))
    name, times = times_of(read_series(file), "m.csv")
    assert name == "month"
    assert times is not None
    assert times[-1] == datetime(2023, 12, 1)
    assert following(times, 3) == [datetime(2024, month, 1) for month in (1, 2, 3)]
    assert following([datetime(2023, 11, 30), datetime(2023, 12, 30)], 2)[1] == datetime(2024, 2, 29)
    assert following(times[:6], 2) == [datetime(2023, 7, 1), datetime(2023, 8, 1)]


def test_hours_follow_in_equal_steps():
    assert following([START, START + timedelta(hours=1)], 2) == [START + timedelta(hours=n) for n in (2, 3)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["2024-01-01,1", "2024-01-03,2", "2024-01-02,3"], "Row 3 of .*, is before row 2, .*: sort the rows by time"),
        (["2024-01-01,1", "2024-01-01,2", "2024-01-02,3"], "Row 2 of .*, repeats row 1"),
        (["2024-01-01,1", "2024-01-02,2", "2024-01-05,3", "2024-01-06,3"], "From row 2 .* are 3 days.*Fill the gap"),
        (["2024-01-01,1", "2nd of January,2", "2024-01-03,3"], "Row 2 of .* has '2nd of January' in 'date'; expected"),
        (["2024-01-01,1", "2024-01-02,", "2024-01-03,3"], "1 numbers are missing in .*, the first in row 2 of 'x'"),
        ([f"2024-01-{day:02},1" for day in (1, 2, 3, 4)], "rows for train are 2, and 2 are read and 1 forecast"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, lines, message):
    (tmp_path / "t.csv").write_text("\n".join(["date,x", *lines]) + "\n")
    with pytest.raises(InputError, match=message):
        series_of(str(tmp_path / "t.csv"), lookback=2, horizon=1, parts=(0.5, 0.25, 0.25))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"targets": ["lod"]}, "no column of that name, 'lod'; of numbers are load, other, plan"),
        ({"targets": ["date"]}, "no column of numbers only, 'date'"),
        ({"targets": ["load"], "known": ["load"]}, "'load' is named twice"),
        ({"known": ["load", "other", "plan"]}, "none to forecast"),
        ({"parts": (0.9, 0.2, 0.1)}, "three shares that add up to at most 1"),
        ({"date_column": "day"}, "no column of times 'day'; its columns of text are: date"),
    ],
)
def test_options_that_do_not_fit_a_table(tmp_path, given, message):
    path = write(tmp_path / "t.csv", 40, **waves(40))
    with pytest.raises(InputError, match=message):
        series_of(path, lookback=4, horizon=2, **given)


def test_a_card_keeps_the_columns():
    how = {"mean": (1.0, 2.0), "std": (3.0, 4.0), "time": "t", "step": 60.0, "lookback": 5}
    columns = SeriesColumns(targets=("a",), known=("b",), calendar=("hour",), **how)
    card = Card(task="series", series=columns)
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card
    with pytest.raises(InputError, match="columns of a card cannot be read"):
        Card.from_json({"series": {"tragets": ["a"]}})


def trained(tmp_path, *given):
    path = write(tmp_path / "t.csv", 400, **waves(400))
    arguments = ["--data", path, "--known", "plan", "--lookback", "48", "--horizon", "6", "--hidden", "16"]
    arguments += ["--output", str(tmp_path / "run"), "--no-quick", "--learning-rate", "0.005", *given]
    options, _ = parse(series.Options, series.PRESETS, arguments)
    with jax.numpy_dtype_promotion("standard"):
        return path, run_study(series.OwnSeries, options)


@pytest.mark.slow
def test_an_own_table_is_forecast_with_what_is_known_ahead(tmp_path, capsys):
    path, run = trained(tmp_path, "--epochs", "30", "--dropout", "0", "--hidden", "32")
    record = json.loads((run / "results.json").read_text())
    (row,) = record["summary"]
    # A day ago the plan was another: two thirds of what the load varies by.
    assert row["mse"]["mean"] < 0.4 * record["baselines"]["season repeated"]["mse"]
    assert 0.1 < row["inside"]["mean"] < 0.99
    assert (run / "forecast_gru.png").stat().st_size > 10_000
    # The same table with the plan of the next six hours, and no load.
    columns = waves(406)
    later = columns["load"][400:]
    columns["load"], columns["other"] = (np.array(columns[name], object) for name in ("load", "other"))
    columns["load"][400:] = columns["other"][400:] = ""
    ahead = write(tmp_path / "ahead.csv", 406, **columns)
    (answer,) = tell(str(run), [ahead], Wish(csv=tmp_path / "a.csv", draw=tmp_path / "drawn"))
    said = [row["expected"] for row in answer.details["forecast"] if row["target"] == "load"]
    assert np.abs(np.array(said) - later).mean() < 1.2  # of a deviation of 2.9
    assert answer.details["forecast"][0]["time"] == str(START + timedelta(hours=400))
    assert (tmp_path / "drawn" / "ahead.png").stat().st_size > 10_000
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "file,row,time,target,expected,low,high,error"
    assert len(lines) == 13
    with pytest.raises(InputError, match="0 rows after the last that has 'load'; expected 6"):
        tell(str(run), [path])


@pytest.mark.slow
def test_the_experiment_compares_forecasters(tmp_path):
    path = write(tmp_path / "t.csv", 400, **waves(400))
    given = ["--data", path, "--models", "gru", "linear", "--horizons", "3", "6", "--lookback", "48", "--hidden", "16"]
    given += ["--epochs", "3", "--seeds", "2", "--output", str(tmp_path / "run"), "--no-quick", "--no-full"]
    options, _ = parse(script.Options, script.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.Series, options)
    record = json.loads((run / "results.json").read_text())
    titles = [f"{model}, {rows} rows" for rows in (3, 6) for model in ("GRU", "DLinear")]
    assert [row["model"] for row in record["summary"]] == titles
    assert len(record["table"]) == 9
    assert (run / "errors_ahead.png").stat().st_size > 10_000
    with np.load(run / "arrays.npz") as found:
        arrays = dict(found)
    assert arrays["GRU, 6 rows/errors"].shape == (2, 3, 6)
    assert arrays["DLinear, 3 rows/answers"].shape == (6, 3, 3, 3)
