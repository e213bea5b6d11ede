"""Exported models: the same numbers for any batch, in a process that has no rowrnn, and for other platforms."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rowrnn
from rowrnn import program
from rowrnn.errors import InputError
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.renet import ReNet
from rowrnn.lab.runs.kept_models import about_program, export_kept, keep_model
from rowrnn.models import CNN, Classifier
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Recurrent
from tests.helpers.cases import thinned
from tests.helpers.problem import KINDS, MAKERS, make_cell, randomized

# rowrnn cannot be imported here, and the file runs for two sizes of a batch.
ALONE = """
import sys
sys.modules["rowrnn"] = None
import numpy as np
from jax import export
run = export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call
images = np.load(sys.argv[2])
np.savez(sys.argv[3], all=run(images), one=run(images[:1]))
"""


def images(batch, channels=1):
    return jnp.asarray(np.random.default_rng(0).uniform(size=(batch, 6, 4, channels)), jnp.float32)


def classifier(kind="lstm", seed=0):
    rngs = nnx.Rngs(seed)
    return Classifier(MAKERS[kind](4, 5, rngs=rngs), 3, rngs=rngs)


@pytest.mark.slow
def test_an_exported_model_runs_without_rowrnn(tmp_path):
    model = classifier()
    rowrnn.export(model, tmp_path / "model.jax", images(2))
    np.save(tmp_path / "images.npy", images(5))
    files = [tmp_path / name for name in ("model.jax", "images.npy", "logits.npz")]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, files)], check=True)
    with np.load(tmp_path / "logits.npz") as logits:
        np.testing.assert_allclose(logits["all"], model(images(5)), rtol=0, atol=1e-6)
        np.testing.assert_allclose(logits["one"], model(images(1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", thinned(KINDS, 3))
def test_every_cell_can_be_exported(kind, tmp_path):
    cell = make_cell(kind)

    def run(x, lengths):
        return scan(cell, x, lengths=lengths, reverse=True)

    x, lengths = np.ones((2, 4, 3), np.float32), np.asarray([4, 2], np.int32)
    rowrnn.export(run, tmp_path / "scan.jax", x, lengths)
    x, lengths = np.concatenate([x, 2 * x]), np.asarray([4, 2, 0, 3], np.int32)
    found, expected = program.load(tmp_path / "scan.jax")(x, lengths), run(x, lengths)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda rngs: CNN((6, 4, 1), 4, 3, rngs=rngs),
        lambda rngs: ReNet(1, 3, (2, 2), rngs=rngs),
        lambda rngs: ImageScan(Recurrent(MAKERS["gru"](6, 3, rngs=rngs)), "diagonal"),
    ],
    ids=["CNN", "ReNet", "diagonal"],
)
def test_models_of_images(make, tmp_path):
    model = make(nnx.Rngs(0))
    rowrnn.export(model, tmp_path / "model.jax", jax.ShapeDtypeStruct((1, 6, 4, 1), np.float32))
    found, expected = program.load(tmp_path / "model.jax")(images(3)), model(images(3))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_layers_of_any_batch(tmp_path):
    learned = randomized(lambda: Recurrent(MAKERS["gru"](3, 4, rngs=nnx.Rngs(0)), learn_initial_state=True))
    rowrnn.export(learned, tmp_path / "learned.jax", np.ones((2, 5, 3), np.float32))
    x = jnp.ones((7, 5, 3))
    np.testing.assert_allclose(program.load(tmp_path / "learned.jax")(x)[0], learned(x)[0], rtol=0, atol=1e-6)
    renet = randomized(lambda: ReNet(1, 3, (2, 2), rngs=nnx.Rngs(0)))

    def of_sizes(images, heights):
        return renet(images, heights=heights)[0]

    rowrnn.export(of_sizes, tmp_path / "sizes.jax", images(1), np.ones(1, np.int32))
    heights = np.asarray([2, 6, 0], np.int32)
    found = program.load(tmp_path / "sizes.jax")(images(3), heights)
    np.testing.assert_allclose(found, of_sizes(images(3), heights), rtol=0, atol=1e-6)


def test_a_run_keeps_every_seed(tmp_path):
    models = [classifier(seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    keep_model(tmp_path, "Row LSTM", stacked, images(1))
    for seed in (0, 2):
        export_kept(tmp_path, "Row LSTM", tmp_path / "model.jax", seed)
        logits = program.load(tmp_path / "model.jax")(images(4))
        np.testing.assert_allclose(logits, models[seed](images(4)), rtol=0, atol=1e-6)
    about = about_program(*export_kept(tmp_path, "Row LSTM", tmp_path / "model.jax"))
    assert about[0] == "It takes float32 [b, 6, 4, 1] and gives float32 [b, 3]."
    for name, seed, message in (
        ("Row GRU", 0, "keeps no model 'Row GRU'; it keeps row_lstm"),
        ("row_lstm", 3, "row_lstm.safetensors has the seeds 0 to 2, not 3"),
    ):
        with pytest.raises(InputError, match=message):
            export_kept(tmp_path, name, tmp_path / "other.jax", seed)
    with pytest.raises(InputError, match=r"There is no file .*nowhere, and no bundled model of this name"):
        export_kept(tmp_path / "nowhere", "cnn", tmp_path / "other.jax")
    (tmp_path / "models" / "row_lstm.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"row_lstm.safetensors cannot be read as a model of rowrnn"):
        export_kept(tmp_path, "Row LSTM", tmp_path / "other.jax")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.jax", "models"]


def test_a_run_keeps_how_its_models_are_asked(tmp_path):
    models = [classifier(seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    factors = np.asarray([2.0, 3.0, 4.0, 5.0], np.float32)

    def call(model, images, factors):
        return factors[:, None] * model(images)

    keep_model(tmp_path, "GRU", stacked, images(1), factors[:1], call=call)
    export_kept(tmp_path, "GRU", tmp_path / "model.jax", 1)
    found = program.load(tmp_path / "model.jax")(images(4), factors)
    np.testing.assert_allclose(found, factors[:, None] * models[1](images(4)), rtol=0, atol=1e-5)


def test_kept_weights_keep_their_places(tmp_path):
    """Names in alphabetical order are another order: 10 comes before 2."""
    factors = [np.full((1, 1), 2.0**n, np.float32) for n in range(11)]

    def call(factors, x):
        return jnp.concatenate([factor * x for factor in factors])

    keep_model(tmp_path, "list", factors, np.ones(1, np.float32), call=call)
    export_kept(tmp_path, "list", tmp_path / "model.jax")
    found = program.load(tmp_path / "model.jax")(np.ones(1, np.float32))
    np.testing.assert_array_equal(found, 2.0 ** np.arange(11))


def test_programs_for_other_platforms(tmp_path):
    rowrnn.export(classifier(), tmp_path / "model.jax", images(1), platforms=["cuda", "tpu"])
    exported = jax.export.deserialize(bytearray((tmp_path / "model.jax").read_bytes()))
    assert exported.platforms == ("cuda", "tpu")
    assert "@rowrnn" not in exported.mlir_module()


def test_files_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="needs an example of each argument"):
        rowrnn.export(classifier(), tmp_path / "model.jax")
    with pytest.raises(InputError, match="whose first axis is the batch"):
        rowrnn.export(classifier(), tmp_path / "model.jax", np.float32(1))
    with pytest.raises(InputError, match=r"cannot be written \(No such file"):
        rowrnn.export(classifier(), tmp_path / "nowhere" / "model.jax", images(1))
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        program.load(tmp_path / "model.jax")
    (tmp_path / "model.jax").write_bytes(b"something else")
    with pytest.raises(InputError, match="is no exported program"):
        program.load(tmp_path / "model.jax")
    assert [path.name for path in tmp_path.iterdir()] == ["model.jax"]
