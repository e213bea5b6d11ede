"""The models that come with rowrnn: their cards, their size, and what they answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rowrnn
from rowrnn import program
from rowrnn.lab.data.load import load as load_data
from rowrnn.lab.predict.command import tell
from rowrnn.lab.predict.images import probabilities
from rowrnn.lab.runs.kept_models import export_kept
from rowrnn.saving import bundled
from rowrnn.saving.model_file import BUNDLED
from tests.helpers.cases import thinned
from tests.helpers.drawings import drawings

MOST_BYTES = 6 * 2**20
NAMES = list(bundled())
DIGITS = ("mnist_row_gru", "mnist_row_lstm")


def test_all_of_them_are_small():
    files = list(BUNDLED.iterdir())
    assert {file.suffix for file in files} == {".safetensors"}
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


def test_the_digits_are_among_them():
    assert set(DIGITS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_where_a_model_is_from_and_what_it_is_for(name):
    model, card = rowrnn.load(name)
    assert card.task in ("images", "lines", "clips", "captions")
    assert card.preprocessing is not None
    assert card.licence
    assert card.intended_use
    assert card.scores
    assert card.parameters == sum(leaf.size for leaf in jax.tree.leaves(model))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_saved_again_is_the_same_bit_by_bit(name, tmp_path):
    model, card = rowrnn.load(name)
    rowrnn.save(model, tmp_path / "again.safetensors", card)
    again, card_again = rowrnn.load(tmp_path / "again.safetensors")
    assert card_again == card
    jax.tree.map(np.testing.assert_array_equal, again, model)


@pytest.mark.parametrize("name", DIGITS)
def test_drawn_digits_are_read(name, tmp_path):
    for number, (_, picture) in enumerate(drawings()):
        picture.save(tmp_path / f"{number:02}.png")
    answers = tell(name, [str(tmp_path)])
    right = [answer.answer == str(digit) for answer, (digit, _) in zip(answers, drawings(), strict=True)]
    assert len(right) == 20
    assert sum(right) >= 18


@pytest.mark.parametrize("name", DIGITS)
def test_answers_to_the_test_set_have_the_score_of_the_card(name):
    model, card = rowrnn.load(name)
    test = load_data("mnist").test
    images = np.asarray(test.images)
    answers = probabilities(model, card, list(images)).argmax(axis=1)
    assert (answers == np.asarray(test.labels)).mean() == pytest.approx(card.scores["test_accuracy"], abs=1e-9)


@pytest.mark.parametrize("name", thinned([name for name in NAMES if bundled()[name].task == "images"], 3))
def test_the_program_of_a_model_takes_raw_pictures_of_another_size(name, tmp_path):
    model, card = rowrnn.load(name)
    preprocessing = card.needed_preprocessing()
    raw = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 41, 33, preprocessing.channels), np.uint8))
    export_kept(name, None, tmp_path / "model.jax")
    found = program.load(tmp_path / "model.jax")(raw)
    np.testing.assert_allclose(found, model(preprocessing(raw)), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if bundled()[name].task == "clips"])
def test_the_program_of_a_model_takes_raw_clips_of_any_length(name, tmp_path):
    model, card = rowrnn.load(name)
    preprocessing = card.needed_preprocessing()
    raw = np.random.default_rng(0).integers(0, 256, (2, 7, 41, 33, preprocessing.channels), np.uint8)
    export_kept(name, None, tmp_path / "model.jax")
    found = program.load(tmp_path / "model.jax")(jnp.asarray(raw))
    frames = preprocessing(raw.reshape(14, 41, 33, -1))
    np.testing.assert_allclose(found, jax.jit(model)(frames.reshape(2, 7, *frames.shape[1:])), atol=1e-5)
