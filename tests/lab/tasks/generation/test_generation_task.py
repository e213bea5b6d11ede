"""Learning to write images: draws, units and loss by hand, and the script, tiny."""

import dataclasses
import json
import operator
from math import log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import generation as script
from rowrnn.errors import InputError
from rowrnn.generation import PixelRNN
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.tasks.generation.examples import drawn_anew, in_bytes, levels_of, prepared
from rowrnn.lab.tasks.generation.likelihood import BitsPerDimension, Nats
from rowrnn.lab.tasks.generation.measures import context, nearest
from rowrnn.lab.tasks.generation.task import log_likelihood, loss, surprise
from rowrnn.lab.tasks.generation.writing import BLANK, GAP, HELD, SCALE, writing

GREY = np.tile(np.array([0, 64, 128, 255], np.uint8).reshape(1, 2, 2, 1), (4000, 1, 1, 1))


def test_pixels_are_drawn_with_their_grey_value_as_the_probability():
    drawn = prepared(GREY, "train", "static")
    for images in (drawn, np.asarray(drawn_anew(jnp.asarray(GREY), jax.random.key(0)))):
        assert set(np.unique(images)) == {0, 1}
        np.testing.assert_allclose(images.mean(axis=0).ravel(), [0, 64 / 255, 128 / 255, 1], atol=0.03)
    np.testing.assert_array_equal(drawn, prepared(GREY, "train", "static"))
    assert (drawn != prepared(GREY, "test", "static")).any()


def test_grey_images_stay_where_they_are_drawn_later_or_never():
    assert prepared(GREY, "train", "dynamic") is GREY
    assert prepared(GREY, "test", "dynamic").max() == 1
    assert prepared(GREY, "test", "none") is GREY
    assert (levels_of("static"), levels_of("dynamic"), levels_of("none")) == (2, 2, 256)


def test_binary_images_are_not_drawn_again():
    binary = GREY // 255
    assert prepared(binary, "test", "static") is binary
    for way in ("dynamic", "none"):
        with pytest.raises(InputError, match="The test images have no value above 1: they are binary already"):
            prepared(binary, "test", way)
    with pytest.raises(InputError, match="The train images are all black"):
        prepared(0 * GREY, "train", "static")


def test_a_mixture_is_for_many_levels():
    options = script.Options(mixture=5)
    with pytest.raises(InputError, match="--mixture is for 256 levels: give --binarization none"):
        script.Generation.check(options)
    script.Generation.check(dataclasses.replace(options, binarization="none"))


def test_a_threshold_is_refused_with_the_reason():
    with pytest.raises(InputError, match="far more probable than drawn ones"):
        levels_of("threshold")
    with pytest.raises(InputError, match="one of the ways static, dynamic, none, not 'half'"):
        levels_of("half")


def test_units_are_not_mixed():
    nats = Nats((80.0, 82.0))
    bits = nats.per_dimension((28, 28, 1))
    np.testing.assert_allclose(bits.values, np.array([80, 82]) / log(2) / 784)
    assert nats.to_json()["unit"] == "nats an image"
    assert nats.to_json()["mean"] == 81
    others: tuple[Any, ...] = (BitsPerDimension(nats.values), 80.0)
    mixes: tuple[Any, ...] = (operator.lt, operator.add, operator.sub)
    for other in others:
        assert nats != other
        for mix in mixes:
            with pytest.raises(TypeError, match=r"not supported between|unsupported operand"):
                mix(nats, other)


def test_loss_and_scores_are_those_of_single_values():
    model = PixelRNN("row", 2, blocks=1, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).integers(0, 2, (3, 4, 4, 1)).astype(np.uint8)
    of_values = np.asarray(model.log_likelihoods(images.astype(np.int32)))
    found, metrics = loss(model, jnp.asarray(images), jax.random.key(0), binarization="static")
    assert found == pytest.approx(-of_values.mean(), rel=1e-5)
    assert metrics["nats"] == pytest.approx(-of_values.sum() / 3, rel=1e-5)
    np.testing.assert_allclose(log_likelihood(model, jnp.asarray(images)), of_values.sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(surprise(model, jnp.asarray(images)), -of_values, rtol=1e-5)


def test_the_nearest_image():
    known = np.array([[0, 0, 255, 255], [255, 255, 0, 0]], np.uint8).reshape(2, 2, 2, 1)
    drawn = in_bytes(np.array([[1, 1, 0, 1], [0, 0, 0, 1]]), 2).reshape(2, 2, 2, 1)
    np.testing.assert_array_equal(nearest(drawn, known), known[[1, 0]])


def test_levels_in_bytes():
    np.testing.assert_array_equal(in_bytes(np.array([0, 1]), 2), [0, 255])
    np.testing.assert_array_equal(in_bytes(np.array([0, 7, 255]), 256), [0, 7, 255])


def test_the_prediction_of_the_middle_pixel_sees_no_later_one():
    model = PixelRNN("row", 2, blocks=1, rngs=nnx.Rngs(0))
    seen = context(model, np.zeros((1, 5, 5, 1), np.uint8)).ravel()
    assert seen[:12].max() > 0
    assert (seen[12:] == 0).all()


def test_images_are_written_row_by_row():
    levels = np.array([[1, 0], [1, 1], [0, 1]]).reshape(1, 3, 2, 1)
    film = writing(["one"], {"one/samples": in_bytes(np.concatenate([levels] * 2), 2)})
    assert len(film) == 3 + HELD
    left = film.shape[2] - 2 * (2 * SCALE + GAP) - GAP
    for frame, number in ((0, 1), (1, 2), (2, 3), (len(film) - 1, 3)):
        shown = film[frame, GAP : GAP + 3 * SCALE : SCALE, left : left + 2 * SCALE : SCALE]
        np.testing.assert_array_equal(shown[:number], np.repeat(255 * levels[0, :number], 3, axis=-1))
        assert (shown[number:] == BLANK).all()


@pytest.mark.slow
def test_the_script_trains_and_writes(tmp_path):
    given = ["--models", "row", "gated", "--params", "3000", "--blocks", "2", "--epochs", "1", "--train-images", "640"]
    given += ["--seeds", "2", "--output", str(tmp_path / "run"), "--no-quick", "--no-full"]
    options, _ = parse(script.Options, script.PRESETS, given)
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.Generation, options)
    record = json.loads((run / "results.json").read_text())
    assert all("No prediction sees" in row["certificate"] for row in record["summary"])
    # A coin for each pixel has 784 ln 2 = 543 nats.
    assert all(100 < row["nll"]["mean"] < 500 for row in record["summary"])
    for picture in ("writing.gif", "samples_row_lstm.png", "endings_row_lstm.png", "surprise.png"):
        assert (run / picture).stat().st_size > 5_000
