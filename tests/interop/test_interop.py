"""Weights from and to Flax's cells, by torch's names and in files: the same outputs, exact round trips, named errors.

Against torch and Keras themselves: interop_torch.py and interop_keras.py, `make test-interop`.
"""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from safetensors.numpy import save_file

from rowrnn import interop
from rowrnn.cells import GRU, LSTM, Elman, MinGRU, ProjectedLSTM
from rowrnn.errors import InputError
from rowrnn.interop import from_linen, from_nnx, from_torch, to_linen, to_nnx, to_torch
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.sequence.stack import stack
from tests.helpers import oracle
from tests.helpers.problem import BATCH, FEATURES, HIDDEN, STEPS, make_cell, randomized

X = oracle.draw(np.random.default_rng(1), BATCH, STEPS, FEATURES)
LENGTHS = np.asarray([4, 2, 3])


# Flax.

LINEN = {
    "SimpleCell": (linen.SimpleCell, "elman"),
    "LSTMCell": (linen.LSTMCell, "lstm"),
    "OptimizedLSTMCell": (linen.OptimizedLSTMCell, "lstm"),
    "GRUCell": (linen.GRUCell, "gru"),
}
NNX = (nnx.SimpleCell, nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell)


def valid_only(outputs):
    return [np.asarray(outputs)[k, :length] for k, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("name", LINEN)
def test_linen_cells_and_back(name):
    make, kind = LINEN[name]
    with jax.enable_x64(True):
        network = linen.RNN(make(HIDDEN, dtype=jnp.float64, param_dtype=jnp.float64))
        variables = network.init(jax.random.key(0), jnp.asarray(X))
        rng = np.random.default_rng(2)
        variables = jax.tree.map(lambda leaf: jnp.asarray(oracle.draw(rng, *leaf.shape)), variables)
        expected = network.apply(variables, jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        cell = from_linen(variables["params"])
        outputs, _ = scan(cell, X, lengths=LENGTHS)
    assert type(cell) is {"elman": Elman, "lstm": LSTM, "gru": GRU}[kind]
    for ours, theirs in zip(valid_only(outputs), valid_only(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
    tree = to_linen(cell)
    chex.assert_trees_all_equal(tree, jax.tree.map(np.asarray, variables["params"]["cell"]))
    chex.assert_trees_all_equal(from_linen(tree), cell)


@pytest.mark.parametrize("make", NNX, ids=lambda make: make.__name__)
def test_nnx_cells_and_back(make):
    with jax.enable_x64(True):
        theirs = make(FEATURES, HIDDEN, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        parameters = nnx.state(theirs, nnx.Param)
        rng = np.random.default_rng(2)
        nnx.update(theirs, jax.tree.map(lambda leaf: jnp.asarray(oracle.draw(rng, *leaf.shape)), parameters))
        expected = nnx.RNN(theirs)(jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        cell = from_nnx(theirs)
        outputs, _ = scan(cell, X, lengths=LENGTHS)
        for ours, flax in zip(valid_only(outputs), valid_only(expected), strict=True):
            np.testing.assert_allclose(ours, flax, rtol=0, atol=1e-13)
        back = to_nnx(cell)
        again = nnx.RNN(back)(jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        for ours, flax in zip(valid_only(again), valid_only(expected), strict=True):
            np.testing.assert_allclose(ours, flax, rtol=0, atol=1e-13)
        chex.assert_trees_all_equal(from_nnx(back), cell)


def test_a_bias_inside_the_reset_does_not_fit_nnx():
    with pytest.raises(InputError, match="GRUCell has no bias b_hn inside the reset, and this GRU's is not zero"):
        to_nnx(make_cell("gru"))


class Other(nnx.RNNCellBase):
    """A cell of somebody else."""


def test_cells_that_compute_otherwise():
    with pytest.raises(InputError, match="adds its input to its state"):
        from_nnx(nnx.SimpleCell(3, 3, residual=True, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match="another activation_fn than tanh"):
        from_nnx(nnx.GRUCell(3, 3, activation_fn=nnx.relu, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match="another gate_fn than sigmoid"):
        from_nnx(nnx.LSTMCell(3, 3, gate_fn=nnx.hard_sigmoid, rngs=nnx.Rngs(0)))
    for layer in (Recurrent(make_cell("gru"), zoneout=0.1), Recurrent(make_cell("gru"), learn_initial_state=True)):
        for library, translate in (("torch", to_torch), ("Keras", interop.to_keras)):
            with pytest.raises(InputError, match=f"{library}'s recurrences have no (zoneout|learned initial state)"):
                translate(layer)


def test_cells_flax_does_not_have():
    cell = MinGRU(2, 3, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="linen has no cell of MinGRU"):
        to_linen(cell)
    with pytest.raises(InputError, match=r"flax.nnx has no cell of MinGRU"):
        to_nnx(cell)
    with pytest.raises(InputError, match=r"Other is no cell of flax.nnx that is known here"):
        from_nnx(Other())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.update(bias=np.zeros(5)), "a tree of dense layers, not bias, hn"),
        (
            lambda tree: tree["ir"].update(kernel=np.zeros((2, 3, 5))),
            r"ir/kernel has shape .2, 3, 5., expected two",
        ),
        (lambda tree: tree.pop("hn"), "hn/kernel is missing; hn/bias is missing"),
        (lambda tree: tree["hr"].update(bias=np.zeros(HIDDEN)), "hr/bias is unknown"),
        (lambda tree: tree["in"].update(kernel=np.zeros((2, 9))), r"in/kernel has shape \[2, 9\], expected \[3, 5\]"),
        (lambda tree: tree.pop("ir"), "has the dense layers hn, hr, hz, in, iz"),
    ],
)
def test_linen_trees_that_do_not_fit(change, message):
    tree = to_linen(make_cell("gru"))
    change(tree)
    with pytest.raises(InputError, match=message):
        from_linen(tree)


# By torch's names.

TORCH_LIKE = {
    "elman": lambda: stack(Elman, FEATURES, HIDDEN, layers=2, rngs=nnx.Rngs(0)),
    "lstm, both": lambda: stack(LSTM, FEATURES, HIDDEN, layers=2, bidirectional=True, rngs=nnx.Rngs(0)),
    "gru, both": lambda: stack(GRU, FEATURES, HIDDEN, layers=3, bidirectional=True, rngs=nnx.Rngs(0)),
    "projected": lambda: Stack([ProjectedLSTM(FEATURES, HIDDEN, 2, rngs=nnx.Rngs(0))]),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", TORCH_LIKE)
def test_files_and_torchs_names_round_trip_exactly(name, dtype, tmp_path):
    layer = randomized(TORCH_LIKE[name], dtype)
    chex.assert_trees_all_equal(from_torch(to_torch(layer)), layer)
    interop.save(layer, tmp_path / "weights.safetensors")
    loaded = interop.load(tmp_path / "weights.safetensors")
    chex.assert_trees_all_equal(loaded, layer)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_gru_of_torch_has_its_two_biases():
    arrays = to_torch(make_cell("gru"))
    parameters = oracle.parameters_of(make_cell("gru"))
    inside = arrays["bias_hh_l0"][2 * HIDDEN :]
    np.testing.assert_array_equal(inside, parameters["candidate_bias"].astype(np.float32))
    # torch adds both biases of reset and update: how they are shared does not matter.
    arrays["bias_hh_l0"] = arrays["bias_hh_l0"] + np.where(np.arange(3 * HIDDEN) < 2 * HIDDEN, 0.25, 0).astype("f")
    cell = from_torch(arrays).layers[0].cell
    expected = parameters["bias"] + np.where(np.arange(3 * HIDDEN) < 2 * HIDDEN, 0.25, 0)
    np.testing.assert_allclose(cell.bias[...], expected, rtol=1e-6)


def test_torch_without_biases():
    arrays = {name: array for name, array in to_torch(make_cell("lstm")).items() if "bias" not in name}
    cell = from_torch(arrays).layers[0].cell
    assert not cell.bias[...].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("weight_ih_l0"), "weight_ih_l0 is missing"),
        (lambda a: a.pop("bias_hh_l1"), "bias_hh_l1 is missing"),
        (lambda a: a.update(fc=np.zeros(3)), "fc is unknown"),
        (lambda a: a.update(weight_hh_l1=np.zeros((20, 4))), r"weight_hh_l1 has shape \[20, 4\], expected \[20, 5\]"),
        (lambda a: a.update(weight_ih_l0=np.zeros((12, 3))), "weight_ih_l0 has 12 rows for a hidden size of 5"),
        (lambda a: a.update(bias_ih_l0=np.zeros(20, int)), "bias_ih_l0 is int64, expected floating point"),
        (lambda a: a.update(weight_ih_l0=np.zeros(20)), r"weight_ih_l0 has shape \[20\], expected two axes"),
        (lambda a: a.update(weight_hr_l0=np.zeros(())), r"weight_hr_l0 has shape \[\], expected two axes"),
        (lambda a: a.update(weight_hh_l0=np.zeros((0, 0))), r"weight_hh_l0 has shape \[0, 0\], .* none of them 0"),
        (lambda a: (a.pop("bias_ih_l0"), a.update(fc=np.zeros(3))), "bias_hh_l0 is unknown.*fc is unknown"),
    ],
)
def test_state_dicts_that_do_not_fit(change, message):
    arrays = to_torch(stack(LSTM, FEATURES, HIDDEN, layers=2, rngs=nnx.Rngs(0)))
    change(arrays)
    with pytest.raises(InputError, match=message):
        from_torch(arrays)


def both(make=make_cell, **options):
    return Bidirectional(make("gru"), make("gru"), **options)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: make_cell("mgu"), "torch has no recurrence of MGU"),
        (lambda: both(merge="sum"), "torch concatenates the outputs of both directions; this layer takes their sum"),
        (lambda: Recurrent(make_cell("gru"), reverse=True), "of one direction does not run in reverse"),
        (
            lambda: Recurrent(make_cell("gru"), learn_initial_state=True),
            "torch's recurrences have no learned initial state",
        ),
        (lambda: Stack([make_cell("gru")], connection="residual"), "have no residual connections"),
        (lambda: Stack([both(), make_cell("gru", features=10)]), "have one direction, or all have both"),
        (lambda: Stack([make_cell("gru"), make_cell("lstm", features=5)]), "cells of one class and size"),
        (lambda: Stack([Stack([make_cell("gru")])]), "torch has no Stack: give a cell, .*, or a Stack of Recurrent"),
    ],
)
def test_layers_torch_does_not_have(layer, message):
    with pytest.raises(InputError, match=message):
        to_torch(layer())


# Files.


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        interop.load(tmp_path / "nowhere.safetensors")
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(pickle.dumps({"weight_ih_l0": [1.0]}))
    with pytest.raises(InputError, match=r"A pickle can run code when it is read: convert it with torch.load"):
        interop.load(pickled)
    save_file({"weight_ih_l0": np.zeros((20, 3), np.float32)}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match="weight_hh_l0 is missing"):
        interop.load(tmp_path / "part.safetensors")


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        interop.save(make_cell("gru"), tmp_path / "nowhere" / "weights.safetensors")
    with pytest.raises(InputError, match="torch has no recurrence of MGU"):
        interop.save(make_cell("mgu"), tmp_path / "weights.safetensors")
    assert list(tmp_path.iterdir()) == []
