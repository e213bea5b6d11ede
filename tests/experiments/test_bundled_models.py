"""The script that makes the bundled models, tiny: the seed that it keeps, and the card."""

import json
from importlib import import_module

import jax
import numpy as np
import pytest
from PIL import Image

import rowrnn
from experiments import bundled_models
from experiments.bundled_models import MODELS, Recipe, best_seed, main, scores_of
from rowrnn.errors import InputError
from rowrnn.lab.experiment.command_line import parse

ROW = {
    "model": "A",
    "validation_accuracy": {"mean": 0.8, "values": [0.7, 0.9, 0.8]},
    "test_accuracy": {"mean": 0.8, "values": [0.75, 0.85, 0.95]},
    "auc": {"mean": 0.8, "values": [0.1, 0.2, 0.3]},
    "parameters": 7,
}


def test_the_seed_is_chosen_by_validation_and_scored_on_the_test_set():
    assert best_seed(ROW) == 1
    assert scores_of(ROW, 1) == {"test_accuracy": 0.85, "auc": 0.2}


@pytest.mark.parametrize("name", MODELS)
def test_the_arguments_of_a_recipe_are_options_of_its_task(name):
    recipe = MODELS[name]
    module = import_module(f"rowrnn.lab.own.{recipe.task}")
    options, _ = parse(module.Options, module.PRESETS, recipe.arguments)
    assert options.training.seeds == int(recipe.arguments[recipe.arguments.index("--seeds") + 1])


def test_a_name_that_is_unknown(tmp_path):
    with pytest.raises(InputError, match=r"There is no 'mnist_row_gru2'.*Did you mean 'mnist_row_gru'"):
        main(("mnist_row_gru2",), output=tmp_path)


@pytest.mark.slow
def test_a_model_is_trained_once_and_kept_with_its_card(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "mine" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shade = 40 + 150 * (number % 2)
        Image.fromarray(rng.integers(shade, shade + 30, (8, 8), np.uint8)).save(folder / f"{number}.png")
    tiny = Recipe("images", ("--params", "3000", "--epochs", "2", "--seeds", "2"), "two shades", "CC0", "a test only")
    monkeypatch.setitem(bundled_models.MODELS, "shades", tiny)
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules
        main(("shades",), data="mine", output=tmp_path / "kept")
        main(("shades",), data="mine", output=tmp_path / "again")  # of the finished run
    assert not (tmp_path / "runs" / "shades-2").exists()
    record = json.loads((tmp_path / "runs" / "shades" / "results.json").read_text())
    (row,) = record["summary"]
    seed = int(np.argmax(row["validation_accuracy"]["values"]))
    model, card = rowrnn.load(tmp_path / "kept" / "shades.safetensors")
    of_run, _ = rowrnn.load(tmp_path / "runs" / "shades", seed=seed)
    picture = np.full((1, 8, 8, 1), 200, np.uint8)
    seen = card.needed_preprocessing()(picture)
    np.testing.assert_array_equal(model(seen), of_run(seen))
    assert (card.data, card.licence, card.intended_use) == ("two shades", "CC0", "a test only")
    assert card.scores["test_accuracy"] == row["test_accuracy"]["values"][seed]
    again, card_again = rowrnn.load(tmp_path / "again" / "shades.safetensors")
    assert card_again == card
    np.testing.assert_array_equal(again(seen), model(seen))
    assert "shades.safetensors: seed" in capsys.readouterr().out
