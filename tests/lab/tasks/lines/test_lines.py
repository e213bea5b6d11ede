"""Lines of handwriting: how they are made, read and decoded; the experiment, tiny."""

import itertools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from flax import nnx

from experiments import lines as script
from rowrnn import GRU, LSTM, lab
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


def test_steps_needed_are_labels_and_repetitions():
    labels = np.array([[3, 3, 3, -1], [1, 2, 1, 2], [5, -1, -1, -1], [7, 7, 8, 8]])
    np.testing.assert_array_equal(ctc.steps_needed(labels, np.array([3, 4, 1, 4])), [5, 4, 1, 6])


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


def reader(cell, channels=(2, 3, 4, 3, 4), **how):
    made = LineReader(12, 3, 5, cell=cell, channels=channels, **how, rngs=nnx.Rngs(0))
    # Biases of zero would hide what padding lets through.
    key = jax.random.key(1)
    return jax.tree.map(lambda a: a + 0.3 * jax.random.normal(key, a.shape) if a.ndim == 1 else a, made)


@pytest.mark.parametrize(("cell", "both_ways"), [(GRU, True), (LSTM, False), (None, False)])
def test_a_ragged_batch_is_its_lines_one_by_one(cell, both_ways):
    model = reader(cell, both_ways=both_ways)
    images = jax.random.normal(jax.random.key(2), (3, 12, 18, 1))  # what lies beyond a width is no zero
    widths = np.array([18, 5, 1])
    read = jax.jit(type(model).__call__)

    def second(images):
        scores = model(images, widths)
        return jnp.square(scores[1, :2]).sum(), scores

    gradient, together = jax.jit(jax.grad(second, has_aux=True))(images)
    assert together.shape == (3, 5, 4)
    assert np.abs(gradient[1, :, :5]).max() > 0
    assert not np.asarray(gradient[1, :, 5:]).any()
    for image, width, scores in zip(images, widths, together, strict=True):
        alone = read(model, image[None, :, :width])[0]
        assert len(alone) == -(-width // 4)
        np.testing.assert_allclose(scores[: len(alone)], alone, atol=1e-5)


@pytest.mark.parametrize(("cell", "channels"), [(GRU, (2, 3, 4)), (LSTM, (2, 3, 4, 3, 4))])
def test_a_line_followed_strip_by_strip_is_the_whole_line(cell, channels):
    model = reader(cell, channels, both_ways=False)
    images = jax.random.normal(jax.random.key(3), (2, 12, 20, 1))
    begin, step, read = (jax.jit(f) for f in (LineReader.initial_state, LineReader.step, LineReader.__call__))
    state, said = begin(model, images[:, :, :4]), []
    for left in range(0, 20, 4):
        state, scores = step(model, state, images[:, :, left : left + 4])
        said.append(scores)
    np.testing.assert_allclose(np.stack(said, axis=1), read(model, images), atol=1e-5)


@pytest.mark.usefixtures("standard_promotion")
def test_strips_of_half_precision_are_followed_in_a_loop():
    model = reader(GRU, both_ways=False)
    strips = jax.random.normal(jax.random.key(2), (3, 2, 12, 4, 1), jnp.bfloat16)
    _, scores = jax.jit(lambda strips: jax.lax.scan(model.step, model.initial_state(strips[0]), strips))(strips)
    whole = jnp.concatenate(list(strips.astype(jnp.float32)), axis=2)
    np.testing.assert_allclose(jnp.swapaxes(scores, 0, 1), model(whole), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [(2, 3, 4), (2, 3, 4, 3), (2, 3, 4, 3, 4)])
def test_a_reader_is_its_convolutions_and_layers_in_numpy(channels):
    model = reader(None, channels)
    image = np.random.default_rng(0).normal(size=(12, 8))
    x = image[:, :, None]
    strides = (*((2, 2), (2, 2), (2, 1), (1, 1))[: len(channels) - 1], (1, 1))
    for convolution, norm, (down, right) in zip(model.convolutions, (None, *model.norms), strides, strict=True):
        kernel, bias = (np.asarray(a[...], np.float64) for a in (convolution.kernel, convolution.bias))
        last = convolution is model.convolutions[-1]  # over all rows that are left
        high, around = (len(x), 0) if last else (3, 1)
        padded = np.pad(x, ((around, around), (3 - right, 0), (0, 0)))
        rows, columns = 1 if last else -(-x.shape[0] // down), -(-x.shape[1] // right)
        out = np.zeros((rows, columns, len(bias)))
        for r, c in np.ndindex(rows, columns):
            window = padded[down * r : down * r + high, right * c : right * c + 3]
            out[r, c] = np.einsum("ijk,ijko->o", window, kernel) + bias
        if norm:
            spread = np.sqrt(out.var(axis=-1, keepdims=True) + 1e-2)
            normal = (out - out.mean(axis=-1, keepdims=True)) / spread
            out = normal * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
        x = np.maximum(out, 0)
    between, head = model.layer, model.head
    hidden = np.maximum(x[0] @ np.asarray(between.kernel[...]) + np.asarray(between.bias[...]), 0)
    expected = hidden @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...])
    np.testing.assert_allclose(model(jnp.asarray(image, jnp.float32)[None, :, :, None])[0], expected, atol=1e-4)


def test_dropout_is_for_training():
    model = reader(GRU, dropout=0.5)
    images = jax.random.normal(jax.random.key(3), (1, 12, 8, 1))
    quiet, one, two = model(images), *(model(images, key=jax.random.key(k)) for k in (0, 1))
    assert np.abs(np.asarray(one - two)).max() > 1e-3
    np.testing.assert_array_equal(quiet, model(images))


WIDE = np.zeros((2, 12, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("images", "widths", "message"),
    [
        (WIDE[..., 0], None, r"takes floating-point images \[b, 12, w, 1\]"),
        (WIDE[:, :11], None, r"not float32 of shape \[2, 11, 8, 1\]"),
        (WIDE[:, :, :0], None, r"b and columns at least 1, not float32 of shape \[2, 12, 0, 1\]"),
        (WIDE.astype(np.uint8), None, "not uint8"),
        (WIDE, [8, 0], "1 to 8 columns wide; the widths run from 0 to 8. Leave out empty lines"),
        (WIDE, [9, 8], "the widths run from 8 to 9"),
        (WIDE, [8], r"one integer for each of 2 lines, not int32 of shape \[1\]"),
        (WIDE, [8.0, 7.0], "one integer for each of 2 lines, not float"),
    ],
)
def test_lines_that_cannot_be_read(images, widths, message):
    widths = None if widths is None else np.array(widths)
    with pytest.raises(ValueError, match=message):
        reader(GRU)(images, widths)


def test_strips_that_cannot_be_followed():
    strip = jnp.zeros((1, 12, 4, 1))
    with pytest.raises(ValueError, match="a cell that reads from the left: make it with a cell and both_ways=False"):
        reader(GRU).initial_state(strip)
    with pytest.raises(ValueError, match=r"images \[b, 12, 4, 1\]"):
        reader(GRU, both_ways=False).initial_state(strip[:, :, :3])
    with pytest.raises(ValueError, match="at least one row, class, unit and channel of each of 3 or more convolutions"):
        LineReader(12, 0, 5, cell=GRU, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="dropout is a probability"):
        reader(GRU, dropout=1.0)


# Decoders, against all paths.


def collapsed(path, blank):
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def all_strings(logits):
    """Log-probability of every string of `[t, scores]`, by its paths one by one, in float64."""
    logits = np.asarray(logits, np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    steps, scores = logits.shape
    strings = {}
    for path in itertools.product(range(scores), repeat=steps):
        string = collapsed(path, scores - 1)
        strings[string] = np.logaddexp(strings.get(string, -np.inf), sum(log_probs[range(steps), path]))
    return strings


SHORT = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
LENGTHS = np.array([5, 5, 4, 3, 2, 1])


def test_the_best_path_is_that_of_all_paths():
    logits, lengths = 2 * SHORT, LENGTHS
    read = jax.tree.map(np.asarray, ctc.best_path(logits, lengths))
    for number, steps in enumerate(lengths):
        scores = logits[number, :steps].astype(np.float64)
        log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        paths = list(itertools.product(range(3), repeat=steps))
        values = [sum(log_probs[range(steps), path]) for path in paths]
        string = collapsed(paths[int(np.argmax(values))], 2)
        assert tuple(read.labels[number, : read.lengths[number]]) == string
        assert (read.labels[number, read.lengths[number] :] == -1).all()
        np.testing.assert_allclose(read.log_probability[number], max(values), rtol=1e-5)


def test_a_wide_beam_finds_the_best_of_all_strings():
    read = jax.tree.map(np.asarray, ctc.beam_search(SHORT, LENGTHS, beam=70))
    differ = 0
    for number, steps in enumerate(LENGTHS):
        strings = all_strings(SHORT[number, :steps])
        best = max(strings, key=lambda string: strings[string])
        assert tuple(read.labels[number, : read.lengths[number]]) == best
        assert (read.labels[number, read.lengths[number] :] == -1).all()
        np.testing.assert_allclose(read.log_probability[number], strings[best], rtol=1e-5)
        differ += collapsed(SHORT[number, :steps].argmax(axis=1), 2) != best
    assert differ  # Where the best path led to the best string everywhere, this has shown nothing.


def test_a_beam_needs_a_blank_between_labels_that_repeat():
    # Step by step 0, blank, 0 is nearly certain: "00"; without the blank the zeros are one.
    sure = 8 * np.eye(2, dtype=np.float32)
    read = ctc.beam_search(jnp.asarray(np.stack([sure[[0, 1, 0]], sure[[0, 0, 0]]])), beam=2)
    np.testing.assert_array_equal(read.labels, [[0, 0, -1], [0, -1, -1]])
    np.testing.assert_array_equal(read.lengths, [2, 1])


def searched_with_a_dictionary(probabilities, beam):
    """The algorithm of Hannun et al. (2014): probabilities of prefixes that end in a blank and that do not."""
    blank = probabilities.shape[1] - 1
    prefixes = {(): (1.0, 0.0)}
    for of_step in probabilities:
        then: dict = {}

        def add(prefix, ends_blank, ends_label, then=then):
            before = then.get(prefix, (0.0, 0.0))
            then[prefix] = (before[0] + ends_blank, before[1] + ends_label)

        for prefix, (ends_blank, ends_label) in prefixes.items():
            add(prefix, (ends_blank + ends_label) * of_step[blank], 0.0)
            for label in range(blank):
                if prefix and prefix[-1] == label:
                    add(prefix, 0.0, ends_label * of_step[label])
                    add((*prefix, label), 0.0, ends_blank * of_step[label])
                else:
                    add((*prefix, label), 0.0, (ends_blank + ends_label) * of_step[label])
        prefixes = dict(sorted(then.items(), key=lambda item: -sum(item[1]))[:beam])
    best = max(prefixes, key=lambda prefix: sum(prefixes[prefix]))
    return list(best), sum(prefixes[best])


@pytest.mark.parametrize("beam", [2, 5])
def test_a_narrow_beam_keeps_the_best_prefixes(beam):
    logits = 2 * np.random.default_rng(8).normal(size=(12, 9, 4))
    read = jax.tree.map(np.asarray, ctc.beam_search(jnp.asarray(logits, jnp.float32), beam=beam))
    for n, scores in enumerate(logits):
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        best, probability = searched_with_a_dictionary(probabilities, beam)
        assert read.labels[n, : read.lengths[n]].tolist() == best
        assert read.log_probability[n] == pytest.approx(np.log(probability), abs=1e-4)


def test_a_narrow_beam_is_sure_of_less():
    wide, narrow = (ctc.beam_search(SHORT, beam=beam).log_probability for beam in (70, 2))
    assert (np.asarray(narrow) <= np.asarray(wide) + 1e-5).all()
    assert (np.asarray(narrow) < np.asarray(wide) - 1e-3).any()


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


@pytest.mark.parametrize("decode", [ctc.best_path, ctc.beam_search])
@pytest.mark.parametrize(
    ("logits", "lengths", "message"),
    [
        (SHORT[0], None, r"have the shape \[b, t, classes \+ 1\]"),
        (SHORT[:, :0], None, "at least one step"),
        (SHORT[..., :1], None, "one class beside the blank"),
        (SHORT, [5, 5, 4, 3, 2, 0], "lengths from 1 to 5; these run from 0 to 5. Leave out empty lines"),
        (SHORT, [6, 5, 4, 3, 2, 1], "these run from 1 to 6"),
        (SHORT, [5], "one length for each of 6 lines"),
    ],
)
def test_what_cannot_be_decoded(decode, logits, lengths, message):
    with pytest.raises(ValueError, match=message):
        decode(logits, None if lengths is None else np.array(lengths))


def test_a_beam_of_nothing():
    with pytest.raises(ValueError, match="keeps at least 1 prefix, not 0"):
        ctc.beam_search(SHORT, beam=0)


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


@pytest.mark.parametrize(("digits", "fits"), [([1, 2, 3, 4], True), ([1, 1, 2], True), ([1, 1, 1], False)])
def test_the_loss_of_a_line_that_cannot_be_read_is_infinite(digits, fits):
    """A line of 16 columns has four steps: one for each digit, and one between two equal ones."""
    labels = jnp.array([[*digits, *[-1] * (6 - len(digits))]], jnp.int32)
    line = Lines(jnp.ones((1, 16, 16, 1)), jnp.array([16]), labels, jnp.array([len(digits)]))
    model = LineReader(16, 5, 6, cell=GRU, channels=(2, 2, 2), rngs=nnx.Rngs(0))
    assert bool(jnp.isfinite(ctc_loss(model, line, jax.random.key(0)))) == fits


def test_digits_of_training_lines_are_changed_each_in_its_own_way():
    images = jax.random.uniform(jax.random.key(5), (3, 28, 28, 1))
    images = jnp.concatenate([images, images[:2]])  # an odd number, two of them twice
    as_they_are = augment_each(images, jax.random.key(6), Augmentation())
    np.testing.assert_array_equal(as_they_are, images)
    turned = augment_each(images, jax.random.key(6), Augmentation(rotation=10.0))
    assert np.abs(np.asarray(turned - images)).max(axis=(1, 2, 3)).min() > 0.1
    assert np.abs(np.asarray(turned[3:] - turned[:2])).max(axis=(1, 2, 3)).min() > 0.1


def test_training_lines_are_of_changed_digits():
    batch = Split(BARS, np.arange(6, dtype=np.int32))
    upright, turned = (
        training_lines(batch, jax.random.key(7), digits=3, lines=2, augmentation=change)
        for change in (Augmentation(), Augmentation(rotation=10.0))
    )
    for before, after in zip(upright, turned, strict=True):
        np.testing.assert_array_equal(before.labels, after.labels)
        assert np.abs(before.images - after.images).max() > 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--models", "gro"], "There is no 'gro' for --models. Did you mean 'gru'. There are lstm, gru, forward, cnn"),
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
    what = ("--models", "forward", "--params", "3100", "--dataset", "shapes7")
    with pytest.raises(InputError, match="images of one channel"):
        run(tmp_path, *what, "--data-dir", str(tmp_path / "tfds"))
    assert not (tmp_path / "run").exists()
