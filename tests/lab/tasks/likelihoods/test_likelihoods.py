"""Models of images of one class each: against the models themselves, sizes of files, and the script, tiny."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import logsumexp

from experiments import likelihoods as script
from rowrnn.errors import InputError
from rowrnn.generation import ClassModels, PixelRNN
from rowrnn.lab.experiment.command_line import parse
from rowrnn.lab.experiment.study import run_study
from rowrnn.lab.tasks.likelihoods.task import (
    compressed_bits,
    in_each,
    log_likelihood,
    loss,
    of_all,
    one_of_each,
    strangeness,
)


def build(rngs):
    return PixelRNN("row", 2, blocks=1, levels=4, rngs=rngs)


def test_each_class_has_a_model_of_its_own():
    models = ClassModels(build, 3, rngs=nnx.Rngs(1))
    rngs = nnx.Rngs(1)
    alone = [build(rngs) for _ in range(3)]
    images = np.random.default_rng(0).integers(0, 4, (5, 3, 3, 1)).astype(np.uint8)
    ask = jax.jit(lambda model, images: model(images.astype(np.int32)))
    expected = np.stack([ask(model, images) for model in alone], axis=1)
    np.testing.assert_allclose(jax.jit(in_each)(models, jnp.asarray(images)), expected, rtol=1e-5)
    np.testing.assert_allclose(ask(models.model(2), images), expected[:, 2], rtol=1e-5)
    assert np.ptp(expected, axis=1).min() > 1e-3

    rows = jnp.asarray(np.random.default_rng(1).integers(0, 4, (2, 3, 3, 3, 1)).astype(np.uint8))
    of_own = np.stack([ask(alone[k], rows[:, k]) for k in range(3)], axis=1)
    np.testing.assert_allclose(jax.jit(log_likelihood)(models, rows), of_own.mean(axis=1), rtol=1e-5)
    assert jax.jit(loss)(models, rows, jax.random.key(0))[0] == pytest.approx(-of_own.mean() / 9, rel=1e-5)
    with pytest.raises(ValueError, match="at least one class, not 0"):
        ClassModels(build, 0, rngs=nnx.Rngs(0))


def test_rows_of_one_image_of_each_class():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    found = one_of_each(images, np.array([1, 0, 1, 1, 0, 1]), 2)
    np.testing.assert_array_equal(found[..., 0, 0, 0], [[1, 0], [4, 2]])
    with pytest.raises(InputError, match="Class 2 has no training image"):
        one_of_each(images, np.array([1, 0, 1, 1, 0, 1]), 3)


def test_the_likelihood_of_all_classes_is_the_mean_of_the_probabilities():
    given = np.random.default_rng(0).normal(-500, 30, (2, 4, 3))
    np.testing.assert_allclose(of_all(given), logsumexp(given, axis=-1) - np.log(3), rtol=1e-6)


def test_bits_of_png_files_say_how_plain_an_image_is():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)
    images[1] = 7
    for channels in (1, 3):
        noise, plain = compressed_bits(images[..., :channels])
        # Noise takes no less than its bytes, a plain image little more than what every file has.
        assert noise > 8 * 81 * channels
        assert plain < 8 * 90


def test_how_strange_images_are():
    strange = np.array([0, 0, 1, 1])
    # By bits the second own image is more improbable than the first other one; for its size none is.
    assert strangeness(strange, np.array([10.0, 30.0, 20.0, 40.0]), np.array([5, 28, 5, 5])) == (0.75, 1.0)
    assert strangeness(strange, np.array([10.0, 30.0, 5.0, 6.0]), np.array([0, 0, 0, 40])) == (0.0, 0.0)


def bands(count, seed):
    """Bright bands on the left, class 0, or on top, class 1, of grey images."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 90, (count, 6, 6, 1)).astype(np.uint8)
    labels = rng.integers(0, 2, count)
    images[labels == 0, :, :2] += 150
    images[labels == 1, :2] += 150
    return images, labels


@pytest.mark.slow
def test_the_script_tells_classes_apart_and_finds_mirrored_images_strange(tmp_path):
    arrays = {}
    for name, (images, labels) in {"train": bands(400, 0), "test": bands(60, 1)}.items():
        arrays |= {f"x_{name}": images, f"y_{name}": labels}
    np.savez(tmp_path / "bands.npz", **arrays)
    given = ["--data", str(tmp_path / "bands.npz"), "--params", "2412", "--blocks", "1", "--epochs", "8"]
    given += ["--batch", "8", "--learning-rate", "2e-2", "--mixture", "2", "--output", str(tmp_path / "run")]
    options, _ = parse(script.Options, script.PRESETS, [*given, "--no-quick", "--no-full"])
    with jax.numpy_dtype_promotion("standard"):
        run = run_study(script.Likelihoods, options)
    (row,) = json.loads((run / "results.json").read_text())["summary"]
    assert row["test_accuracy"]["mean"] > 0.95
    assert row["nll"]["mean"] < min(7, row["nll_others"]["mean"])
    # A mirrored band on top is one of the own images still; one on the left is not.
    assert 0.6 < row["stranger"]["mean"] < 0.9
    for picture in ("written.png", "stranger.png"):
        assert (run / picture).stat().st_size > 5_000


def test_sets_of_other_sizes_do_not_go_together(tmp_path):
    images, labels = bands(40, 0)
    for name, side in (("own", 6), ("others", 4)):
        cut = images[:, :side, :side]
        np.savez(tmp_path / f"{name}.npz", x_train=cut, y_train=labels, x_test=cut, y_test=labels)
    given = ["--data", str(tmp_path / "own.npz"), "--others", str(tmp_path / "others.npz")]
    options, _ = parse(script.Options, script.PRESETS, given)
    with pytest.raises(InputError, match=r"are uint8 \[4, 4, 1\], those of .* uint8 \[6, 6, 1\]; expected two sets"):
        script.Likelihoods(options, script.Likelihoods.load(options))
