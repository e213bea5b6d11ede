"""Loss, score and examination against NumPy, on a model whose answers are the pixels themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.experiment.classification import classification_task
from rowrnn.lab.tasks.classification.measures import best_threshold, calibration, calibration_error
from rowrnn.lab.tasks.classification.read_along import read_along
from rowrnn.lab.tasks.classification.row_influence import row_influence
from rowrnn.lab.tasks.classification.task import correct, correct_by_row, cross_entropy, examine, predict
from rowrnn.models import Classifier
from rowrnn.saving import Preprocessing
from tests.helpers.cases import thinned


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return Split(
        jnp.asarray(rng.integers(0, 256, (9, 4, 3, 1)), jnp.uint8), jnp.asarray(rng.integers(0, 3, 9), jnp.int32)
    )


def column_sums(images, *, key=None):
    """Logits of three classes: the sums of the three columns."""
    return images.sum(axis=(1, 3))


def logits_of(batch, rows=4):
    return np.asarray(batch.images, np.float64)[:, :rows].sum(axis=(1, 3)) / 255


def test_cross_entropy_is_the_mean_negative_log_probability(batch):
    loss, metrics = cross_entropy(column_sums, batch, jax.random.key(0), augmentation=Augmentation())
    logits, labels = logits_of(batch), np.asarray(batch.labels)
    log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(loss, -log_probability[np.arange(9), labels].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(axis=1) == labels).mean(), rtol=1e-6)


def test_training_images_are_augmented_and_others_are_not(batch):
    moved, _ = cross_entropy(column_sums, batch, jax.random.key(0), augmentation=Augmentation(shift=2.0))
    still, _ = cross_entropy(column_sums, batch, jax.random.key(0), augmentation=Augmentation())
    assert abs(moved - still) > 1e-3
    np.testing.assert_allclose(predict(column_sums, batch), logits_of(batch), rtol=1e-5)


def test_correct_marks_each_example(batch):
    expected = logits_of(batch).argmax(axis=1) == np.asarray(batch.labels)
    assert 0 < expected.sum() < 9
    np.testing.assert_array_equal(correct(column_sums, batch), expected)


def test_a_model_that_reads_no_rows_is_shown_the_upper_ones(batch):
    found = correct_by_row(column_sums, batch)
    for row in range(4):
        expected = logits_of(batch, rows=row + 1).argmax(axis=1) == np.asarray(batch.labels)
        np.testing.assert_array_equal(found[:, row], expected)


def test_examination_counts_confusions_and_finds_the_surest_mistakes(batch):
    labels = np.asarray(batch.labels)
    logits = np.random.default_rng(1).normal(size=(2, 9, 3)).astype(np.float32)
    found = examine(logits, batch)
    for seed in range(2):
        for label in range(3):
            for answer in range(3):
                expected = sum((labels == label) & (logits[seed].argmax(axis=1) == answer))
                assert found["confusion"][seed, label, answer] == expected
    wrong = [n for n in range(9) if logits[0, n].argmax() != labels[n]]
    probability = {n: float(np.exp(logits[0, n].max()) / np.exp(logits[0, n]).sum()) for n in wrong}
    order = sorted(wrong, key=lambda n: -probability[n])
    np.testing.assert_allclose(found["mistake_probability"], [probability[n] for n in order], rtol=1e-5)
    np.testing.assert_array_equal(found["mistake_label"], labels[order])
    np.testing.assert_array_equal(found["mistake_prediction"], logits[0, order].argmax(axis=1))
    np.testing.assert_array_equal(found["mistake_image"], np.asarray(batch.images)[order])


@pytest.mark.parametrize("kind", thinned(sorted(CELLS), 4))
def test_what_happens_in_a_cell_while_it_reads_has_a_value_for_every_row_and_unit(kind):
    model = Classifier(CELLS[kind](6, 4, rngs=nnx.Rngs(0)), 3, rngs=nnx.Rngs(1))
    image = jnp.asarray(np.random.default_rng(0).random((1, 5, 3, 2)), jnp.float32)
    seen = read_along(model, image)
    (state,) = [value for name, value in seen.items() if name.startswith("state/")]
    assert state.shape == (5, 4 if kind != "lru" else 8)
    gates = {name: value.shape for name, value in seen.items() if name.startswith("gate/")}
    assert gates == {f"gate/{name}": (5, 4) for name in model.rows.cell.gate_names}
    np.testing.assert_allclose(seen["probability"][-1], jax.nn.softmax(model(image)[0]), rtol=1e-5)


def test_pixels_from_outside_are_the_background_as_the_model_sees_it():
    # Pictures on white, of which nothing but the background is left: whatever moves, they stay the same.
    pictures = np.full((8, 6, 6, 1), 240, np.uint8)
    preprocessing = Preprocessing((6, 6), channels=1, mean=(0.7,), std=(0.2,), background=240)
    split = Split(pictures, np.zeros(8, np.int32))
    data = Dataset("white", ("a", "b"), split, split, split, "", None, preprocessing)
    seen = []

    def model(images, key=None):
        seen.append(images)
        return jnp.zeros((len(images), 2))

    for floats in (preprocessing.to_floats, as_float):
        task = classification_task(data, Augmentation(shift=3.0, rotation=20.0, zoom=0.3, shear=0.5), floats)
        task.loss(model, jax.tree.map(jnp.asarray, data.train), jax.random.key(0))
        np.testing.assert_allclose(seen[-1], np.asarray(floats(pictures)), atol=1e-5)


def test_calibration_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.15, 0.85], [0.55, 0.45], [0.42, 0.58], [1.0, 1e-9]])
    labels = np.array([0, 0, 0, 1, 0])
    found = calibration(labels, np.log(probabilities), bins=4)
    # Answers are 50 to 75 % sure twice, both right, and 75 to 100 % three times, two right.
    np.testing.assert_allclose(found[:2], 0)
    np.testing.assert_allclose(found[2], [(0.55 + 0.58) / 2, 1, 2 / 5])
    np.testing.assert_allclose(found[3], [(0.9 + 0.85 + 1) / 3, 2 / 3, 3 / 5])
    expected = 0.4 * (1 - 0.565) + 0.6 * (2.75 / 3 - 2 / 3)
    assert calibration_error(found) == pytest.approx(expected)


def test_the_threshold_that_tells_most_apart():
    labels, scores = np.array([0, 0, 1, 0, 1, 1]), np.array([-2.0, -1.0, 0.0, 1.0, 3.0, 4.0])
    # Between -1 and 0 and between 1 and 3 one is wrong: of the two best ones the upper.
    assert best_threshold(labels, scores) == 2.0
    assert best_threshold(np.array([1, 1]), np.array([0.5, 0.7])) == -0.5
    assert best_threshold(np.array([0, 0]), np.array([0.5, 0.7])) == 1.7


def test_a_row_matters_by_what_is_lost_without_it(batch):
    mean = np.full((4, 3, 1), 0.25, np.float32)
    found = row_influence(column_sums, batch, floats=as_float, mean=mean)
    images, labels = np.asarray(batch.images, np.float64)[..., 0] / 255, np.asarray(batch.labels)

    def of_label(images):
        logits = images.sum(axis=1)
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(9), labels]

    for row in range(4):
        hidden = images.copy()
        hidden[:, row] = 0.25
        np.testing.assert_allclose(found[:, row], of_label(images) - of_label(hidden), rtol=1e-4, atol=1e-6)
