"""The page on which one draws: what Python puts into it, the copy that is committed, and models that it refuses."""

import base64
import re

import numpy as np
import pytest
from flax import nnx
from PIL import Image

import rowrnn
from rowrnn.cells import GRU, LSTM, MGU
from rowrnn.errors import InputError
from rowrnn.lab.data.mnist import load_bundled
from rowrnn.lab.page.writing import write_page
from rowrnn.models import CNN, Classifier
from rowrnn.saving.card import Card
from rowrnn.saving.preprocessing import Preprocessing
from tests.helpers import ROOT
from tests.helpers.html import embedded


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_models_and_examples_are_in_the_page(tmp_path):
    said = write_page(tmp_path / "page.html", ["mnist_row_lstm", "mnist_row_gru"])
    assert "Row LSTM and Row GRU" in said
    content = embedded(tmp_path / "page.html")
    for stored, name in zip(content["models"], ("mnist_row_lstm", "mnist_row_gru"), strict=True):
        model, card = rowrnn.load(name)
        assert stored["classes"] == list(card.classes)
        assert stored["preprocessing"]["like_mnist"]
        cell = model.rows.cell
        np.testing.assert_array_equal(floats(stored["arrays"]["recurrent"]), cell.recurrent_kernel[...].ravel())
        np.testing.assert_array_equal(floats(stored["arrays"]["input"]), cell.input_kernel[...].ravel())
        np.testing.assert_array_equal(floats(stored["arrays"]["head_kernel"]), model.head.kernel[...].ravel())
    assert "candidate_bias" in content["models"][1]["arrays"]
    test = load_bundled().test
    for label, example in enumerate(content["examples"]):
        assert example["label"] == f"a {label}"
        place = int(np.flatnonzero(np.asarray(test.labels) == label)[0])
        assert base64.b64decode(example["bytes"]) == np.asarray(test.images[place]).tobytes()


def test_the_committed_page_is_what_the_command_writes(tmp_path):
    write_page(tmp_path / "page.html", ["mnist_row_lstm", "mnist_row_gru"])
    committed = ROOT / "docs" / "reader.html"
    assert committed.read_bytes() == (tmp_path / "page.html").read_bytes(), "Run make page, and commit what it writes."
    assert committed.stat().st_size < 1.5 * 2**20
    assert set(re.findall(r"https?://[^\s\"'<>]+", committed.read_text())) == {"http://www.w3.org/2000/svg"}


def test_two_models_of_one_run_read_the_same_drawing(tmp_path):
    card = Card("images", classes=("a", "b"), preprocessing=Preprocessing((4, 5), channels=1))
    (tmp_path / "run" / "models").mkdir(parents=True)
    for name, kind in {"row_lstm": LSTM, "row_gru": GRU}.items():
        model = Classifier(kind(5, 3, rngs=nnx.Rngs(0)), 2, rngs=nnx.Rngs(0))
        rowrnn.save(model, tmp_path / "run" / "models" / f"{name}.safetensors", card)
    write_page(tmp_path / "page.html", [str(tmp_path / "run")], names=["Row LSTM", "Row GRU"])
    stored = embedded(tmp_path / "page.html")["models"]
    assert [model["kind"] for model in stored] == ["lstm", "gru"]
    assert [model["title"].split(" of ")[0] for model in stored] == ["Row LSTM", "Row GRU"]
    with pytest.raises(InputError, match="--name chooses models of a run, and mnist_row_gru is none"):
        write_page(tmp_path / "page.html", ["mnist_row_gru"], names=["Row GRU"])
    with pytest.raises(InputError, match="keeps 2 models, one of which must be named"):
        write_page(tmp_path / "page.html", [str(tmp_path / "run")])


def test_own_examples_and_a_model_of_colours(tmp_path):
    card = Card(
        task="images",
        title='A </script> {{ABOUT}} " model',
        classes=("a", "b"),
        preprocessing=Preprocessing((4, 5), channels=3),
    )
    model = Classifier(GRU(15, 3, rngs=nnx.Rngs(0)), 2, pooling="mean", rngs=nnx.Rngs(0))
    rowrnn.save(model, tmp_path / "model.safetensors", card)
    Image.new("RGB", (6, 7), (1, 2, 3)).save(tmp_path / "picture.png")
    write_page(tmp_path / "page.html", [str(tmp_path / "model.safetensors")], examples=[str(tmp_path / "picture.png")])
    content = embedded(tmp_path / "page.html")
    assert content["models"][0]["title"] == 'A </script> {{ABOUT}} " model'
    assert content["models"][0]["pooling"] == "mean"
    (example,) = content["examples"]
    assert (example["height"], example["width"], example["channels"]) == (7, 6, 3)
    assert base64.b64decode(example["bytes"]) == bytes((1, 2, 3)) * 42
    write_page(tmp_path / "page.html", [str(tmp_path / "model.safetensors")])
    assert embedded(tmp_path / "page.html")["examples"] == []


def test_what_a_page_does_not_show(tmp_path):
    out = tmp_path / "page.html"
    card = Card(task="images", classes=("a", "b"), preprocessing=Preprocessing((28, 28)))
    for name, model in {
        "cnn": CNN((28, 28, 1), 4, 2, rngs=nnx.Rngs(0)),
        "mgu": Classifier(MGU(28, 3, rngs=nnx.Rngs(0)), 2, rngs=nnx.Rngs(0)),
    }.items():
        rowrnn.save(model, tmp_path / name, card)
    for name, what in (("cnn", "is a CNN"), ("mgu", "is a Classifier with a MGU")):
        with pytest.raises(InputError, match=f"{what}: a page shows readers of lines, and classifiers"):
            write_page(out, [str(tmp_path / name)])
    with pytest.raises(InputError, match="fashion_row_gru takes other pictures than mnist_row_gru"):
        write_page(out, ["mnist_row_gru", "fashion_row_gru"])
    Image.new("L", (500, 3)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match=r"wide.png has 3x500 pixels; an example on a page has at most 400 a side"):
        write_page(out, ["mnist_row_gru"], examples=[str(tmp_path / "wide.png")])
    with pytest.raises(InputError, match="cannot be written"):
        write_page(tmp_path / "cnn" / "page.html", ["mnist_row_gru"])
    with pytest.raises(InputError, match=r"does not end in .html; a second model is given by --beside"):
        write_page(tmp_path / "mnist_row_gru", ["mnist_row_lstm"])
    with pytest.raises(InputError, match="mnist_row_gru is named twice"):
        write_page(out, ["mnist_row_gru", "mnist_row_gru"])
    assert not out.exists()
