"""Own films: layouts, pieces, measures and baselines by hand, and the two commands on discs that fly."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageSequence

from experiments import frames as script
from rowrnn.errors import InputError
from rowrnn.lab.data.shaping import Shaping
from rowrnn.lab.data.sources.films import read_films
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.films import FilmOptions, bootstrapped
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.own import frames as own
from rowrnn.lab.predict.command import Wish, tell
from rowrnn.lab.tasks.frames import files
from rowrnn.lab.tasks.frames.examples import cropped, pieces_of
from rowrnn.lab.tasks.frames.files import films_of
from rowrnn.lab.tasks.frames.flow import extrapolated
from rowrnn.lab.tasks.frames.measures import critical_success, events
from rowrnn.lab.tasks.frames.task import film_events, film_loss, held_error
from rowrnn.saving import Preprocessing


def film(rng, frames=10, side=32):
    """A light disc that flies straight on over a dark ground."""
    row, column = np.mgrid[:side, :side]
    place, speed = rng.uniform(8, side - 8, 2), rng.uniform(-2, 2, 2)
    away = [(row - place[0] - t * speed[0]) ** 2 + (column - place[1] - t * speed[1]) ** 2 for t in range(frames)]
    return np.round(40 + 200 / (1 + np.exp(np.minimum(np.array(away) - 16, 50.0)))).astype(np.uint8)


def films(path, count=8, frames=10):
    rng = np.random.default_rng(0)
    np.savez(path, frames=np.stack([film(rng, frames) for _ in range(count)]))
    return path


def of(path, budget=1 << 30, **how):
    return films_of(str(path), Shaping(**how), budget, length=6, multiple=8)


def test_films_of_an_array_are_divided_in_their_order(tmp_path):
    path = films(tmp_path / "films.npz")
    whole = np.load(path)["frames"]
    data = of(path)
    assert data.train.frames.shape == (4 * 5, 6, 32, 32, 1)
    for split, numbers in (("train", (0, 2, 4, 6)), ("validation", (1, 5)), ("test", (3, 7))):
        pieces = getattr(data, split)
        np.testing.assert_array_equal(pieces.films, np.repeat(np.arange(len(numbers)), 5))
        np.testing.assert_array_equal(pieces.frames[5, ..., 0], whole[numbers[1], :6])
        np.testing.assert_array_equal(pieces.frames[7, ..., 0], whole[numbers[1], 2:8])


def test_pieces_begin_further_apart_where_memory_is_small(tmp_path):
    path = films(tmp_path / "films.npz")
    small = of(path, budget=10 * 6 * 32 * 32)
    assert len(small.train.frames) == 4 * 3  # of 20 every second one
    assert "Pieces of 6 frames: 12 train, 2 frames apart; 10 validation; 10 test." in small.source
    # What is scored does not depend on the memory.
    np.testing.assert_array_equal(small.test.frames, of(path).test.frames)


def test_what_is_scored_of_long_films_is_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "JUDGED", 4)
    data = of(films(tmp_path / "films.npz"))
    assert [len(getattr(data, split).frames) for split in ("train", "validation", "test")] == [20, 4, 4]  # every third


def test_films_that_are_in_two_splits_are_told(tmp_path):
    for split, seed in (("train", 0), ("val", 1), ("test", 0)):
        first, *others = map(Image.fromarray, film(np.random.default_rng(seed)))
        (tmp_path / split).mkdir()
        first.save(tmp_path / split / "a.gif", save_all=True, append_images=others, duration=50)
    told = "WARNING: 1 file is in more than one split, with the same bytes: train/a.gif = test/a.gif"
    assert told in of(tmp_path).source


def test_films_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        (tmp_path / split / "day 1").mkdir(parents=True)
        for number in range(count):
            first, *others = map(Image.fromarray, film(rng))
            first.save(tmp_path / split / "day 1" / f"{number}.gif", save_all=True, append_images=others, duration=50)
    (tmp_path / "train" / "notes.txt").write_text("of a day")
    data = of(tmp_path)
    assert [len(getattr(data, split).frames) for split in ("train", "validation", "test")] == [15, 5, 10]
    assert data.frames_per_second == 20
    assert "1 other file left out: train/notes.txt" in data.source


def test_levels_become_black_and_white(tmp_path):
    data = of(films(tmp_path / "films.npz"), levels=(40, 140))
    raw = np.load(tmp_path / "films.npz")["frames"][0, :6].astype(np.float64)
    expected = np.floor(np.clip((raw - 40) * 2.55, 0, 255) + 0.5)
    np.testing.assert_allclose(data.train.frames[0, ..., 0], expected, atol=1)
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = Preprocessing((16, 16), levels=(64, 164))
    np.testing.assert_array_equal(found.to_bytes(image), found.to_bytes(jnp.asarray(image)))
    with pytest.raises(InputError, match=r"two values from 0 to 255, the first lower, not \(9, 9\)"):
        Preprocessing((16, 16), levels=(9, 9))
    with pytest.raises(InputError, match="--levels are 9 9; expected two values"):
        Shaping(levels=(9, 9))
    # What lies around a picture is black where its border is.
    edged = Shaping((16, 32), levels=(40, 140)).decide([np.full((20, 20, 1), 40, np.uint8)])
    assert edged.background == 0
    assert not edged.to_bytes(np.full((1, 20, 20, 1), 40, np.uint8)).any()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 4, 32, 32), np.uint8), "has 4 frames; expected at least 6"),
        (np.zeros((3, 9, 32, 32), np.uint8), "has 3 films; expected at least 4"),
        (np.zeros((8, 9, 32, 32), np.float32), r"are float32 of shape \[8, 9, 32, 32\]; expected uint8"),
        (np.zeros((8, 32, 32), np.uint8), r"of shape \[8, 32, 32\]; expected uint8 \[films, frames"),
    ],
)
def test_films_that_are_wrong(tmp_path, array, message):
    np.savez(tmp_path / "films.npz", frames=array)
    with pytest.raises(InputError, match=message):
        of(tmp_path / "films.npz")


def test_folders_that_are_wrong(tmp_path):
    with pytest.raises(InputError, match="There are no pictures or clips in"):
        read_films(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        of(tmp_path / "nothing")
    first, *others = map(Image.fromarray, film(np.random.default_rng(0)))
    first.save(tmp_path / "1.gif", save_all=True, append_images=others)
    with pytest.raises(InputError, match="has 1 films; expected at least 4, for training, validation and test"):
        read_films(tmp_path)


def test_pieces():
    long, short = np.arange(7, dtype=np.uint8), np.arange(20, 23, dtype=np.uint8)
    pieces = pieces_of([frames.reshape(-1, 1, 1, 1) for frames in (long, short)], 3, 2)
    assert pieces.frames[..., 0, 0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [20, 21, 22]]
    assert pieces.films.tolist() == [0, 0, 0, 1]


def test_random_parts_are_parts_of_one_film():
    """Every part is a window of its film, mirrored or not, and alike in all frames."""
    whole = jnp.arange(2 * 6 * 5, dtype=jnp.float32).reshape(1, 2, 6, 5, 1)
    found = set()
    for part in np.asarray(cropped(jnp.tile(whole, (300, 1, 1, 1, 1)), jax.random.key(0), 4))[..., 0]:
        places = {
            (top, left, down, across)
            for top in range(3)
            for left in range(2)
            for down in (1, -1)
            for across in (1, -1)
            if (part == np.asarray(whole)[0, :, top : top + 4, left : left + 4, 0][:, ::down, ::across]).all()
        }
        assert len(places) == 1
        found |= places
    assert len(found) == 3 * 2 * 4


def test_critical_success_by_hand():
    true = np.array([[0.9, 0.6, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]]).reshape(1, 2, 2, 2, 1)
    said = np.array([[0.7, 0.2, 0.6, 0.1], [0.1, 0.1, 0.1, 0.1]]).reshape(1, 2, 2, 2, 1)
    # One hit, one miss, one false alarm; then nothing at all.
    counted = np.asarray(events(said, true, (0.5, 0.65, 0.95)))
    assert counted[0].tolist() == [[[1, 3], [1, 1], [0, 0]], [[0, 0], [0, 0], [0, 0]]]
    np.testing.assert_allclose(critical_success(counted), [1 / 3, 1, np.nan])
    # Of two videos, hits and others are added up before the ratio.
    both = np.concatenate([counted, np.array([[[[3, 3]] * 3, [[1, 4]] * 3]])])
    np.testing.assert_allclose(critical_success(both)[0], (4 / 6 + 1 / 4) / 2)
    videos = np.round(255 * np.concatenate([np.zeros((1, 1, 2, 2, 1)), true], axis=1)).astype(np.uint8)
    how = {"given": 1, "ahead": 2, "thresholds": (0.5, 0.65)}
    found = film_events(lambda given, ahead: jnp.asarray(said, jnp.float32), jnp.asarray(videos), **how)
    np.testing.assert_array_equal(found, counted[:, :, :2])


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.25), (0.25, 0.25), (0.0, 0.5), (0.5, 1.0)])
def test_thresholds_that_cannot_be_meant(thresholds):
    with pytest.raises(InputError, match="expected values between 0 and 1, the lowest first"):
        FilmOptions(thresholds=thresholds).check()


def test_what_moved_goes_on_moving():
    rng = np.random.default_rng(3)
    row, column = np.mgrid[:64, :64].astype(np.float64)
    waves = [np.sin(a * row + b * column + c) for a, b, c in rng.uniform(0.1, 0.4, (6, 3))]
    whole = (np.sum(waves, axis=0) / 12 + 0.5)[..., None]
    frames = np.stack([whole[2 * t : 2 * t + 40, t : t + 40] for t in range(8)]).astype(np.float32)
    found = extrapolated(frames[:4], 4)
    held = np.abs(frames[3] - frames[4:])[:, 10:-10, 10:-10].mean()
    assert np.abs(found - frames[4:])[:, 10:-10, 10:-10].mean() < 0.15 * held


def test_errors_by_hand():
    frames = np.array([0, 10, 30, 10], np.uint8).reshape(1, 4, 1, 1, 1)
    assert held_error(frames, 2) == pytest.approx((20**2 + 0) / 2 / 255**2)

    class Still:
        def predictions(self, given, ahead):
            return jnp.zeros((len(given), given.shape[1] - 1 + ahead, *given.shape[2:]))

    pieces = pieces_of([frames[0]], 4, 1)
    found, metrics = film_loss(Still(), pieces, jax.random.key(0), given=2, ahead=2, crop=8, unit=0.01)
    errors = np.array([10, 30, 10]) ** 2 / 255**2
    assert found == pytest.approx(errors.mean() / 0.01, rel=1e-5)
    assert metrics["mse"] == pytest.approx(errors[1:].mean(), rel=1e-5)


def test_intervals_over_films():
    held = np.array([[1.0, 2.0], [3.0, 2.0]])
    found = np.array(bootstrapped(held / 2, held))
    np.testing.assert_allclose(found, 0.5)
    assert bootstrapped(np.array([[0.5], [3.0]]), np.array([[1.0], [3.0]])) == [[0.0, 0.5]]
    assert bootstrapped(held[:1], held[:1]) is None


@pytest.mark.slow
def test_own_films_go_on(tmp_path):
    data = films(tmp_path / "films.npz", count=16, frames=12)
    given = ["--data", str(data), "--given", "3", "--ahead", "3", "--crop", "32", "--params", "20000"]
    given += ["--epochs", "12", "--output", str(tmp_path / "run"), "--no-quick"]
    options, _ = parse(own.Options, own.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(own.OwnFrames, options)
    record = json.loads((run / "results.json").read_text())
    assert record["summary"][0]["below_held"][1]["mean"] > 0.3
    for picture in ("films.png", "films.gif", "error_by_frame.png"):
        assert (run / picture).stat().st_size > 5_000
    first, *others = map(Image.fromarray, film(np.random.default_rng(9), 5))
    first.save(tmp_path / "new.gif", save_all=True, append_images=others)
    (answer,) = tell(str(run), [str(tmp_path / "new.gif")], Wish(draw=tmp_path / "drawn", json=tmp_path / "a.json"))
    assert answer.details["ahead"] == 3
    assert json.loads((tmp_path / "a.json").read_text())["ahead"] == 3
    with Image.open(tmp_path / "drawn" / "new.gif") as drawn:
        assert len(list(ImageSequence.Iterator(drawn))) == 6
    assert (tmp_path / "drawn" / "new.png").stat().st_size > 5_000


@pytest.mark.slow
def test_the_experiment_compares_cells_and_baselines(tmp_path):
    data = films(tmp_path / "films.npz", count=8)
    given = ["--data", str(data), "--given", "1", "--ahead", "3", "--params", "20000", "--crop", "16", "--epochs", "1"]
    given += ["--output", str(tmp_path / "run"), "--no-quick", "--no-full"]
    options, _ = parse(script.Options, script.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.FramesStudy, options)
    record = json.loads((run / "results.json").read_text())
    assert [row[0] for row in record["table"][1:]] == ["ConvLSTM", "ConvGRU", "last frame held", "black"]
