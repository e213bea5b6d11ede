"""Layers and cells of Flax beside the usual ones, layers of Keras without biases, and a `Rows` layer in a file."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from rowrnn import GRU, LSTM, ConvLSTM, Elman, ImageScan, ReNet, RowLSTM, interop
from rowrnn.decoding.sentences import SpecialTokens
from rowrnn.errors import InputError
from rowrnn.interop import from_keras, from_linen, from_nnx, to_keras
from rowrnn.models import Classifier
from rowrnn.models.captioner import Captioner
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Bidirectional, Recurrent
from tests.helpers import oracle
from tests.helpers.problem import BATCH, FEATURES, HIDDEN, STEPS, make_cell, randomized

X = oracle.draw(np.random.default_rng(1), BATCH, STEPS, FEATURES)
LENGTHS = np.asarray([4, 2, 3])
WIDE: dict[str, Any] = {"dtype": jnp.float64, "param_dtype": jnp.float64}


def drawn(tree):
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda leaf: jnp.asarray(oracle.draw(rng, *leaf.shape)), tree)


def assert_close_where_valid(ours, theirs):
    for k, length in enumerate(LENGTHS):
        np.testing.assert_allclose(np.asarray(ours)[k, :length], np.asarray(theirs)[k, :length], rtol=0, atol=1e-13)


def test_linens_minimal_gated_unit_is_a_gru_of_one_gate():
    with jax.enable_x64(True):
        network = linen.RNN(linen.MGUCell(HIDDEN, **WIDE))
        variables = drawn(network.init(jax.random.key(0), jnp.asarray(X)))
        expected = network.apply(variables, jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        cell = from_linen(variables["params"])
        assert type(cell) is GRU
        assert_close_where_valid(scan(cell, X, lengths=LENGTHS)[0], expected)


@pytest.mark.parametrize("use_bias", [True, False])
def test_linens_convolutional_lstm(use_bias):
    maps = oracle.draw(np.random.default_rng(1), 2, STEPS, 4, 5, 2)
    with jax.enable_x64(True):
        network = linen.RNN(linen.ConvLSTMCell(3, (3, 5), use_bias=use_bias, **WIDE))
        variables = drawn(network.init(jax.random.key(0), jnp.asarray(maps)))
        expected: Any = network.apply(variables, jnp.asarray(maps))
        cell = from_linen(variables["params"])
        assert type(cell) is ConvLSTM
        np.testing.assert_allclose(scan(cell, maps)[0], expected, rtol=0, atol=1e-13)
    with pytest.raises(InputError, match=r"a kernel \[height, width, channels, 4 times features\], not \(3, 2, 12\)"):
        from_linen({"ih": {"kernel": np.zeros((3, 2, 12))}, "hh": {"kernel": np.zeros((3, 3, 12))}})


def test_arrays_in_place_of_layers_of_linen_are_named():
    with pytest.raises(InputError, match="parameters are a tree of dense layers, not hh, ih"):
        from_linen({"ih": np.zeros((2, 3)), "hh": np.zeros((3, 3))})


def test_convolutions_have_kernels_of_odd_sides():
    kernel, recurrent = np.zeros((2, 3, 2, 12), np.float32), np.zeros((2, 3, 3, 12), np.float32)
    with pytest.raises(InputError, match=r"ConvLSTM needs a kernel of odd sides, not \(2, 3\)"):
        from_linen({"ih": {"kernel": kernel}, "hh": {"kernel": recurrent}})
    with pytest.raises(InputError, match=r"ConvLSTM needs a kernel of odd sides, not \(2, 3\)"):
        from_keras([kernel, recurrent, np.zeros(12, np.float32)])


def test_linens_bidirectional():
    with jax.enable_x64(True):
        network = linen.Bidirectional(
            linen.RNN(linen.GRUCell(HIDDEN, **WIDE)), linen.RNN(linen.GRUCell(HIDDEN, **WIDE))
        )
        variables = drawn(network.init(jax.random.key(0), jnp.asarray(X)))
        expected = network.apply(variables, jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        layer = from_linen(variables["params"])
        assert isinstance(layer, Bidirectional)
        assert_close_where_valid(layer(X, lengths=LENGTHS)[0], expected)


def nnx_cell(kind=nnx.GRUCell):
    cell = kind(FEATURES, HIDDEN, **WIDE, rngs=nnx.Rngs(0))
    nnx.update(cell, drawn(nnx.state(cell, nnx.Param)))
    return cell


@pytest.mark.parametrize("options", [{}, {"reverse": True, "keep_order": True}], ids=["forward", "reverse"])
@pytest.mark.parametrize("kind", [nnx.GRUCell, nnx.OptimizedLSTMCell])
def test_nnx_layers_of_one_direction(kind, options):
    with jax.enable_x64(True):
        theirs = nnx.RNN(nnx_cell(kind), **options)
        layer = from_nnx(theirs)
        assert isinstance(layer, Recurrent)
        expected = theirs(jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        assert_close_where_valid(layer(X, lengths=LENGTHS)[0], expected)


def test_nnx_bidirectional():
    with jax.enable_x64(True):
        theirs = nnx.Bidirectional(nnx.RNN(nnx_cell()), nnx.RNN(nnx_cell()))
        expected = theirs(jnp.asarray(X), seq_lengths=jnp.asarray(LENGTHS))
        assert_close_where_valid(from_nnx(theirs)(X, lengths=LENGTHS)[0], expected)


def test_nnx_layers_that_order_steps_otherwise():
    with pytest.raises(InputError, match=r"shows the outputs of its last step first.*keep_order=True"):
        from_nnx(nnx.RNN(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)), reverse=True))
    with pytest.raises(InputError, match="RNN is time_major"):
        from_nnx(nnx.RNN(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)), time_major=True))
    rnns = [nnx.RNN(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))) for _ in range(2)]
    with pytest.raises(InputError, match="has a merge_fn of its own"):
        from_nnx(nnx.Bidirectional(*rnns, merge_fn=lambda a, b: a + b))
    with pytest.raises(InputError, match="Bidirectional is time_major"):
        from_nnx(nnx.Bidirectional(*rnns, time_major=True))


@pytest.mark.parametrize(("kind", "make"), [("elman", Elman), ("gru", GRU), ("lstm", LSTM)])
def test_keras_layers_without_biases(kind, make):
    cell = make_cell(kind)
    zeroed: Any = from_keras([*to_keras(cell)[:2], np.zeros_like(to_keras(cell)[2])])
    one: Any = from_keras(to_keras(cell)[:2])
    assert type(one.cell) is make
    chex.assert_trees_all_equal(one, zeroed)
    both = from_keras(2 * to_keras(cell)[:2])
    assert isinstance(both, Bidirectional)
    chex.assert_trees_all_equal(both.forward, zeroed)
    chex.assert_trees_all_equal(both.backward.cell, zeroed.cell)
    with pytest.raises(InputError, match=r"has 3 arrays, .*, without bias 2, or twice as many, not 5"):
        from_keras([np.zeros((2, 2))] * 5)


def test_a_layer_over_rows_is_saved_as_its_cell(tmp_path):
    layer = randomized(lambda: RowLSTM(4, 5, rngs=nnx.Rngs(0)))
    interop.save(layer, tmp_path / "rows.safetensors")
    chex.assert_trees_all_equal(interop.load(tmp_path / "rows.safetensors").layers[0].cell, layer.cell)
    chex.assert_trees_all_equal(to_keras(layer), to_keras(layer.cell))


def captioner(rngs):
    sizes: Any = {"shape": (8, 8, 1), "words": 4, "longest": 3, "tokens": SpecialTokens(0, 1, 2)}
    return Captioner(GRU, 5, **sizes, rngs=rngs)


@pytest.mark.parametrize(
    "make",
    [
        captioner,
        lambda rngs: Classifier(GRU(4, 5, rngs=rngs), 3, rngs=rngs),
        lambda rngs: ImageScan(GRU(4, 5, rngs=rngs)),
        lambda rngs: ReNet(1, 5, rngs=rngs),
        lambda rngs: nnx.RNN(nnx.GRUCell(4, 5, rngs=rngs)),
    ],
    ids=["Captioner", "Classifier", "ImageScan", "ReNet", "RNN"],
)
def test_a_model_that_holds_a_cell_is_no_layer_of_torch(make, request, tmp_path):
    name = request.node.callspec.id
    with pytest.raises(InputError, match=f"torch has no {name}: give a cell, a Recurrent, Bidirectional or Rows layer"):
        interop.save(make(nnx.Rngs(0)), tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())
