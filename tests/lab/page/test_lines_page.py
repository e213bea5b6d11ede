"""The page of a reader of lines: what Python puts into it, rounded, and readers that it refuses."""

import base64
import dataclasses

import numpy as np
import pytest
from flax import nnx

import rowrnn
from rowrnn import GRU, LSTM, MinGRU, Transformer
from rowrnn.errors import InputError
from rowrnn.lab.page.arrays import as_rounded, rounded
from rowrnn.lab.page.lines_page import as_on_page, content
from rowrnn.lab.page.writing import write_page
from rowrnn.models import LineReader
from rowrnn.models.line_reader import HANDWRITING
from rowrnn.saving.card import Card
from rowrnn.saving.preprocessing import Preprocessing
from tests.helpers import ROOT
from tests.helpers.html import embedded

CARD = Card(task="lines", title="a reader", alphabet=("a", "b"), preprocessing=Preprocessing((16, None), invert=True))
SMALL = {"channels": (2, 3, 4), "strides": ((2, 2), (2, 2))}


def values(stored):
    """The array of a page, by hand."""
    if "floats" in stored:
        return np.frombuffer(base64.b64decode(stored["floats"]), "<f4")
    whole = np.frombuffer(base64.b64decode(stored["bytes"]), np.int8).astype(np.float32)
    scales = np.frombuffer(base64.b64decode(stored["scales"]), "<f4")
    return (whole.reshape(-1, len(scales)) * scales).ravel()


def test_kernels_are_rounded_by_column():
    kernel = np.array([[1.0, -254.0, 0.0], [-0.5, 127.0, 0.0]])
    expected = np.array([[1.0, -254.0, 0.0], [-64 / 127, 128.0, 0.0]])
    np.testing.assert_allclose(values(rounded(kernel)).reshape(2, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(as_rounded(kernel), expected, rtol=1e-6)
    drawn = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    apart = np.abs(as_rounded(drawn) - drawn)
    assert (apart <= np.abs(drawn).max(axis=(0, 1, 2)) / 254 * 1.0001).all()


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("how", [HANDWRITING, {**SMALL, "both_ways": False}, {**SMALL, "residual": True}])
def test_a_reader_in_a_page(cell, how):
    model = LineReader(16, 2, 3, cell=cell, **how, rngs=nnx.Rngs(0))
    found, on_page = content("model", model, CARD), as_on_page(model)
    assert found["kind"] == {LSTM: "lstm", GRU: "gru"}[cell]
    np.testing.assert_allclose(values(found["head"]["kernel"]), on_page.head.kernel[...].ravel(), rtol=1e-6)
    for stage, convolution in zip(found["stages"], on_page.convolutions, strict=True):
        np.testing.assert_allclose(values(stage["kernel"]), convolution.kernel[...].ravel(), rtol=1e-6)
        assert stage["left"] == 3 - stage["strides"][1]
    assert [bool(stage["scale"]) for stage in found["stages"]] == [False] + [True] * (len(found["stages"]) - 1)
    assert [stage["adds"] for stage in found["stages"]] == list(model.adds)
    assert all((layer["backward"] is None) == (how.get("both_ways") is False) for layer in found["layers"])
    assert all(("candidate_bias" in layer["forward"]) == (cell is GRU) for layer in found["layers"])


def test_what_a_page_of_lines_does_not_show(tmp_path):
    for kind in (Transformer, MinGRU, None):
        model = LineReader(16, 2, 4, cell=kind, **SMALL, rngs=nnx.Rngs(0))
        with pytest.raises(InputError, match="model has a layer of another kind than LSTM or GRU"):
            content("model", model, CARD)
    reader = LineReader(16, 2, 4, cell=GRU, **SMALL, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="no card with an alphabet"):
        content("model", reader, Card())
    with pytest.raises(InputError, match="reads from right to left"):
        content("model", reader, dataclasses.replace(CARD, right_to_left=True))
    rowrnn.save(reader, tmp_path / "reader", CARD)
    with pytest.raises(InputError, match="reads lines: its page has one model, and no examples"):
        write_page(tmp_path / "page.html", [str(tmp_path / "reader"), "mnist_row_gru"])
    assert "a reader" in write_page(tmp_path / "page.html", [str(tmp_path / "reader")])
    assert embedded(tmp_path / "page.html")["alphabet"] == ["a", "b"]


def test_the_committed_page_of_lines_is_what_the_command_writes(tmp_path):
    write_page(tmp_path / "page.html", ["french_lines"])
    committed = ROOT / "docs" / "lines.html"
    assert committed.read_bytes() == (tmp_path / "page.html").read_bytes(), "Run make page, and commit what it writes."
    assert committed.stat().st_size < 1.5 * 2**20
