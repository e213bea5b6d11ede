"""Lines of handwriting: how they are made, learned and scored; the experiment, tiny."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from flax import nnx

from experiments import lines as script
from rowrnn import GRU, lab
from rowrnn.decoding import ctc
from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation, Split
from rowrnn.lab.data.load import load
from rowrnn.lab.tasks.lines import examples as handwriting
from rowrnn.lab.tasks.lines.examples import Lines, write
from rowrnn.lab.tasks.lines.measures import aligned, edit_distances, label_error_rate
from rowrnn.lab.tasks.lines.task import augment_each, ctc_loss, exact, training_lines
from rowrnn.models.line_reader import LineReader, strips
from tests.helpers import shapes7
from tests.helpers.cases import thinned
from tests.helpers.ctc_paths import LENGTHS, SHORT, all_strings

BARS = np.zeros((6, 28, 28, 1), np.uint8)
for k in range(6):
    BARS[k, 2 + 4 * k : 6 + 4 * k, 4:24] = 255


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")


jitted = jax.jit(write, static_argnames=("lines", "digits", "room"))


def written(key, images, labels, **how):
    return jax.tree.map(np.asarray, jitted(jax.random.key(key), images, labels, **how))


@pytest.fixture(scope="module")
def lines(mnist):
    return written(0, mnist.test.images[:100], mnist.test.labels[:100], lines=200, digits=(1, 5))


def test_lines_have_every_length_and_nothing_beyond_their_width(lines):
    assert lines.images.shape == (200, 28, 16 * 5 + 16, 1)
    assert set(lines.lengths) == set(range(1, 6))
    place = np.arange(5)
    np.testing.assert_array_equal(lines.labels == -1, place >= lines.lengths[:, None])
    assert lines.labels.max() == 9
    assert lines.widths.min() >= 1
    assert lines.widths.max() <= 96
    for image, width in zip(lines.images, lines.widths, strict=True):
        assert not image[:, width:].any()
        assert image[:, :width].max() > 0.5
    assert lines.images.min() == 0
    assert lines.images.max() <= 1


def test_ctc_has_steps_enough_for_every_line(mnist):
    # The narrowest that can be: thin digits, all alike, as many as fit on the paper, and the widest.
    for label in (1, 0):
        alike = np.flatnonzero(np.asarray(mnist.test.labels) == label)[:50]
        made = written(1, mnist.test.images[alike], mnist.test.labels[alike], lines=100, digits=(12, 12))
        needed = ctc.steps_needed(made.labels, made.lengths)
        np.testing.assert_array_equal(needed, 2 * 12 - 1)
        assert (strips(made.widths) >= needed).all()


def test_digits_stand_in_the_order_of_their_labels(monkeypatch):
    """Bars are told apart by their middle row, whatever the code did to them."""
    for name, value in {"WOBBLE": 0, "NOISE": 0.0, "SLANT": 0.0, "GAP": (3.0, 4.0)}.items():
        monkeypatch.setattr(handwriting, name, value)
    made = written(2, BARS, np.arange(6, dtype=np.int32), lines=40, digits=(1, 4))
    for image, labels, length in zip(made.images[..., 0], made.labels, made.lengths, strict=True):
        inked = image.max(axis=0) > 0.3
        starts = np.flatnonzero(inked & ~np.concatenate([[False], inked[:-1]]))
        ends = np.flatnonzero(inked & ~np.concatenate([inked[1:], [False]]))
        assert len(starts) == length
        for label, start, end in zip(labels, starts, ends, strict=False):
            weight = image[:, start : end + 1].sum(axis=1)
            offset = (weight * np.arange(28)).sum() / weight.sum() - 13.5
            # A bar's own middle is at 3.5 + 4 k; lines are 0.75 to 1 times as high.
            own = 3.5 + 4 * label - 13.5
            assert min(0.7 * own, 1.05 * own) - 0.3 <= offset <= max(0.7 * own, 1.05 * own) + 0.3


def test_a_slanted_line_leans_to_the_right_going_up():
    glyphs = np.zeros((1, 28, 1, 28), np.float32)
    glyphs[0, 4:24, 0, 13:15] = 1
    middle, upright, of_one = jnp.full((1, 1), 16.0), jnp.zeros((1, 1), jnp.int32), jnp.ones((1,))
    set_down = handwriting._set(jnp.asarray(glyphs), middle, upright, of_one, 0.25 * of_one, 32)[0]
    column = (np.asarray(set_down) * (np.arange(32) + 0.5)).sum(axis=1)[4:24] / np.asarray(set_down).sum(axis=1)[4:24]
    np.testing.assert_allclose(column, 16 + 0.25 * (13.5 - np.arange(4, 24)), atol=1e-4)


def test_lines_of_some_lengths_on_wider_paper():
    made = written(4, BARS, np.arange(6, dtype=np.int32), lines=60, digits=(2, 4), room=6)
    assert set(made.lengths) == {2, 3, 4}
    assert made.labels.shape == (60, 4)
    assert made.images.shape == (60, 28, 16 * 6 + 16, 1)
    assert made.widths.max() > 16 * 4 + 16  # On narrower paper they would have been written narrower.


def test_every_digit_is_used_alike():
    made = written(3, BARS, np.arange(6, dtype=np.int32), lines=4, digits=(6, 6))
    np.testing.assert_array_equal(np.bincount(made.labels.ravel()), np.full(6, 4))
    made = written(3, BARS, np.arange(6, dtype=np.int32), lines=4, digits=(5, 5))
    assert sorted(np.bincount(made.labels.ravel())) == [3, 3, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("images", "how", "message"),
    [
        (BARS[..., 0], {}, r"images of one channel, \[n, h, w, 1\]"),
        (np.zeros((6, 28, 28, 3), np.uint8), {}, "images of one channel"),
        (BARS[:5], {}, r"5, 28, 28, 1.* and labels of shape \[6\]"),
        (
            BARS,
            {"digits": (0, 2)},
            "at least 1 digit, and paper for the most, not 2 lines of 0 to 2 digits",
        ),
        (BARS, {"digits": (3, 2)}, "not 2 lines of 3 to 2 digits"),
        (BARS, {"room": 1}, "2 digits on paper for 1"),
        (BARS, {"lines": 0}, "at least 1 line"),
    ],
)
def test_what_no_line_is_made_of(images, how, message):
    with pytest.raises((ValueError, InputError), match=message):
        partial(write, lines=2, digits=(1, 2))(jax.random.key(0), images, np.arange(6), **how)


# Readers.


def test_the_loss_is_the_sum_over_all_paths():
    labels, lengths = np.array([[0, 0], [0, 1], [1, -1], [0, -1], [1, 0], [1, -1]]), np.array([2, 2, 1, 1, 2, 1])
    lines = Lines(jnp.zeros((6, 12, 20, 1)), *map(jnp.asarray, (4 * LENGTHS - 3, labels, lengths)))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # optax wants it
        total = ctc_loss(lambda images, widths, key: jnp.asarray(SHORT), lines, jax.random.key(0))
    expected = [-all_strings(SHORT[n, :steps])[tuple(labels[n, : lengths[n]])] for n, steps in enumerate(LENGTHS)]
    np.testing.assert_allclose(total, np.mean(expected), rtol=1e-4)


def test_exact_is_all_labels_and_no_more():
    sure = 8 * np.eye(3, dtype=np.float32)
    logits = jnp.asarray(np.stack([sure[[0, 2, 1, 2]], sure[[0, 2, 1, 1]], sure[[0, 2, 2, 2]]]))
    labels = np.array([[0, 1], [0, -1], [0, 1]])
    lines = Lines(jnp.zeros((3, 12, 16, 1)), np.array([16, 8, 16]), labels, np.array([2, 1, 2]))
    np.testing.assert_array_equal(exact(lambda images, widths: logits, lines), [1, 1, 0])


# Errors are edits.


def edits_by_recursion(a, b):
    if not a or not b:
        return len(a) + len(b)
    change = edits_by_recursion(a[1:], b[1:]) + (a[0] != b[0])
    return min(change, 1 + edits_by_recursion(a[1:], b), 1 + edits_by_recursion(a, b[1:]))


def test_label_errors_are_the_fewest_edits():
    rng = np.random.default_rng(0)
    pairs = [[rng.integers(0, 3, rng.integers(0, 6)).tolist() for _ in range(2)] for _ in range(30)]
    readings, truths = zip(*pairs, strict=True)
    expected = [edits_by_recursion(*pair) for pair in pairs]
    np.testing.assert_array_equal(edit_distances(readings, truths), expected)
    assert label_error_rate(readings, truths) == pytest.approx(sum(expected) / sum(map(len, truths)))
    for (reading, truth), edits in zip(pairs, expected, strict=True):
        sides = aligned(reading, truth)
        assert [label for label in sides[:, 0] if label >= 0] == reading
        assert [label for label in sides[:, 1] if label >= 0] == truth
        assert (sides[:, 0] != sides[:, 1]).sum() == edits


def test_errors_of_nothing():
    with pytest.raises(ValueError, match="1 readings cannot meet 2 truths"):
        edit_distances([[1]], [[1], [2]])
    with pytest.raises(ValueError, match="at least one true label"):
        label_error_rate([[1]], [[]])


# The experiment.


def run(tmp_path, *arguments):
    how = ("--output", str(tmp_path / "run"), "--seeds", "1", "--epochs", "1", "--batch", "16", "--lines", "3")
    how = (*how, "--train-images", "64", "--validation-lines", "8", "--test-lines", "12")
    channels = ("--channels", "2", "3", "4")
    # As a person runs it, and as optax wants it.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        lab.run_study(script.Lines, tyro.cli(script.Options, args=[*how, *channels, *arguments]))
    return json.loads((tmp_path / "run" / "results.json").read_text())


@pytest.mark.slow
def test_the_experiment(tmp_path):
    what = ("--models", "forward", "--params", "3100", "--digits", "3", "--long", "5", "--beam", "3")
    results = run(tmp_path, *what)
    assert results["finished"]
    assert [row["model"] for row in results["summary"]] == ["GRU, from the left"]
    for row in results["summary"]:
        assert abs(row["parameters"] - 3100) <= 0.03 * 3100
        for name in ("label_error_rate", "label_error_rate_beam", "label_error_rate_long", "exact_lines"):
            assert len(row[name]["values"]) == 1
        assert row["generation_share"] > 0
        assert row["model"] in results["curves"]
    names = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert names == {"learning_curves.png", "error_by_length.png", "reading_gru_from_the_left.png"}
    with np.load(tmp_path / "run" / "arrays.npz") as arrays:
        assert arrays["GRU, from the left/error_by_length"].shape == (3, 1)
        assert arrays["GRU, from the left/line_probability"].shape[1:] == (16, 11)
    assert len(list((tmp_path / "run" / "models").iterdir())) == 2


@pytest.mark.parametrize(("digits", "fits"), thinned([([1, 2, 3, 4], True), ([1, 1, 2], True), ([1, 1, 1], False)], 2))
def test_the_loss_of_a_line_that_cannot_be_read_is_infinite(digits, fits):
    """A line of 16 columns has four steps: one for each digit, and one between two equal ones."""
    labels = jnp.array([[*digits, *[-1] * (6 - len(digits))]], jnp.int32)
    line = Lines(jnp.ones((1, 16, 16, 1)), jnp.array([16]), labels, jnp.array([len(digits)]))
    model = LineReader(16, 5, 6, cell=GRU, channels=(2, 2, 2), rngs=nnx.Rngs(0))
    assert bool(jnp.isfinite(jax.jit(ctc_loss)(model, line, jax.random.key(0)))) == fits


def test_digits_of_training_lines_are_changed_each_in_its_own_way():
    images = jax.random.uniform(jax.random.key(5), (3, 28, 28, 1))
    images = jnp.concatenate([images, images[:2]])  # an odd number, two of them twice
    as_they_are = augment_each(images, jax.random.key(6), Augmentation())
    np.testing.assert_array_equal(as_they_are, images)
    turned = augment_each(images, jax.random.key(6), Augmentation(rotation=10.0))
    assert np.abs(np.asarray(turned - images)).max(axis=(1, 2, 3)).min() > 0.1
    assert np.abs(np.asarray(turned[3:] - turned[:2])).max(axis=(1, 2, 3)).min() > 0.1


@pytest.mark.slow
def test_training_lines_are_of_changed_digits():
    batch = Split(BARS, np.arange(6, dtype=np.int32))
    upright, turned = (
        jax.jit(partial(training_lines, digits=3, lines=2, augmentation=change))(batch, jax.random.key(7))
        for change in (Augmentation(), Augmentation(rotation=10.0))
    )
    for before, after in zip(upright, turned, strict=True):
        np.testing.assert_array_equal(before.labels, after.labels)
        assert np.abs(before.images - after.images).max() > 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ["--models", "gro"],
            "There is no 'gro' for --models. Did you mean 'gru'. There are lstm, gru, forward, transformer, cnn",
        ),
        (["--models"], "--models is empty; expected some of lstm"),
        (["--digits", "0"], "--digits is 0; expected at least 1"),
        (["--beam", "0"], "--beam is 0"),
        (["--lines", "0"], "--lines is 0"),
        (["--channels", "2", "0", "2"], "--channels are 2 0 2; expected at least 3 numbers, at least 1 each"),
        (["--channels", "2", "2"], "--channels are 2 2; expected at least 3 numbers"),
        (["--dropout", "1"], "expected a dropout in"),
        (["--params", "50"], "No width meets a budget of 50"),
    ],
)
def test_wrong_options(wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run(tmp_path, *wrong)
    assert list(tmp_path.iterdir()) == []


def test_images_in_colour_make_no_lines(tmp_path):
    shapes7.prepare(tmp_path / "tfds")
    what = ("--models", "forward", "--params", "3100", "--data", "shapes7")
    with pytest.raises(InputError, match="images of one channel"):
        run(tmp_path, *what, "--data-dir", str(tmp_path / "tfds"))
    assert not (tmp_path / "run").exists()
