"""Scenes against a reader of positions, measures against their formulas; the script, tiny."""

import itertools
import json
import math
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from flax import nnx

from experiments import captions as script
from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.lab.data import Split, as_float
from rowrnn.lab.data.load import load
from rowrnn.lab.tasks.captions import examples as made
from rowrnn.lab.tasks.captions import language as words_of
from rowrnn.lab.tasks.captions import measures as metrics
from rowrnn.lab.tasks.captions import task
from rowrnn.models import Captioner

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


# A reader of scenes, who knows where boxes lie and nothing of how they came there.


def read(boxes):
    """The caption of boxes `(digit, size, top, left, side)`, in float64; None where a reader would hesitate."""
    boxes = sorted(boxes, key=lambda box: box[2] + box[4] / 2)
    middles = [(top + side / 2, left + side / 2) for _, _, top, left, side in boxes]
    name = [f"a {'large' if size else 'small'} {NAMES[digit]}" for digit, size, *_ in boxes]
    if len(boxes) == 1:
        return name[0]
    if len(boxes) == 2:
        (y1, x1), (y2, x2) = middles
        down, across = abs(y2 - y1), abs(x2 - x1)
        if max(down, across) < 2 * min(down, across):
            return None
        relation = ("above", "below") if down > across else ("left of", "right of")
        first, second = (0, 1) if (down > across or x1 < x2) else (1, 0)
        if boxes[second][1] > boxes[first][1]:
            return f"{name[second]} {relation[1]} {name[first]}"
        return f"{name[first]} {relation[0]} {name[second]}"
    # Two rows: whoever is above ends before anyone below begins.
    splits = [
        n for n in range(1, len(boxes)) if max(box[2] + box[4] for box in boxes[:n]) < min(box[2] for box in boxes[n:])
    ]
    if len(splits) != 1 or max(splits[0], len(boxes) - splits[0]) > 2:
        return None
    rows = []
    for row in (range(splits[0]), range(splits[0], len(boxes))):
        across = sorted(row, key=lambda n: middles[n][1])
        rows.append(" left of ".join(name[n] for n in across))
    count = {3: "three", 4: "four"}[len(boxes)]
    return f"{count} digits : {rows[0]} , below {'them' if splits[0] == 2 else 'it'} {rows[1]}"


def combinations(text):
    """Every `(digit, relation, digit)` that a caption says, the first left of or above the second."""
    rows = [
        [NAMES.index(word) for word in part.split(":")[-1].split() if word in NAMES] for part in text.split(" , below")
    ]
    if " right of " in text or " below a" in text:
        rows = [rows[0][::-1]]
    if " above " in text or " below a" in text:
        rows = [rows[0][:1], rows[0][1:]]
    found = {(first, "left of", second) for row in rows for first, second in itertools.pairwise(row)}
    return found | {(a, "above", b) for a in rows[0] for b in (rows[1] if len(rows) > 1 else ())}


HELD_OUT = {(n, "left of", (n + 3) % 10) for n in range(10)} | {(n, "above", (n + 7) % 10) for n in range(10)}


@pytest.fixture(scope="module")
def digits():
    return load("mnist").validation.first(300)


@pytest.fixture(scope="module")
def planned(digits):
    planned = jax.jit(made.plan)(jax.random.key(0), jnp.tile(digits.labels, 5))
    return planned, words_of.decode(np.asarray(made.caption(planned)))


def boxes_of(planned, number):
    places = np.flatnonzero(made.PLACES[int(planned.arrangement[number])])
    digits, sizes = planned.digits[number, places].tolist(), planned.sizes[number, places].tolist()
    corners = zip(planned.top[number, places].tolist(), planned.left[number, places].tolist(), strict=True)
    return [
        (digit, size, top, left, 24.0 if size else 16.0)
        for digit, size, (top, left) in zip(digits, sizes, corners, strict=True)
    ]


def test_a_reader_of_positions_says_the_same(planned):
    planned, texts = planned
    planned = jax.tree.map(np.asarray, planned)
    for number, text in enumerate(texts):
        boxes = boxes_of(planned, number)
        assert read(boxes) == text
        for _, _, top, left, side in boxes:
            assert min(top, left) >= 0
            assert max(top, left) + side <= made.CANVAS + 1e-4
        for (_, _, top, left, side), (_, _, other_top, other_left, other) in itertools.combinations(boxes, 2):
            apart = max(other_top - top - side, top - other_top - other, other_left - left - side)
            assert max(apart, left - other_left - other) >= made.GAP - 1e-4


def test_combinations_that_are_held_out_are_in_the_unseen_part_only(planned, digits):
    _, texts = planned
    seen = set().union(*map(combinations, texts))
    assert not seen & HELD_OUT
    assert len(seen) > 150  # of 180
    assert {a for a, *_ in seen} == {c for *_, c in seen} == set(range(10))
    for word in words_of.WORDS[len(words_of.SPECIAL_TOKENS) :]:
        assert any(word in text.split() for text in texts), word
    unseen = made.fixed_scenes(jax.random.key(1), digits, 700, unseen=True)
    found = [combinations(text) & HELD_OUT for text in words_of.decode(np.asarray(unseen.captions))]
    assert len(found) == 700
    assert all(found)
    assert set().union(*found) == HELD_OUT


def test_images_show_each_digit_in_its_box(planned, digits):
    planned, _ = planned
    planned = jax.tree.map(lambda a: a[:6], planned)
    images = np.asarray(made.render(planned, jnp.tile(digits.images, (5, 1, 1, 1))))[..., 0]
    assert 0.8 < images.max() <= 1 + 1e-5
    of_digits = np.asarray(digits.images)[..., 0] / 255.0
    planned = jax.tree.map(np.asarray, planned)
    for number, image in enumerate(images):
        expected = np.zeros_like(image, np.float64)
        for place, (_, _, top, left, side) in zip(
            np.flatnonzero(made.PLACES[planned.arrangement[number]]), boxes_of(planned, number), strict=True
        ):
            source = of_digits[planned.source[number, place] % 300]
            scale = 24 / side
            for y, x in itertools.product(range(56), range(56)):  # Each pixel by itself: a mean under two triangles.
                down, across = (
                    triangle((at + 0.5 - start) * scale + 1.5, scale) for at, start in ((y, top), (x, left))
                )
                for (i, a), (j, b) in itertools.product(down, across):
                    if 2 <= i < 26 and 2 <= j < 26:
                        expected[y, x] += a * b * source[i, j]
        np.testing.assert_allclose(image, expected, atol=1e-4)


def triangle(middle, width):
    """Pixels less than a width from the middle, and what each weighs."""
    near = range(math.floor(middle - width) + 1, math.ceil(middle + width))
    weights = [1 - abs(middle - pixel) / width for pixel in near]
    return [(pixel, weight / sum(weights)) for pixel, weight in zip(near, weights, strict=True)]


def test_text_and_back():
    texts = ["a small three left of a large seven", "four digits : a small one , below it a large two"]
    captions = words_of.encode(texts)
    assert captions.shape == (2, words_of.LONGEST)
    assert captions[0, 8] == words_of.END
    assert (captions[0, 9:] == words_of.PAD).all()
    assert words_of.decode(captions) == texts
    longest = "four digits : " + "a small one left of a large two , below them a small one left of a large two"
    assert len(longest.split()) == words_of.LONGEST - 1
    assert words_of.decode(words_of.encode([longest])) == [longest]


# Measures.


def test_bleu_is_its_formula():
    said = ["a small one left of a large two", "a large nine above a small two", "a small six"]
    true = ["a small one right of a large two", "a large nine above a large two", "a small six below a small five"]

    def grams(text, n):
        words = text.split()
        return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))

    precision = []
    for n in range(1, 5):
        pairs = [(grams(ours, n), grams(right, n)) for ours, right in zip(said, true, strict=True)]
        met = sum(min(count, right[gram]) for ours, right in pairs for gram, count in ours.items())
        precision.append(met / sum(ours.total() for ours, _ in pairs))
    ours, right = (sum(len(text.split()) for text in texts) for texts in (said, true))
    assert ours < right
    expected = math.exp(1 - right / ours) * math.prod(precision) ** 0.25
    assert metrics.bleu4(said, true) == pytest.approx(expected, rel=1e-9)
    assert metrics.bleu4(true, true) == pytest.approx(1)


def test_each_thing_that_a_caption_says_is_judged_by_itself():
    true = ["a small one left of a large two", "three digits : a small one , below it a large two left of a small two"]
    said = ["a small two right of a large two", "a small one below a small two"]
    # Digits right: 1 of 2 and 2 of 3; sizes 2 and 1; relations 0 of 1 and 0 of 2; numbers of digits 1 of 2.
    expected = {"count": 1 / 2, "digit": 3 / 5, "size": 3 / 5, "relation": 0.0}
    assert metrics.slots(said, true) == pytest.approx(expected)
    assert metrics.slots(true, true) == pytest.approx(dict.fromkeys(expected, 1.0))
    assert metrics.slots([""] * 2, true) == pytest.approx(dict.fromkeys(expected, 0.0))
    captions = words_of.encode([*true, *said]).reshape(2, 2, -1)
    assert metrics.exact_match(captions, captions[0]).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: words_of.encode(["a small cat"]), InputError, "'cat' in 'a small cat' is no word here; the words are"),
        (lambda: words_of.encode(["<end>"]), InputError, "'<end>' in '<end>' is no word here"),
        (lambda: words_of.encode(["a " * 23]), InputError, "has 23 words; at most 22 are expected"),
        (lambda: words_of.encode([]), InputError, "no caption to encode"),
        (lambda: metrics.bleu4([], []), ValueError, "at least one"),
        (lambda: metrics.slots(["a"], ["a", "a"]), ValueError, "there are 1 and 2"),
        (lambda: scenes_of((0, 28, 28, 1), 0), ValueError, "at least one"),
        (lambda: scenes_of((2, 28, 28, 1), 3), ValueError, "2 images and 3 labels"),
        (lambda: scenes_of((2, 28, 20, 1), 2), ValueError, r"square grey digits.*\[2, 28, 20, 1\]"),
        (
            lambda: made.scenes(jax.random.key(0), jnp.zeros((2, 28, 28, 1)), jnp.asarray([3, 10])),
            ValueError,
            "from 0 to 9; these run from 3 to 10",
        ),
        (lambda: no_such_scenes(), InputError, "2 digits make too few scenes"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def scenes_of(shape, labels):
    made.scenes(jax.random.key(0), jnp.zeros(shape), jnp.zeros(labels, jnp.int32))


def no_such_scenes():
    """Two zeros never differ as digits that are held out do."""
    split = Split(jnp.zeros((2, 28, 28, 1), jnp.uint8), jnp.zeros(2, jnp.int32))
    made.fixed_scenes(jax.random.key(0), split, 3, unseen=True)


# The script.


@pytest.mark.slow
def test_the_script(tmp_path):
    how = (
        "--cells",
        "gru",
        "--params",
        "5000",
        "--channels",
        "4",
        "--embedding",
        "4",
        "--beam",
        "2",
        "--no-blind",
    )
    size = ("--epochs", "1", "--batch", "16", "--train-images", "64", "--scenes", "16", "--seeds", "1")
    directory = tmp_path / "run"
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules mix integers and floats.
        lab.run_study(script.Captions, tyro.cli(script.Options, args=[*how, *size, "--output", str(directory)]))
    results = json.loads((directory / "results.json").read_text())
    assert results["finished"]
    assert [row["model"] for row in results["summary"]] == ["GRU"]
    for row in results["summary"]:
        assert abs(row["parameters"] - 5000) <= 150
        assert row["generation_share"] > 0
        for part in ("", "_unseen"):
            for name in ("exact_match", "exact_match_beam", "bleu4"):
                assert len(row[name + part]["values"]) == 1
            assert set(row[f"slots{part}"]) == {"count", "digit", "size", "relation"}
    assert {path.name for path in directory.glob("*.png")} == {
        *("learning_curves.png", "captions_seen.png", "captions_unseen.png", "attention_gru.png"),
    }
    with np.load(directory / "arrays.npz") as arrays:
        np.testing.assert_allclose(arrays["GRU/unseen/attention"].sum(axis=(2, 3)), 1, atol=1e-5)
        assert arrays["GRU/seen/said"].shape == arrays["scene/seen/caption"].shape == (12, words_of.LONGEST)


@pytest.mark.slow
def test_the_first_cell_is_trained_blind_too():
    study = script.Captions(script.Options(scenes=2), load("mnist"))
    *seeing, blind = study.contenders()
    assert [(each.name, each.title) for each in seeing] == [("lstm", "LSTM"), ("gru", "GRU")]
    assert (blind.name, blind.title) == ("blind_lstm", "blind LSTM")
    models = [jax.eval_shape(partial(each.build, 8), nnx.Rngs(0)) for each in (*seeing, blind)]
    assert [model.blind for model in models] == [False, False, True]


@pytest.mark.slow
def test_all_words_right_is_greedy_decoding_right(digits):
    """What selects weights is the exact match of greedy decoding, of a model that says some captions right."""
    small = script.Options(channels=8, embedding=8, scenes=2)
    model = script.Captions(small, load("mnist")).build("gru", False, 16, nnx.Rngs(0))
    batch = made.fixed_scenes(jax.random.key(0), digits, 8)
    ours = jax.jit(Captioner.__call__)(model, as_float(batch.images))
    batch = batch._replace(captions=ours.at[::2].set(batch.captions[::2]))
    right = jax.jit(task.exact)(model, batch)
    np.testing.assert_array_equal(right, metrics.exact_match(np.asarray(ours), np.asarray(batch.captions)))
    assert right.tolist() == [0, 1] * 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--cells", "LSTM"], "There is no 'LSTM' for --cells. Did you mean 'lstm'"),
        (["--cells"], "--cells is empty; expected some of elman"),
        (["--beam", "0"], "--beam is 0; expected at least 1"),
        (["--dropout", "1"], r"--dropout is 1.0; expected a dropout in \[0, 1\)"),
        (["--length-power", "-1"], "--length-power is -1.0; expected at least 0"),
    ],
)
def test_wrong_options(wrong, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        lab.run_study(script.Captions, tyro.cli(script.Options, args=wrong))
    assert list(tmp_path.iterdir()) == []
