"""Detectors: what is said step by step is what is said in one pass, suppression and boxes against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import CELLS, save
from rowrnn.lab.runs.kept_models import export_kept
from rowrnn.models.boxes import beside, boxes_at, nearness, overlaps
from rowrnn.models.dense_detector import DenseDetector
from rowrnn.models.sequential_detector import SequentialDetector
from rowrnn.saving import Card, Preprocessing
from tests.helpers.cases import thinned

IMAGES = np.random.default_rng(0).normal(size=(2, 40, 50, 3)).astype(np.float32)
MOST = 6


def make(kind, **given):
    return kind(3, 8, 4, **{"most": MOST, "rngs": nnx.Rngs(0), **given})


def stirred(model):
    """The model with random biases: zeros would hide that one is left out."""
    leaves, structure = jax.tree.flatten(model)
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(
        structure, [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    )


@pytest.mark.parametrize("cell", thinned(["gru", "lstm"], 2))
def test_what_is_said_step_by_step_is_what_is_said_when_told(cell):
    model = stirred(make(SequentialDetector, cell=CELLS[cell]))
    found, shares = jax.jit(lambda model, images: model.attention(images))(model, IMAGES)
    whole = jax.jit(lambda model, *given: model.logits(*given))
    said = whole(model, IMAGES, found.places, found.classes, found.boxes)
    np.testing.assert_allclose(said.boxes, found.boxes, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(said.classes.argmax(axis=-1), found.classes)
    logits = np.asarray(said.places, np.float64)
    for image in range(len(IMAGES)):
        going = 1.0
        for step in range(MOST):
            of_step = logits[image, step].copy()
            probable = np.exp(of_step - of_step.max())
            np.testing.assert_allclose(
                shares[image, step].ravel(), (probable / probable.sum())[:-1], rtol=1e-3, atol=1e-6
            )
            around = np.asarray(beside(found.places[image, step : step + 1], shares.shape[2:]))[0]
            end = of_step[-1]
            of_step[-1] = -np.inf
            of_step[np.asarray(found.places[image, :step])] = -np.inf
            odds = np.log(np.exp(of_step[:-1][around]).sum()) - end
            going = min(going, 1 / (1 + np.exp(end) / np.exp(of_step).sum()))
            kinds = np.asarray(said.classes[image, step], np.float64)
            sure = np.exp(kinds - kinds.max())
            expected = sure.max() / sure.sum() * min(going, 1 / (1 + np.exp(-odds)))
            np.testing.assert_allclose(found.scores[image, step], expected, rtol=1e-4)
            assert of_step.argmax() == found.places[image, step]


def test_what_was_said_is_written_where_it_is():
    model = stirred(make(SequentialDetector))
    places, classes = jnp.array([[7, 20]] * 2), jnp.array([[1, 3]] * 2)
    boxes = jnp.array([[[4.0, 4, 20, 20], [30, 10, 40, 38]]] * 2)
    said = model.logits(IMAGES, places, classes, boxes)
    features, grid = model.map(IMAGES)
    # The state after each object, by steps of the cell.
    state, inputs = model._state(features), jnp.zeros((2, model.cell.features))
    written = np.zeros(features.shape[:2])
    for step in range(3):
        state, output = model.cell(state, inputs)
        if step:
            near = np.asarray(nearness(boxes[:, step - 1 : step], grid))[:, 0]
            written += near * np.einsum("br,bpr->bp", model.mark(output), model.reader(features))
        asked = np.einsum("bk,bpk->bp", model.question(output), model.key(features)) / np.sqrt(8)
        np.testing.assert_allclose(said.places[:, step, :-1], asked + written, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(said.places[:, step, -1:], model.end(output), rtol=1e-4, atol=1e-5)
        if step < 2:
            here = features[jnp.arange(2), places[:, step]]
            word = model.word(jnp.asarray(classes[:, step]))
            inputs = jnp.concatenate([here, word, boxes[:, step] / 320], axis=-1)


@pytest.mark.parametrize("kind", [SequentialDetector, DenseDetector])
def test_every_weight_matters(kind):
    model = make(kind, dropout=0.2)
    told = (jnp.array([[7, 20]] * 2), jnp.array([[1, 3]] * 2), jnp.array([[[4.0, 4, 20, 20], [30, 10, 40, 38]]] * 2))

    def total(model):
        said = model.logits(IMAGES, *(told if kind is SequentialDetector else ()), key=jax.random.key(0))
        return sum((jnp.sin(part) * part).sum() for part in said)

    for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(total))(model)):
        assert np.abs(np.asarray(leaf)).max() > 0, path


def test_boxes_lie_about_their_places():
    edges = np.array([[[0.5, -0.5, 0, 0], [0, 0, np.log(2), np.log(0.5)]]], np.float32)
    found = boxes_at(jnp.asarray(edges), jnp.array([[3, 5]]), (2, 4))
    # Place 3 has its middle at (28, 4), place 5 at (12, 12); the usual size is 32.
    np.testing.assert_allclose(found[0], [[16, -16, 48, 16], [-20, 4, 44, 20]], atol=1e-4)


def test_nearness_by_hand():
    found = np.asarray(nearness(jnp.array([[[4.0, 0.0, 20.0, 8.0]]]), (2, 3)))[0, 0]
    # The middle of the box is (12, 4), that of place 1; half a width to the right is (20, 4), that of place 2.
    np.testing.assert_allclose(found[:3], [np.exp(-2), 1, np.exp(-2)], rtol=1e-5)
    np.testing.assert_allclose(found[4], np.exp(-8), rtol=1e-5)


def test_overlaps_by_hand():
    these = np.array([[0, 0, 4, 4], [0, 0, 0, 0]], np.float32)
    those = np.array([[2, 2, 6, 4], [4, 0, 8, 4], [0, 0, 4, 4], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(
        overlaps(jnp.asarray(these), jnp.asarray(those)), [[4 / 20, 0, 1, 0], [0, 0, 0, 0]], atol=1e-6
    )


def test_the_most_probable_of_overlapping_boxes_remains():
    model = stirred(make(DenseDetector, most=12))
    found = jax.jit(lambda model, images: model.find(images))(model, IMAGES)
    logits, boxes = model.logits(IMAGES)
    scores = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    grid = (6, 8)
    for image in range(2):
        maps, shared = scores[image].reshape(*grid, -1), np.asarray(overlaps(boxes[image], boxes[image]))
        left = []
        for row, column, kind in np.ndindex(maps.shape):
            around = maps[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2, kind]
            if maps[row, column, kind] == around.max():
                left.append((maps[row, column, kind], row * grid[1] + column, kind))
        kept = []
        for score, place, kind in sorted(left, reverse=True):
            others = [other for _, other, of_class in kept if of_class == kind]
            if not (shared[place, others] > 0.5).any():
                kept.append((score, place, kind))
        said = zip(found.scores[image], found.places[image], found.classes[image], strict=True)
        for (score, place, kind), (said_score, said_place, said_kind) in zip(kept[:12], said, strict=True):
            assert (said_place, said_kind) == (place, kind)
            np.testing.assert_allclose(said_score, score, rtol=1e-5)


@pytest.mark.parametrize("kind", [SequentialDetector, DenseDetector])
def test_what_does_not_fit(kind):
    for images in (IMAGES[..., :1], IMAGES[0], np.zeros((1, 16, 16, 3), np.uint8), IMAGES[:, :0]):
        with pytest.raises(ValueError, match=r"floating-point images \[b, h, w, 3\], not"):
            make(kind)(images)
    with pytest.raises(ValueError, match="at least one class and one box, not 4 and 0"):
        make(kind, most=0)
    with pytest.raises(ValueError, match="dropout is a probability"):
        make(kind, dropout=1.0)


@pytest.mark.parametrize("kind", thinned([SequentialDetector, DenseDetector], 2))
def test_a_program_finds_the_same(kind, tmp_path):
    model = stirred(make(kind))
    card = Card(
        task="boxes",
        preprocessing=Preprocessing((40, 50), fit="pad", channels=3),
        inputs=("float32[b,40,50,3]",),
        classes=tuple("abcd"),
    )
    save(model, tmp_path / "model.safetensors", card)
    exported, _ = export_kept(tmp_path / "model.safetensors", None, tmp_path / "program", 0)
    raw = np.random.default_rng(2).integers(0, 256, (3, 80, 120, 3)).astype(np.uint8)
    boxes, classes, scores = exported.call(raw)
    expected = jax.jit(lambda model, images: model(images))(model, card.needed_preprocessing()(raw))
    np.testing.assert_array_equal(classes, expected[1])
    np.testing.assert_allclose(scores, expected[2], atol=1e-5)
    # The picture of 120x80 became 50x33, in the middle of 40 rows.
    middle = np.array([0, 3, 0, 3])
    np.testing.assert_allclose(
        boxes, (np.asarray(expected[0]) - middle) * np.array([2.4, 80 / 33] * 2), rtol=1e-4, atol=1e-2
    )
