"""Models in files: what is loaded is what was saved, and every wrong file says what it is and what to do."""

import json
import os
import stat
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

import rowrnn
from rowrnn import program
from rowrnn.errors import InputError
from rowrnn.lab.runs.kept_models import about_program, export_kept, keep_model
from rowrnn.models import Classifier
from rowrnn.saving import Card, Preprocessing, bundled, model_file, read_card
from tests.helpers.pytrees import assert_same

SHIFT = partial(jnp.add, 0.0)
PREPROCESSING = Preprocessing((6, 4), "pad", mean=(0.5,), std=(2.0,))


def classifier(seed=0):
    rngs = nnx.Rngs(seed)
    return Classifier(rowrnn.GRU(4, 5, rngs=rngs), 3, rngs=rngs)


class Own(nnx.Module):
    """A class of a study."""

    def __init__(self, rngs):
        self.layer = nnx.Linear(2, 3, rngs=rngs)

    def __call__(self, x):
        return self.layer(x)


class Unnamed(Own):
    """One with an attribute that no file can hold."""

    def __init__(self, rngs):
        super().__init__(rngs)
        self.activation = SHIFT


def stacked(make):
    models = [make(seed) for seed in range(3)]
    return models, jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


@pytest.fixture
def saved(tmp_path):
    rowrnn.save(classifier(), tmp_path / "model.safetensors", Card("images", "A model", PREPROCESSING, classes=("a",)))
    return tmp_path / "model.safetensors"


def rewritten(path, arrays=None, metadata=None, **entries):
    """Writes a file again with other arrays, metadata, or entries of its description; None takes an entry away."""
    with model_file.safe_open(path, framework="np") as file:
        before = {**json.loads(file.metadata()["rowrnn"]), **entries}
    described = {name: value for name, value in before.items() if value is not None}
    save_file(arrays or load_file(path), path, {"rowrnn": json.dumps(described)} if metadata is None else metadata)


def test_a_model_and_its_card_come_back(saved):
    model, card = rowrnn.load(saved)
    assert_same(model, classifier())
    assert card == read_card(saved)
    assert (card.title, card.classes, card.preprocessing) == ("A model", ("a",), PREPROCESSING)
    assert card.rowrnn == rowrnn.__version__
    rowrnn.save(model, saved)
    assert_same(rowrnn.load(str(saved))[0], model)
    assert [file.name for file in saved.parent.iterdir()] == ["model.safetensors"]


def test_the_same_model_gives_the_same_bytes(saved):
    before = saved.read_bytes()
    for _ in range(8):
        rowrnn.save(classifier(), saved, Card("images", "A model", PREPROCESSING, classes=("a",)))
        assert saved.read_bytes() == before


def test_a_file_has_the_mode_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        rowrnn.save(classifier(), tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640


def test_sixteen_bits_and_no_elements_come_back(tmp_path):
    layer = nnx.Dict(
        half=rowrnn.LSTM(2, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)),
        none=nnx.Param(jnp.zeros((0, 2))),
        one=nnx.Param(jnp.float16(1)),
    )
    rowrnn.save(layer, tmp_path / "layer.safetensors")
    assert_same(rowrnn.load(tmp_path / "layer.safetensors")[0], layer)


def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path, unchecked_types):
    with pytest.raises(InputError, match=r"activation is functools.partial"):
        rowrnn.save(Unnamed(nnx.Rngs(0)), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"nowhere/model.safetensors cannot be written"):
        rowrnn.save(classifier(), tmp_path / "nowhere" / "model.safetensors")
    with pytest.raises(InputError, match="w has the dtype float8_e5m2, which a safetensors file cannot hold"):
        rowrnn.save(nnx.Dict(w=nnx.Param(jnp.ones(2, jnp.float8_e5m2))), tmp_path / "model.safetensors")
    alike = nnx.Dict(d=nnx.data({"a.b": nnx.Param(jnp.ones(2)), "a": {"b": nnx.Param(jnp.zeros(2))}}))
    with pytest.raises(InputError, match=r"Two arrays of the model are called 'd\.a\.b'"):
        rowrnn.save(alike, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="Models of several seeds have one leading axis of one size"):
        rowrnn.save(classifier(), tmp_path / "model.safetensors", seeds=True)
    with pytest.raises(InputError, match="The field alphabet of a card cannot be 'abc'"):
        rowrnn.save(classifier(), tmp_path / "model.safetensors", Card("lines", alphabet="abc"))  # pyrefly: ignore
    assert list(tmp_path.iterdir()) == []


def test_a_whole_number_is_a_number(tmp_path, unchecked_types):
    rowrnn.save(classifier(), tmp_path / "model.safetensors", Card("lines", length_bonus=1))
    assert rowrnn.load(tmp_path / "model.safetensors")[1].length_bonus == 1


def test_damaged_files_and_newer_ones_are_refused(saved):
    whole, arrays = saved.read_bytes(), load_file(saved)
    for change, message in (
        (
            {"schema": 2, "rowrnn": "9.9"},
            r"schema 2, written by rowrnn 9.9; .* reads schemas up to 1: update",
        ),
        (
            {"card": {"schema": 7, "rowrnn": "9.9"}},
            "schema 7, written by rowrnn 9.9; .*: update rowrnn",
        ),
        ({"card": {"clases": []}}, "A card has no field clases; its fields are task, title"),
        ({"card": {"classes": "ab"}}, "The field classes of a card cannot be 'ab'"),
        ({"card": "?"}, "its card cannot be read"),
        ({"structure": "?"}, "its structure cannot be read"),
        ({"structure": None}, "its structure cannot be read"),
        ({"structure": {"named": "os:system"}}, "uses system of os, which is not part of rowrnn"),
        ({"metadata": {"format": "pt"}}, "has weights, but no structure of a model.*rowrnn.interop.load"),
        ({"metadata": {}}, "rowrnn.interop.load"),
        ({"metadata": model_file.WEIGHTS_ONLY}, r"\.stablehlo, has its code"),
        ({"metadata": {"rowrnn": "?"}}, "its description cannot be read"),
        ({"schema": None}, "its description cannot be read"),
        ({"sha256": "0"}, "is damaged: its weights are not those that were saved"),
        ({"arrays": {**arrays, "head.bias": np.ones(3, np.float32)}}, "is damaged: its weights"),
    ):
        rewritten(saved, **change)
        with pytest.raises(InputError, match=message):
            rowrnn.load(saved)
        saved.write_bytes(whole)
    saved.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="cannot be read as a model of rowrnn, or is damaged"):
        rowrnn.load(saved)


def test_other_files_are_named_with_what_reads_them(saved, tmp_path):
    rowrnn.interop.save(rowrnn.GRU(2, 3, rngs=nnx.Rngs(0)), tmp_path / "gru.safetensors")
    with pytest.raises(InputError, match=r"gru.safetensors has weights, but .* rowrnn.interop.load"):
        rowrnn.load(tmp_path / "gru.safetensors")
    with pytest.raises(InputError, match=r"is a model of rowrnn with its structure: rowrnn.load reads it"):
        rowrnn.interop.load(saved)
    for name, message in (
        ("model.jax", "is a program, not a model: rowrnn.program.load reads it"),
        ("model.pt", "looks like torch's: see rowrnn.interop"),
        ("model.keras", "one of Keras: rowrnn.interop.from_keras"),
        ("model.txt", "cannot be read as a model of rowrnn"),
    ):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(InputError, match=message):
            rowrnn.load(tmp_path / name)
    for address in ("https://example.org/model.safetensors", "hf://a/b", "s3://a/b"):
        with pytest.raises(InputError, match="is an address: load the file down first"):
            rowrnn.load(address)
    with pytest.raises(InputError, match=r"There is no file .*absent, and no bundled model of this name"):
        rowrnn.load(tmp_path / "absent")
    with pytest.raises(InputError, match="has one model, seed 0, not 1"):
        rowrnn.load(saved, seed=1)
    with pytest.raises(InputError, match="is one model; 'GRU' can be chosen in the directory of a run only"):
        rowrnn.load(saved, "GRU")


def test_bundled_models_are_found_by_name(saved, monkeypatch, tmp_path):
    monkeypatch.setattr(model_file, "BUNDLED", saved.parent)
    monkeypatch.chdir(tmp_path.parent)
    assert {name: card.title for name, card in bundled().items()} == {"model": "A model"}
    assert rowrnn.load("model")[1].title == "A model"


def test_a_run_keeps_models_that_can_be_loaded(tmp_path):
    models, several = stacked(classifier)
    image = np.zeros((1, 6, 4, 1), np.float32)
    keep_model(tmp_path, "Row GRU", several, image)
    assert_same(rowrnn.load(tmp_path)[0], models[0])
    keep_model(tmp_path, "Row GRU, raw", several, image, card=Card("images", preprocessing=PREPROCESSING))
    files = ["row_gru.card.json", "row_gru.safetensors", "row_gru_raw.card.json", "row_gru_raw.safetensors"]
    assert sorted(file.name for file in (tmp_path / "models").iterdir()) == files
    model, card = rowrnn.load(tmp_path, "Row GRU, raw", seed=2)
    assert_same(model, models[2])
    assert card.inputs == ("float32[b,6,4,1]",)
    assert card.parameters == sum(leaf.size for leaf in jax.tree.leaves(models[0]))
    with pytest.raises(InputError, match="keeps 2 models, one of which must be named: row_gru, row_gru_raw"):
        rowrnn.load(tmp_path)
    with pytest.raises(InputError, match="keeps no model 'LSTM'; it keeps row_gru, row_gru_raw"):
        rowrnn.load(tmp_path, "LSTM")
    with pytest.raises(InputError, match="has the seeds 0 to 2, not 3"):
        rowrnn.load(tmp_path, "row_gru", seed=3)
    export_kept(tmp_path, "Row GRU, raw", tmp_path / "raw.jax", seed=1)
    raw = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 1), np.uint8)
    found = program.load(tmp_path / "raw.jax")(raw)
    np.testing.assert_allclose(found, models[1](jnp.asarray(PREPROCESSING(raw))), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no model: expected the directory of a run"),
        ('{"finished": false}', "keeps no model, since its training is not finished: go on with it by --resume"),
        ('{"finished": true}', "keeps no model, since its experiment keeps none"),
    ],
)
def test_a_run_without_models_says_why(content, message, tmp_path):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=message):
        rowrnn.load(tmp_path)


@pytest.mark.parametrize("kind", [Own, Unnamed])
def test_models_of_a_study_keep_a_program(kind, tmp_path):
    models, several = stacked(lambda seed: kind(nnx.Rngs(seed)))
    known = Card("images", preprocessing=PREPROCESSING, vocabulary=("\n", "a"), unit="character")
    keep_model(tmp_path, "Own", several, np.zeros((1, 2), np.float32), card=known)
    x = np.ones((4, 2), np.float32)
    exported, card = export_kept(tmp_path, "Own", tmp_path / "own.jax", seed=2)
    assert (card.vocabulary, card.preprocessing) == (known.vocabulary, None)  # Its arrays are prepared before.
    assert about_program(exported, card)[1].startswith(r"The numbers are of characters, from 0: \n, a (the model")
    np.testing.assert_allclose(program.load(tmp_path / "own.jax")(x), models[2](x), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="uses Own of" if kind is Own else r"\.stablehlo, has its code"):
        rowrnn.load(tmp_path)
    if kind is Own:
        assert_same(rowrnn.load(tmp_path, seed=1, classes=(Own,))[0], models[1])
