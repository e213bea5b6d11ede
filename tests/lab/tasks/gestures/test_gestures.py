"""Gestures: the generator against NumPy loops, and the script, tiny."""

import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from scipy import stats

from experiments import gestures as script
from rowrnn import lab, program
from rowrnn.errors import InputError
from rowrnn.lab.data import as_float
from rowrnn.lab.runs.kept_models import export_kept
from rowrnn.lab.tasks.gestures.examples import (
    AMPLITUDES,
    CANVAS,
    GESTURES,
    REVERSED,
    SIZES,
    SPEEDS,
    Draws,
    drawn,
    gestures,
    path,
    rendered,
)
from rowrnn.lab.tasks.gestures.examples import Path as Way
from rowrnn.lab.tasks.gestures.task import fixed_videos
from tests.helpers import shapes7

NAMES = list(GESTURES)
EACH = jnp.arange(len(GESTURES), dtype=jnp.int32)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (len(GESTURES), 6, 5, 2)), jnp.uint8)


def test_paths_are_sums_of_six_parts():
    draws = drawn(jax.random.key(1), len(EACH))
    phases, amplitudes, speeds = (np.asarray(array, np.float64) for array in draws)
    found = path(draws, EACH, 7)
    chex.assert_shape(found, (len(EACH), 7))
    for number, gesture in enumerate(NAMES):
        circle, across, down = amplitudes[number]
        for frame in range(7):
            turns = [phases[number, k] + speeds[number] * GESTURES[gesture][k] * (frame - 3) for k in range(6)]
            waves = [math.sin(2 * math.pi * turn) for turn in turns[:3]]
            x = 15.5 + circle * math.cos(2 * math.pi * turns[0]) + across * waves[1] + 2.5 * (2 * (turns[3] % 1) - 1)
            y = 15.5 + circle * waves[0] + down * waves[2] + 2.5 * (2 * (turns[4] % 1) - 1)
            size = SIZES[0] + (SIZES[1] - SIZES[0]) * (turns[5] % 1)
            np.testing.assert_allclose([way[number, frame] for way in found], [y, x, size], atol=1e-4)


def test_gestures_move_as_they_are_called():
    draws = Draws(jnp.full((len(EACH), 6), 0.25), jnp.full((len(EACH), 3), 2.0), jnp.full(len(EACH), 0.08))
    y, x, size = (np.diff(np.asarray(way), axis=1) for way in path(draws, EACH, 3))
    moves = {name: (y[number], x[number], size[number]) for number, name in enumerate(NAMES)}

    def still(name, *ways):
        return all(abs(moves[name][way]).max() == 0 for way in ways)

    assert still("still", 0, 1, 2)
    assert still("wave", 0, 2)
    assert still("nod", 1, 2)
    assert still("shake", 0, 2)
    assert (moves["approach"][2] > 0).all()
    assert (moves["retreat"][2] < 0).all()
    assert still("approach", 0, 1)
    assert (moves["zigzag right"][1] > 0).all()
    assert (moves["zigzag left"][1] < 0).all()
    # At the bottom of its circle what goes clockwise goes to the left.
    assert (moves["clockwise"][1] < 0).all()
    assert (moves["counter-clockwise"][1] > 0).all()
    assert abs(moves["shake"][1]).max() > 2 * abs(moves["wave"][1]).max()


def test_reversed_gestures_are_each_other_s_videos_backwards(images):
    draws = drawn(jax.random.key(2), len(EACH))
    assert sorted(REVERSED) == [4, 5, 6, 7, 8, 9]
    for gesture, partner in REVERSED.items():
        assert REVERSED[partner] == gesture
        there, back = (path(draws, jnp.full(len(EACH), label, jnp.int32), 5) for label in (gesture, partner))
        chex.assert_trees_all_equal(there, jax.tree.map(lambda way: way[:, ::-1], back))
    videos = [rendered(as_float(images), way) for way in (there, back)]
    np.testing.assert_array_equal(videos[0], videos[1][:, ::-1])


@pytest.mark.parametrize("frame", [0, 3, 5])
def test_no_frame_tells_the_gesture(frame):
    """Place, size and their products have one distribution: two samples of it, as Kolmogorov and Smirnov judge them."""
    count = 2000

    def seen(label):
        labels = jnp.full(count, label, jnp.int32)
        y, x, size = (np.asarray(way)[:, frame] for way in path(drawn(jax.random.key(label), count), labels, 6))
        return y, x, size, (y - 15.5) * (x - 15.5), (x - 15.5) * size, (y - 15.5) * size

    ways = {label: seen(label) for label in range(len(EACH))}
    for label in range(1, len(EACH)):
        for here, there in zip(ways[0], ways[label], strict=True):
            assert stats.ks_2samp(here, there).pvalue > 1e-4, NAMES[label]
    # What the parts at rest are for: without them the test would tell a wave.
    alone = drawn(jax.random.key(0), count)
    alone = alone._replace(phases=alone.phases * jnp.asarray(np.eye(6, dtype=np.float32)[1])[None])
    _, x, _ = path(alone, jnp.full(count, NAMES.index("wave"), jnp.int32), 6)
    assert stats.ks_2samp(ways[0][1], np.asarray(x)[:, frame]).pvalue < 1e-10


def test_rendering_spreads_every_pixel_over_the_nearest_four():
    rng = np.random.default_rng(3)
    image = rng.uniform(0, 0.3, (6, 5, 2))
    way = Way(*jnp.asarray([[[15.5, 9.3, 20.0]], [[15.5, 22.75, 11.1]], [[6.0, 13.0, 7.7]]], jnp.float32))
    found = rendered(jnp.asarray(image, jnp.float32)[None], way)
    expected = np.zeros((3, CANVAS, CANVAS, 2))
    for frame, (y, x, size) in enumerate(zip(*(np.float64(array[0]) for array in way), strict=True)):
        scale = size / 6
        for row in range(6):
            for column in range(5):
                at_y, at_x = y + scale * (row - 2.5), x + scale * (column - 2)
                top, left = math.floor(at_y), math.floor(at_x)
                for below, right in np.ndindex(2, 2):
                    share = abs(1 - below - (at_y - top)) * abs(1 - right - (at_x - left))
                    expected[frame, top + below, left + right] += scale**2 * share * image[row, column]
    np.testing.assert_allclose(found[0], np.minimum(expected, 1), atol=1e-5)


def test_no_light_leaves_the_canvas():
    """Where every part is at its end: dim images, which reach no limit, keep their light times the scale squared."""
    image = jnp.full((1, 28, 28, 1), 0.2)
    ends = np.array(np.meshgrid([0, 0.25, 0.5, 0.75], [0.25, 0.75], [0.25, 0.75], [0, 1 - 1e-6], [0, 1 - 1e-6]))
    phases = np.concatenate([ends.reshape(5, -1).T, np.full((64, 1), 1 - 1e-6)], axis=1)
    draws = Draws(jnp.float32(phases), jnp.full((64, 3), AMPLITUDES[1]), jnp.full((64,), SPEEDS[1]))
    way = path(draws, jnp.zeros(64, jnp.int32), 1)
    frames = rendered(jnp.broadcast_to(image, (64, 28, 28, 1)), way)
    np.testing.assert_allclose(frames.sum(axis=(1, 2, 3, 4)), 0.2 * 28**2 * (way.size[:, 0] / 28) ** 2, rtol=1e-5)
    # A pixel further and they would.
    beyond = rendered(image, Way(jnp.full((1, 1), 25.5), jnp.full((1, 1), 15.5), jnp.full((1, 1), SIZES[1])))
    assert beyond.sum() < 0.999 * 0.2 * SIZES[1] ** 2


def test_videos_are_those_of_their_key(images):
    make = jax.jit(gestures, static_argnums=2)
    videos = make(jax.random.key(5), images, 4)
    chex.assert_shape(videos.frames, (len(images), 4, CANVAS, CANVAS, 2))
    assert videos.frames.dtype == jnp.float32
    chex.assert_trees_all_equal(videos, make(jax.random.key(5), images, 4))
    other = make(jax.random.key(6), images, 4)
    assert (videos.labels != other.labels).any()
    assert (videos.frames != other.frames).any(axis=(1, 2, 3, 4)).all()
    assert 0 < videos.frames.max() <= 1


def test_every_gesture_is_as_frequent():
    labels = np.asarray(gestures(jax.random.key(0), jnp.zeros((4000, 1, 1, 1), jnp.uint8), 1).labels)
    assert stats.chisquare(np.bincount(labels, minlength=len(GESTURES))).pvalue > 1e-4


def test_gestures_that_cannot_be_made():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"at least 1 frame, not 0"):
        gestures(key, jnp.zeros((2, 4, 4, 1), jnp.uint8), 0)
    with pytest.raises(ValueError, match=r"images \[b, h, w, c\], .* not \[2, 4, 4\]"):
        gestures(key, jnp.zeros((2, 4, 4), jnp.uint8))
    with pytest.raises(ValueError, match=r"not \[0, 4, 4, 1\]"):
        gestures(key, jnp.zeros((0, 4, 4, 1), jnp.uint8))


# The script.


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    shapes7.prepare(directory)
    return directory


@pytest.mark.slow
def test_the_script(data_dir, tmp_path):
    """Colour images of 12x20 pixels in videos of three frames."""
    common = ("--data", "shapes7", "--data-dir", str(data_dir), "--output", str(tmp_path / "run"))
    what = ("--models", "min_gru", "frame", "--params", "2500", "--channels", "2", "--features", "8")
    how = ("--frames", "3", "--epochs", "1", "--seeds", "2", "--batch", "16", "--test-images", "60")
    with jax.numpy_dtype_promotion("standard"):  # Schedules of optax multiply floats by step counts.
        options = tyro.cli(script.Options, args=[*common, *what, *how])
        lab.run_study(script.Gestures, options)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["finished"]
    assert [row["model"] for row in results["summary"]] == ["MinGRU", "single frame"]
    pictures = {"learning_curves", "accuracy_by_frame", "confusion", "film_mingru", "film_single_frame"}
    assert {path.stem for path in (tmp_path / "run").glob("*.png")} == pictures
    assert len(list((tmp_path / "run" / "models").glob("*.safetensors"))) == 2
    partners = np.arange(10)
    partners[[4, 5, 6, 7, 8, 9]] = [5, 4, 7, 6, 9, 8]
    with np.load(tmp_path / "run" / "arrays.npz") as arrays:
        for row in results["summary"]:
            assert abs(row["parameters"] - 2500) <= 0.03 * 2500
            assert row["generation_share"] > 0
            # What the table says is what the confusion counts.
            confusion = arrays[f"{row['model']}/confusion"]
            right, taken = (confusion[:, np.arange(10), to] for to in (np.arange(10), partners))
            np.testing.assert_array_equal(confusion.sum(axis=(1, 2)), 60)
            paired = confusion[:, 4:].sum(axis=(1, 2))
            np.testing.assert_allclose(row["test_accuracy"]["values"], right.sum(axis=1) / 60)
            np.testing.assert_allclose(row["reversed_pairs_accuracy"]["values"], right[:, 4:].sum(axis=1) / paired)
            np.testing.assert_allclose(row["partner_share"]["values"], taken[:, 4:].sum(axis=1) / paired)
            by_frame = arrays[f"{row['model']}/accuracy_by_frame"]
            # Of single frames it is the place that is best in validation, whatever is best in the test.
            assert row["model"] == "single frame" or row["place"] == [2, 2]
            np.testing.assert_allclose(row["test_accuracy"]["values"], by_frame[[0, 1], row["place"]])
            np.testing.assert_allclose(arrays[f"{row['model']}/probability"].sum(axis=-1), 1, atol=1e-5)
    validation = fixed_videos(1, options.training.load().validation.first(60), frames=3)
    for seed, place in enumerate(results["summary"][1]["place"]):
        export_kept(tmp_path / "run", "single frame", tmp_path / "frame.jax", seed)
        of_frame = program.load(tmp_path / "frame.jax")
        answers = [of_frame(as_float(validation.frames[:, t : t + 1])).argmax(axis=-1) for t in range(3)]
        right = [(np.asarray(answer) == validation.labels).mean() for answer in answers]
        assert right[place] == max(right)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ["--models", "gro"],
            "'gro' for --models. Did you mean 'gru'. There are elman, .*, frame, average",
        ),
        (["--models"], "--models is empty; expected some of elman"),
        (["--frames", "0"], "--frames is 0; expected at least 1"),
        (["--channels", "0"], "--channels is 0; expected at least 1"),
        (["--params", "20000"], "No width meets a budget of 20,000 parameters"),
    ],
)
def test_wrong_options_leave_nothing(wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        lab.run_study(script.Gestures, tyro.cli(script.Options, args=wrong))
    assert list(tmp_path.iterdir()) == []
