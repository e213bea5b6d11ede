"""Layers over sequences: against the oracle layer by layer, and against the sequences that gaps were cut out of."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU, LRU, LSTM, MLSTM, SLSTM, ConvGRU, Elman, MinGRU
from rowrnn.recurrence.arguments import per_layer_states
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.sequence.stack import stack
from tests.helpers import oracle
from tests.helpers.problem import (
    BATCH,
    FEATURES,
    GAPS,
    HIDDEN,
    MAKERS,
    RAGGED,
    STEPS,
    make_cell,
    make_state,
    randomized,
)
from tests.helpers.scans import representative_cell

X = oracle.draw(np.random.default_rng(1), BATCH, STEPS, FEATURES)


def both(kind, features=FEATURES, hidden=HIDDEN, **options):
    return Bidirectional(*(make_cell(kind, features=features, hidden=hidden, seed=seed) for seed in (0, 1)), **options)


# Gaps and ragged ends: what is left is the sequence without them.

MARKS = np.asarray([[1, 0, 1, 1, 0], [0, 1, 1, 1, 1], [1, 1, 0, 1, 0]], bool)
LENGTHS = (5, 4, 5)  # With the marks three steps of each sequence are left.


def deep(kind):
    """Two layers of both directions, the second with a residual connection."""

    def make():
        rngs = nnx.Rngs(0)
        bottom = Bidirectional(*(MAKERS[kind](FEATURES, 3, rngs=rngs) for _ in range(2)))
        top = Bidirectional(*(MAKERS[kind](bottom.outputs, 3, rngs=rngs) for _ in range(2)), merge="concatenate")
        return Stack([bottom, top], connection="residual")

    return randomized(make)


@pytest.mark.parametrize("depth", ["reverse", "stack of both directions"])
@representative_cell
def test_gaps_are_as_if_cut_out(kind, depth):
    layer = Recurrent(make_cell(kind), reverse=True) if depth == "reverse" else deep(kind)
    rng = np.random.default_rng(2)
    valid = MARKS & (np.arange(5) < np.asarray(LENGTHS)[:, None])
    whole = oracle.draw(rng, BATCH, 5, FEATURES).astype(np.float32)
    cut = whole[valid].reshape(BATCH, 3, FEATURES)
    whole[~valid] = np.nan
    weights = rng.normal(size=(BATCH, 3, layer.outputs)).astype(np.float32)
    spread = np.zeros((BATCH, 5, layer.outputs), np.float32)
    spread[valid] = weights.reshape(-1, layer.outputs)

    def loss(layer, x, weights, **steps):
        outputs, last = layer(x, **steps)
        return (weights * outputs).sum() + sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(last)), (outputs, last)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (by_layer, by_x), (outputs, last) = gradient(layer, whole, spread, mask=MARKS, lengths=np.asarray(LENGTHS))
    (by_cut_layer, by_cut), (cut_outputs, cut_last) = gradient(layer, cut, weights)
    assert not np.asarray(outputs)[~valid].any()
    assert not np.asarray(by_x)[~valid].any()
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(by_cut_layer))
    expected = (cut_outputs.reshape(-1, layer.outputs), cut_last, by_cut_layer, by_cut.reshape(-1, FEATURES))
    found = (np.asarray(outputs)[valid], last, by_layer, np.asarray(by_x)[valid])
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("connection", ["residual", "skip"])
def test_what_gaps_contain_goes_past_no_layer(connection):
    layer = stack(GRU, FEATURES, FEATURES, layers=2, connection=connection, rngs=nnx.Rngs(0))
    x = np.where(GAPS[..., None], X, np.nan).astype(np.float32)
    outputs, _ = layer(x, mask=GAPS)
    assert not np.asarray(outputs)[~GAPS].any()
    assert np.isfinite(outputs).all()


# Both directions and stacks, layer by layer.


@pytest.mark.parametrize("merge", ["concatenate", "sum", "mean"])
def test_both_directions_are_the_oracles(merge):
    options: dict[str, Any] = {"lengths": np.asarray(RAGGED), "mask": GAPS}
    outputs, last = both("lstm", merge=merge)(X.astype(np.float32), **options)
    expected, states = [], []
    for seed in (0, 1):
        cell = make_cell("lstm", seed=seed)
        out, state = oracle.run("lstm", oracle.parameters_of(cell), X, reverse=seed == 1, **options)
        expected.append(out)
        states.append(state)
    merged = {
        "concatenate": np.concatenate(expected, axis=-1),
        "sum": sum(expected),
        "mean": np.mean(expected, axis=0),
    }[merge]
    np.testing.assert_allclose(outputs, merged, rtol=0, atol=1e-5)
    chex.assert_trees_all_close([tuple(state) for state in last], states, rtol=0, atol=1e-5)


@pytest.mark.parametrize("connection", ["plain", "residual", "skip"])
def test_a_stack_is_its_layers_one_after_the_other(connection):
    layers = 3
    layer = randomized(lambda: stack(LSTM, FEATURES, HIDDEN, layers=layers, connection=connection, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(3)
    initial = [[oracle.draw(rng, BATCH, HIDDEN) for _ in range(2)] for _ in range(layers)]
    outputs, last = layer(X.astype(np.float32), initial_state=[make_state("lstm", s, jnp.float32) for s in initial])
    below, shown, states = X, [], []
    for number in range(layers):
        x = np.concatenate([X, below], axis=-1) if connection == "skip" and number else below
        out, state = oracle.run("lstm", oracle.parameters_of(layer.layers[number].cell), x, initial[number])
        out = out + below if connection == "residual" and number else out
        below = out
        shown.append(out)
        states.append(state)
    expected = np.concatenate(shown, axis=-1) if connection == "skip" else below
    assert layer.outputs == expected.shape[-1]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    chex.assert_trees_all_close([tuple(state) for state in last], states, rtol=0, atol=1e-5)


def test_stacks_of_both_directions_have_the_sizes_of_torch():
    layer = stack(GRU, FEATURES, HIDDEN, layers=3, bidirectional=True, rngs=nnx.Rngs(0))
    assert [below.features for below in layer.layers] == [FEATURES, 2 * HIDDEN, 2 * HIDDEN]
    assert (layer.features, layer.outputs) == (FEATURES, 2 * HIDDEN)
    outputs, last = layer(X.astype(np.float32))
    assert outputs.shape == (BATCH, STEPS, 2 * HIDDEN)
    assert [leaf.shape for leaf in jax.tree.leaves(last)] == [(BATCH, HIDDEN)] * 6


def test_cells_become_layers_and_stacks_nest():
    inner = Stack([make_cell("gru"), make_cell("gru", features=HIDDEN)])
    outer = Stack([inner, both("gru", features=HIDDEN)])
    x = X.astype(np.float32)
    outputs, last = outer(x)
    expected, middle = inner(x)
    expected, top = both("gru", features=HIDDEN)(expected)
    chex.assert_trees_all_equal((outputs, last), (expected, (middle, top)))


def test_every_state_of_every_layer_on_request():
    layer = Stack([both("lstm"), make_cell("gru", features=2 * HIDDEN)])
    _, states = layer(X.astype(np.float32), return_states=True)
    assert {leaf.shape for leaf in jax.tree.leaves(states)} == {(BATCH, STEPS, HIDDEN)}
    assert len(jax.tree.leaves(states)) == 5


def test_a_learned_state_is_that_of_every_sequence():
    layer = randomized(lambda: Recurrent(LSTM(FEATURES, HIDDEN, rngs=nnx.Rngs(0)), learn_initial_state=True))
    parameters = oracle.parameters_of(layer.cell)
    initial = [np.tile(np.float64(leaf), (BATCH, 1)) for leaf in jax.tree.leaves(layer.initial_state)]
    weights = oracle.draw(np.random.default_rng(4), BATCH, STEPS, HIDDEN)
    x = X.astype(np.float32)
    gradient = jax.jit(jax.grad(lambda layer: (layer(x)[0] * weights.astype(np.float32)).sum()))(layer)
    expected, _ = oracle.run("lstm", parameters, X, initial)
    np.testing.assert_allclose(layer(x)[0], expected, rtol=0, atol=1e-5)
    zeros = [np.zeros((BATCH, HIDDEN))] * 2
    by_initial: Any = oracle.gradients("lstm", parameters, X, initial, [weights, *zeros])[2]
    for leaf, value in zip(jax.tree.leaves(gradient.initial_state), by_initial, strict=True):
        np.testing.assert_allclose(leaf, value.sum(axis=0), rtol=0, atol=1e-5)
    fresh = Recurrent(GRU(FEATURES, HIDDEN, rngs=nnx.Rngs(0)), learn_initial_state=True)
    assert not any(leaf.any() for leaf in jax.tree.leaves(fresh.initial_state))
    np.testing.assert_array_equal(layer(x, initial_state=make_state("lstm", initial, jnp.float32))[0], layer(x)[0])


# Noise. What is drawn is seen through cells whose weights let nothing else through.


def blank(kind, features=1, **arrays):
    """A cell of 400 units whose parameters are zero but for these."""
    shapes = jax.eval_shape(lambda: kind(features, 400, rngs=nnx.Rngs(0)))
    cell = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    for name, array in arrays.items():
        getattr(cell, name)[...] = jnp.asarray(array, jnp.float32)
    return cell


NOTHING = jnp.zeros((2, 6, 1))


def test_recurrent_dropout_hides_the_same_units_at_every_step():
    cell = blank(Elman, recurrent_kernel=np.eye(400))
    initial = jnp.full((2, 400), 0.5)
    layer = Recurrent(cell, recurrent_dropout=0.25)
    outputs, _ = layer(NOTHING, initial_state=initial, key=jax.random.key(0))
    hidden = np.asarray(outputs) == 0
    assert (hidden == hidden[:, :1]).all()
    assert abs(hidden.mean() - 0.25) < 0.05
    assert (hidden[0, 0] != hidden[1, 0]).any()
    state = np.float32(0.5)
    for step in range(6):
        state = np.tanh(state / np.float32(0.75))
        np.testing.assert_allclose(np.asarray(outputs)[:, step][~hidden[:, step]], state, rtol=1e-5)
    np.testing.assert_array_equal(
        layer(NOTHING, initial_state=initial)[0], scan(cell, NOTHING, initial_state=initial)[0]
    )


@pytest.mark.parametrize("kind", [Elman, MinGRU, LSTM], ids=lambda kind: kind.__name__)
def test_zoneout_keeps_units(kind):
    # From zero, a step of no input leads to `target`, and stays there.
    cell = blank(kind, bias=np.full(blank(kind).bias.shape, 40.0))
    layer = Recurrent(cell, zoneout=0.3)
    outputs, last = layer(NOTHING, key=jax.random.key(0))
    moved = np.asarray(outputs) != 0
    assert (moved[:, 1:] >= moved[:, :-1]).all()
    for step in range(6):
        assert abs(moved[:, step].mean() - (1 - 0.3 ** (step + 1))) < 0.06
    if kind is LSTM:  # Hidden and cell are held apart.
        assert ((np.asarray(last.hidden) != 0) != (np.asarray(last.cell) != 0)).any()
    if kind is Elman:
        mean, _ = layer(NOTHING)
        expected = 1 - 0.3 ** np.arange(1, 7)
        np.testing.assert_allclose(mean, np.tile(expected[None, :, None], (2, 1, 400)), rtol=1e-5)


def test_zoneout_holds_both_parts_of_a_complex_unit():
    cell = LRU(2, 300, rngs=nnx.Rngs(0))
    layer, x = Recurrent(cell, zoneout=0.5), jnp.ones((1, 1, 2))
    before = jnp.full((1, 600), 7.0)
    _, last = layer(x, initial_state=before, key=jax.random.key(0))
    held = np.asarray(jax.tree.leaves(last)[0])[0] == 7.0
    np.testing.assert_array_equal(held[:300], held[300:])
    assert 0.4 < held.mean() < 0.6


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_acts_between_layers(variational):
    bottom, top = blank(Elman, bias=np.full(400, 0.5)), blank(Elman, 400, input_kernel=np.eye(400))
    layer = Stack([bottom, top], dropout=0.25, variational=variational)
    outputs, _ = layer(NOTHING, key=jax.random.key(0))
    dropped = np.asarray(outputs) == 0
    assert abs(dropped.mean() - 0.25) < 0.05
    assert (dropped == dropped[:, :1]).all() == variational
    np.testing.assert_allclose(np.asarray(outputs)[~dropped], np.tanh(np.tanh(0.5) / 0.75), rtol=1e-5)
    np.testing.assert_allclose(layer(NOTHING)[0], np.tanh(np.tanh(0.5)), rtol=1e-5)


def test_keys_decide():
    layer = Stack([Recurrent(make_cell("gru"), zoneout=0.5), both("gru", features=HIDDEN, zoneout=0.5)], dropout=0.5)
    x = X.astype(np.float32)
    run = jax.jit(lambda key: layer(x, key=key, mask=GAPS)[0])
    first, again, other = (np.asarray(run(jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other)[GAPS].any()
    assert not first[~GAPS].any()


def test_noise_passes_gradients_to_what_is_kept():
    layer = Recurrent(make_cell("lstm"), zoneout=0.4, recurrent_dropout=0.4)
    x = X.astype(np.float32)
    with jax.enable_x64(True):
        layer, x = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (layer, jnp.asarray(x)))

        def loss(x):
            return (layer(x, key=jax.random.key(3))[0] ** 2).sum()

        slope = jax.grad(loss)(x)
        step = jnp.zeros_like(x).at[0, 0, 0].set(1e-6)
        difference = (loss(x + step) - loss(x - step)) / 2e-6
    assert float(slope[0, 0, 0]) == pytest.approx(float(difference), rel=1e-6)
    assert float(difference) != 0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_what_is_held_is_held_bit_by_bit(dtype):
    cell = blank(MinGRU, bias=np.full(800, 40.0))
    initial = jnp.full((2, 400), 0.3, dtype)
    outputs, _ = Recurrent(jax.tree.map(lambda p: p.astype(dtype), cell), zoneout=0.01)(
        NOTHING.astype(dtype), initial_state=initial, key=jax.random.key(0)
    )
    held = np.asarray(outputs)[:, 0] != 40
    assert 1 <= held.sum() < 30  # 8 of 800 are expected.
    np.testing.assert_array_equal(np.asarray(outputs)[:, 0][held], np.asarray(initial)[held])


def test_a_stack_under_jit_grad_and_vmap():
    layers = [deep("gru") for _ in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([leaves[0], 0.5 * leaves[1]]), *layers)
    x = jnp.asarray(X, jnp.float32)

    def gradient(layer):
        return jax.grad(lambda layer: (layer(x, mask=GAPS)[0] ** 2).sum())(layer)

    together = jax.jit(jax.vmap(gradient))(stacked)
    for number in range(2):
        alone = gradient(jax.tree.map(lambda leaf, number=number: leaf[number], stacked))
        one = jax.tree.map(lambda leaf, number=number: leaf[number], together)
        chex.assert_trees_all_close(one, alone, rtol=1e-5, atol=1e-5)


# Errors.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(Recurrent, zoneout=1.0), r"zoneout is a probability in \[0, 1\), not 1.0"),
        (partial(Recurrent, recurrent_dropout=-0.1), r"recurrent_dropout is a probability in \[0, 1\), not -0.1"),
        (lambda cell: Bidirectional(cell, cell, merge="max"), "by concatenate, sum, mean, not by 'max'"),
        (
            lambda cell: Bidirectional(cell, make_cell("gru", hidden=4), merge="sum"),
            "to sum outputs of one size: forward has 3 → 5, backward 3 → 4",
        ),
        (lambda cell: Bidirectional(cell, make_cell("gru", features=2)), "forward has 3 → 5, backward 2 → 5"),
        (lambda cell: Bidirectional(cell, ConvGRU(3, 5, rngs=nnx.Rngs(0))), "do not take the same sequences"),
        (lambda cell: Stack([]), "at least one layer"),
        (lambda cell: Stack([cell, cell]), "Layer 1 of the stack takes 3 features, and is given 5"),
        (lambda cell: Stack([cell], connection="dense"), "by plain, residual, skip, not by 'dense'"),
        (lambda cell: Stack([cell], dropout=2.0), r"dropout is a probability in \[0, 1\), not 2.0"),
    ],
)
def test_layers_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make(make_cell("gru"))


def test_noise_needs_a_cell_that_can_take_it():
    with pytest.raises(ValueError, match="MinGRU has no recurrent product that recurrent_dropout"):
        Recurrent(MinGRU(2, 3, rngs=nnx.Rngs(0)), recurrent_dropout=0.1)
    maps = ConvGRU(2, 3, rngs=nnx.Rngs(0))
    refused: list[dict[str, Any]] = [{"zoneout": 0.1}, {"recurrent_dropout": 0.1}, {"learn_initial_state": True}]
    for options in refused:
        with pytest.raises(ValueError, match=f"{next(iter(options))} is for cells over vectors, not for ConvGRU"):
            Recurrent(maps, **options)
    for cell in (SLSTM(2, 3, rngs=nnx.Rngs(0)), MLSTM(2, 3, rngs=nnx.Rngs(0))):
        for options in (refused[0], refused[2]):
            with pytest.raises(ValueError, match="whose arrays of the state share a factor"):
                Recurrent(cell, **options)


def test_calls_that_do_not_fit():
    layer = Stack([Recurrent(make_cell("gru"), zoneout=0.5), make_cell("gru", features=HIDDEN)])
    with pytest.raises(ValueError, match="2 layers of the stack take as many initial states, not 1"):
        layer(jnp.zeros((1, 2, FEATURES)), initial_state=[None])
    with pytest.raises(ValueError, match="2 directions take as many initial states, not 3"):
        per_layer_states((None,) * 3, 2, "directions")
    for wrong in (jnp.zeros(()), jnp.zeros((2, 1, HIDDEN))):
        with pytest.raises(ValueError, match="initial states of 2 directions are a tuple, not ArrayImpl"):
            per_layer_states(wrong, 2, "directions")
    with pytest.raises(ValueError, match=r"d = 3 features, and was given \[1, 2, 4\]"):
        layer(jnp.zeros((1, 2, 4)))
    residual = Stack([make_cell("gru")], connection="residual")
    with pytest.raises(ValueError, match=r"d = 3 features, and was given \[4\]"):
        residual(jnp.zeros(4), lengths=np.asarray([1]))
    with pytest.raises(ValueError, match="hold_outputs is for layers and plain stacks, not for residual"):
        residual(jnp.zeros((1, 2, FEATURES)), hold_outputs=True)
