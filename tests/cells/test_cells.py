"""Cells by the step: against the oracle, against Flax's own cells, and as plain pytrees."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import CELLS, GRU, LRU, LSTM, MLSTM, Elman, GatedCell, LSTMState, ProjectedLSTM
from rowrnn.cells.chrono import chrono
from rowrnn.errors import InputError
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, FEATURES, HIDDEN, KINDS, STEPS, make_cell, make_state, random_like

NAMED = sorted(CELLS)
GATED = [kind for kind in NAMED if issubclass(CELLS[kind], GatedCell)]


@pytest.mark.parametrize("leading", thinned({"2, 3": (2, 3), "2": (2,), "none": ()}, 3))
@pytest.mark.parametrize("kind", KINDS)
def test_step_is_the_textbook_equation(kind, leading):
    rng = np.random.default_rng(1)
    x = oracle.draw(rng, *leading, FEATURES)
    initial = oracle.draw_state(kind, oracle.parameters_of(make_cell(kind)), rng, *leading)
    with jax.enable_x64(True):
        cell = make_cell(kind, jnp.float64)
        state, output = cell.step(make_state(kind, initial), cell.project(jnp.asarray(x)))
        called_state, called_output = cell(make_state(kind, initial), jnp.asarray(x))
    parameters = oracle.parameters_of(cell)
    leaves = jax.tree.leaves(state)
    assert len(leaves) == oracle.STATES[kind]
    for index in np.ndindex(leading):
        expected, stepped = oracle.step(kind, parameters, x[index], [s[index] for s in initial])
        np.testing.assert_allclose(output[index], expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(called_output[index], expected, rtol=0, atol=1e-14)
        for leaf, called, value in zip(leaves, jax.tree.leaves(called_state), stepped, strict=True):
            np.testing.assert_allclose(leaf[index], value, rtol=0, atol=1e-14)
            np.testing.assert_allclose(called[index], value, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", NAMED)
def test_project_is_the_input_half_of_all_gates(kind):
    with jax.enable_x64(True):
        cell = make_cell(kind, jnp.float64)
        x = oracle.draw(np.random.default_rng(2), STEPS, BATCH, FEATURES)
        projected = cell.project(jnp.asarray(x))
    parameters = oracle.parameters_of(cell)
    expected = np.einsum("tbd,dk->tbk", x, parameters["input_kernel"])
    if "input_scale" in parameters:
        blocks = expected.reshape(STEPS, BATCH, -1, HIDDEN)
        centred = blocks - blocks.mean(-1, keepdims=True)
        expected = (centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)).reshape(expected.shape)
        expected = expected * parameters["input_scale"]
    expected = expected + parameters["bias"]
    assert projected.shape == (STEPS, BATCH, len(parameters["bias"]))
    np.testing.assert_allclose(projected, expected, rtol=0, atol=1e-14)


# Gates, by the names that the documentation gives them.


def test_lstm_gates_recompute_the_step():
    rng = np.random.default_rng(3)
    hidden, memory, x = oracle.draw(rng, BATCH, HIDDEN), oracle.draw(rng, BATCH, HIDDEN), oracle.draw(rng, BATCH, 3)
    with jax.enable_x64(True):
        cell = make_cell("lstm", jnp.float64)
        before = LSTMState(jnp.asarray(hidden), jnp.asarray(memory))
        gates = cell.gates(before, cell.project(jnp.asarray(x)))
        state, _ = cell.step(before, cell.project(jnp.asarray(x)))
    assert tuple(gates) == cell.gate_names == ("input", "forget", "cell", "output")
    i, f, g, o = (np.asarray(gates[name]) for name in ("input", "forget", "cell", "output"))
    np.testing.assert_allclose(state.cell, f * memory + i * g, rtol=0, atol=1e-15)
    np.testing.assert_allclose(state.hidden, o * np.tanh(f * memory + i * g), rtol=0, atol=1e-15)
    p = oracle.parameters_of(cell)
    before = x @ p["input_kernel"] + hidden @ p["recurrent_kernel"] + p["bias"]
    for n, (name, curve) in enumerate(
        zip(gates, (oracle.sigmoid, oracle.sigmoid, np.tanh, oracle.sigmoid), strict=True)
    ):
        np.testing.assert_allclose(gates[name], curve(before[:, n * HIDDEN : (n + 1) * HIDDEN]), rtol=0, atol=1e-14)


def test_gru_gates_recompute_the_step():
    rng = np.random.default_rng(4)
    hidden, x = oracle.draw(rng, BATCH, HIDDEN), oracle.draw(rng, BATCH, FEATURES)
    with jax.enable_x64(True):
        cell = make_cell("gru", jnp.float64)
        gates = cell.gates(jnp.asarray(hidden), cell.project(jnp.asarray(x)))
        state, _ = cell.step(jnp.asarray(hidden), cell.project(jnp.asarray(x)))
    assert tuple(gates) == cell.gate_names == ("reset", "update", "candidate")
    r, z, n = (np.asarray(gates[name]) for name in ("reset", "update", "candidate"))
    np.testing.assert_allclose(state, (1 - z) * n + z * hidden, rtol=0, atol=1e-15)
    p = oracle.parameters_of(cell)
    from_x, from_h = x @ p["input_kernel"] + p["bias"], hidden @ p["recurrent_kernel"]
    np.testing.assert_allclose(r, oracle.sigmoid((from_x + from_h)[:, :HIDDEN]), rtol=0, atol=1e-14)
    np.testing.assert_allclose(z, oracle.sigmoid((from_x + from_h)[:, HIDDEN : 2 * HIDDEN]), rtol=0, atol=1e-14)
    inside = from_h[:, 2 * HIDDEN :] + p["candidate_bias"]
    np.testing.assert_allclose(n, np.tanh(from_x[:, 2 * HIDDEN :] + r * inside), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gates_are_named_and_of_the_state(kind):
    cell = make_cell(kind)
    projected = cell.project(jnp.ones((BATCH, FEATURES)))
    gates = cell.gates(cell.initial_state(projected), projected)
    assert tuple(gates) == cell.gate_names
    assert {gate.shape for gate in gates.values()} == {(BATCH, HIDDEN)}


@pytest.mark.parametrize("kind", [*GATED, "projected_lstm"])
def test_keep_hides_units_from_products_only(kind):
    rng = np.random.default_rng(11)
    with jax.enable_x64(True):
        cell = make_cell(kind, jnp.float64)
        projected = cell.project(jnp.asarray(oracle.draw(rng, BATCH, FEATURES)))
        initial = oracle.draw_state(kind, oracle.parameters_of(cell), rng, BATCH)
        keep = np.zeros(initial[0].shape)
        keep[:, 1] = 2.0
        state, _ = cell.step(make_state(kind, initial), projected, jnp.asarray(keep))
        # The same weights with what is hidden taken out of the recurrent kernel, and the rest twice as large.
        cell.recurrent_kernel[...] = cell.recurrent_kernel[...] * keep[0][:, None]
        expected, _ = cell.step(make_state(kind, initial), projected)
    for leaf, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=0, atol=1e-14)


def test_elman_gate_is_the_new_state():
    cell = make_cell("elman")
    hidden, projected = jnp.full((BATCH, HIDDEN), 0.25), jnp.full((BATCH, HIDDEN), -0.5)
    gates = cell.gates(hidden, projected)
    assert tuple(gates) == cell.gate_names == ("candidate",)
    expected = np.tanh(-0.5 + 0.25 * oracle.parameters_of(cell)["recurrent_kernel"].sum(0))
    np.testing.assert_allclose(gates["candidate"], np.tile(expected, (BATCH, 1)), rtol=0, atol=1e-6)


# Flax's cells, given the same weights.


def make_twin(flax_class):
    # Zeros to start with, so that a weight that is not copied shows.
    zeros = nnx.initializers.zeros_init()
    kernels = {"kernel_init": zeros, "recurrent_kernel_init": zeros}
    return flax_class(FEATURES, HIDDEN, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **kernels)


def set_linear(linear, kernel, bias=None):
    linear.kernel[...] = kernel
    if bias is not None:
        linear.bias[...] = bias


def flax_lstm(cell):
    """`nnx.LSTMCell` has a layer for each gate and its biases on the recurrent ones."""
    twin = make_twin(nnx.LSTMCell)
    kernels = (jnp.split(a[...], 4, axis=-1) for a in (cell.input_kernel, cell.recurrent_kernel, cell.bias))
    for gate, w, u, b in zip(("i", "f", "g", "o"), *kernels, strict=True):
        set_linear(getattr(twin, "if_" if gate == "f" else f"i{gate}"), w)
        set_linear(getattr(twin, f"h{gate}"), u, b)
    return twin


def flax_optimized_lstm(cell):
    twin = make_twin(nnx.OptimizedLSTMCell)
    set_linear(twin.dense_i, cell.input_kernel[...])
    set_linear(twin.dense_h, cell.recurrent_kernel[...], cell.bias[...])
    return twin


def flax_gru(cell):
    twin = make_twin(nnx.GRUCell)
    set_linear(twin.dense_i, cell.input_kernel[...], cell.bias[...])
    set_linear(twin.dense_h, cell.recurrent_kernel[...])
    return twin


def flax_simple(cell):
    twin = make_twin(nnx.SimpleCell)
    set_linear(twin.dense_i, cell.input_kernel[...], cell.bias[...])
    set_linear(twin.dense_h, cell.recurrent_kernel[...])
    return twin


@pytest.mark.parametrize(
    ("kind", "twin_of"),
    [("lstm", flax_lstm), ("lstm", flax_optimized_lstm), ("gru", flax_gru), ("elman", flax_simple)],
    ids=["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"],
)
def test_flax_cells_with_the_same_weights(kind, twin_of):
    rng = np.random.default_rng(5)
    x = oracle.draw(rng, BATCH, STEPS, FEATURES)
    initial = [oracle.draw(rng, BATCH, HIDDEN) for _ in range(oracle.STATES[kind])]
    weights = [oracle.draw(rng, BATCH, STEPS, HIDDEN), *(oracle.draw(rng, BATCH, HIDDEN) for _ in initial)]

    def loss(values):
        return sum((jnp.asarray(w) * v).sum() for w, v in zip(weights, values, strict=True)), values

    def ours(cell, x, initial):
        outputs, last = scan(cell, x, initial_state=make_state(kind, initial))
        return loss([outputs, *jax.tree.leaves(last)])

    def theirs(cell, x, initial):
        # Flax carries (c, h), this package (hidden, cell).
        carry = tuple(initial[::-1]) if kind == "lstm" else initial[0]
        network = nnx.RNN(twin_of(cell), return_carry=True)
        last, outputs = network(x, initial_carry=carry)
        return loss([outputs, *(last[::-1] if kind == "lstm" else [last])])

    with jax.enable_x64(True):
        cell = make_cell(kind, jnp.float64)
        if kind == "gru":
            cell.candidate_bias[...] = jnp.zeros(HIDDEN)  # Flax's GRU has no bias inside the reset.
        arguments = (cell, jnp.asarray(x), [jnp.asarray(s) for s in initial])
        values, gradients = {}, {}
        for function in (ours, theirs):
            run = jax.jit(jax.grad(function, argnums=(0, 1, 2), has_aux=True))
            gradients[function], values[function] = run(*arguments)
    if kind == "gru":
        for gradient, _, _ in gradients.values():
            del gradient.candidate_bias
    for mine, flax in zip(values[ours], values[theirs], strict=True):
        np.testing.assert_allclose(mine, flax, rtol=0, atol=1e-13)
    for mine, flax in zip(jax.tree.leaves(gradients[ours]), jax.tree.leaves(gradients[theirs]), strict=True):
        assert np.abs(flax).max() > 0
        np.testing.assert_allclose(mine, flax, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "reverse"), [("elman", False), ("gru", True), ("lstm", False), ("lstm", True)], ids=str
)
def test_cells_run_in_nnx_rnn(kind, reverse):
    x = oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES)
    lengths = np.asarray([4, 1, 2])
    with jax.enable_x64(True):
        cell = make_cell(kind, jnp.float64)
        network = nnx.RNN(cell, return_carry=True, reverse=reverse, keep_order=True)
        carry, outputs = network(jnp.asarray(x), seq_lengths=jnp.asarray(lengths))
        ours, last = scan(cell, x, lengths=lengths, reverse=reverse)
    expected, state = oracle.run(kind, oracle.parameters_of(cell), x, lengths=lengths, reverse=reverse)
    for k, length in enumerate(lengths):  # Flax's outputs in the padding are not defined.
        np.testing.assert_allclose(outputs[k, :length], expected[k, :length], rtol=0, atol=1e-13)
        np.testing.assert_allclose(outputs[k, :length], ours[k, :length], rtol=0, atol=1e-13)
    assert jax.tree.structure(carry) == jax.tree.structure(last)
    for theirs, leaf, value in zip(jax.tree.leaves(carry), jax.tree.leaves(last), state, strict=True):
        np.testing.assert_allclose(theirs, value, rtol=0, atol=1e-13)
        np.testing.assert_allclose(theirs, leaf, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", NAMED)
def test_initialize_carry_is_zero_and_needs_no_stream(kind):
    cell = make_cell(kind)
    carry = cell.initialize_carry((BATCH, FEATURES))
    assert isinstance(carry, LSTMState) == (kind in oracle.LSTMS)
    for leaf, size in zip(jax.tree.leaves(carry), oracle.sizes(kind, oracle.parameters_of(cell)), strict=True):
        assert leaf.shape == (BATCH, size)
        assert leaf.dtype == jnp.float32
        assert not leaf.any()
    assert cell.num_feature_axes == 1


# Initial parameters.


@pytest.mark.parametrize("kind", GATED)
def test_recurrent_kernels_start_orthogonal_by_gate(kind):
    cell: Any = CELLS[kind](FEATURES, HIDDEN, rngs=nnx.Rngs(7))
    assert cell.recurrent_kernel.shape == (HIDDEN, len(oracle.GATES[kind]) * HIDDEN)
    blocks = np.split(oracle.parameters_of(cell)["recurrent_kernel"], len(oracle.GATES[kind]), axis=1)
    for n, block in enumerate(blocks):
        np.testing.assert_allclose(block.T @ block, np.eye(HIDDEN), rtol=0, atol=1e-5)
        for other in blocks[:n]:  # Drawn apart: gates that start equal would be one gate.
            assert np.abs(block - other).max() > 0.1


def test_input_kernel_starts_with_unit_variance_of_the_projection():
    features = 400
    cell = LSTM(features, 40, rngs=nnx.Rngs(8))
    # Lecun: variance 1 / features; 64,000 draws, so that five percent is many standard errors.
    assert np.var(oracle.parameters_of(cell)["input_kernel"]) * features == pytest.approx(1, rel=0.05)


def test_biases_start_at_zero_but_the_forget_gate_at_one():
    for kind in NAMED:
        bias = oracle.parameters_of(CELLS[kind](FEATURES, HIDDEN, rngs=nnx.Rngs(0)))["bias"]
        assert bias.any() == (kind in (*oracle.LSTMS, "slstm", "mlstm"))
    bias = oracle.parameters_of(LSTM(FEATURES, HIDDEN, rngs=nnx.Rngs(0)))["bias"]
    np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN))
    bias = oracle.parameters_of(LSTM(FEATURES, HIDDEN, forget_bias=-2.5, rngs=nnx.Rngs(0)))["bias"]
    np.testing.assert_array_equal(bias, np.repeat([0.0, -2.5, 0.0, 0.0], HIDDEN))
    bias = oracle.parameters_of(CELLS["slstm"](FEATURES, 4, rngs=nnx.Rngs(0)))["bias"]
    np.testing.assert_allclose(bias, [*[0] * 4, 3, 4, 5, 6, *[0] * 8], rtol=1e-6)
    bias = oracle.parameters_of(MLSTM(FEATURES, 8, heads=4, rngs=nnx.Rngs(0)))["bias"]
    np.testing.assert_allclose(bias, [*[0] * 36, 3, 4, 5, 6], rtol=1e-6)
    gru = oracle.parameters_of(GRU(FEATURES, HIDDEN, rngs=nnx.Rngs(0)))
    assert gru["bias"].shape == (3 * HIDDEN,)
    assert gru["candidate_bias"].shape == (HIDDEN,)
    assert not gru["bias"].any()
    assert not gru["candidate_bias"].any()


@pytest.mark.parametrize(("kind", "keeps"), [(LSTM, slice(1, 2)), (GRU, slice(1, 2))], ids=["lstm", "gru"])
def test_chrono_starts_memories_between_two_steps_and_the_whole_sequence(kind, keeps):
    # Not initialized: orthogonal kernels of so many units take long, and are of no account.
    cell = random_like(jax.eval_shape(lambda: kind(FEATURES, 2000, rngs=nnx.Rngs(0))))
    others = oracle.parameters_of(cell)["bias"].reshape(-1, 2000).copy()
    chrono(cell, 100, rngs=nnx.Rngs(1))
    biases = oracle.parameters_of(cell)["bias"].reshape(-1, 2000)
    # Untouched, a unit keeps σ(b) of its state a step, and so the e-th part of it after about 1 / (1 − σ(b)) steps.
    memory = 1 / (1 - 1 / (1 + np.exp(-np.float64(biases[keeps][0]))))
    assert memory.min() >= 2 - 1e-3
    assert memory.max() <= 100 + 1e-2
    np.testing.assert_allclose(np.quantile(memory, [0.25, 0.5, 0.75]), [26.5, 51, 75.5], rtol=0.08)
    others[keeps] = biases[keeps]
    if kind is LSTM:
        others[0] = -biases[1]
    np.testing.assert_array_equal(biases, others)


def test_chrono_refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="an LSTM or a GRU, not of Elman"):
        chrono(Elman(FEATURES, HIDDEN, rngs=nnx.Rngs(0)), 100, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="at least 3 steps, not 2"):
        chrono(GRU(FEATURES, HIDDEN, rngs=nnx.Rngs(0)), 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", NAMED)
def test_parameters_have_the_dtype_asked_for(kind, dtype):
    cell = CELLS[kind](FEATURES, HIDDEN, dtype=dtype, rngs=nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(cell)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(("features", "hidden"), [(0, 5), (3, 0), (-1, 5), (3, -2)])
def test_sizes_must_be_positive(features, hidden):
    with pytest.raises(ValueError, match=rf"LSTM needs at least.*features={features} and hidden={hidden}"):
        LSTM(features, hidden, rngs=nnx.Rngs(0))


def test_a_projection_is_no_larger_than_the_state():
    for projection in (0, HIDDEN + 1):
        with pytest.raises(ValueError, match=rf"between 1 and hidden = {HIDDEN} features, not {projection}"):
            ProjectedLSTM(FEATURES, HIDDEN, projection, rngs=nnx.Rngs(0))


def test_layer_normalisation_of_large_half_precision():
    cell = CELLS["layer_norm_lstm"](FEATURES, 64, dtype=jnp.float16, rngs=nnx.Rngs(0))
    x = jnp.asarray(oracle.draw(np.random.default_rng(2), BATCH, FEATURES), jnp.float16)
    np.testing.assert_allclose(cell.project(1000 * x), cell.project(x), rtol=0, atol=0.01)


def test_rg_lru_starts_slow():
    # a between 0.9 and 0.999 where the recurrence gate is open, by the definition of `decay`.
    decay = oracle.parameters_of(CELLS["rg_lru"](1, 1000, rngs=nnx.Rngs(0)))["decay"]
    slowest = np.exp(-8 * np.log1p(np.exp(decay)))
    assert 0.9 <= slowest.min() < 0.905
    assert 0.994 < slowest.max() <= 0.9991


def test_lru_starts_between_its_radii_and_turns_at_every_pace():
    parameters = oracle.parameters_of(LRU(1, 1000, radius=(0.5, 0.8), rngs=nnx.Rngs(0)))
    square, phase = np.exp(-2 * np.exp(parameters["decay"])), np.exp(parameters["phase"])
    assert 0.25 <= square.min() < 0.26
    assert 0.63 < square.max() <= 0.6401
    # Uniform between them, and around the upper half of the circle.
    np.testing.assert_allclose(np.quantile(square, [0.25, 0.5, 0.75]), [0.3475, 0.445, 0.5425], atol=0.03)
    np.testing.assert_allclose(np.quantile(phase, [0.25, 0.5, 0.75]), np.pi * np.array([0.25, 0.5, 0.75]), atol=0.2)


@pytest.mark.parametrize("radius", [(0.0, 0.9), (0.9, 0.9), (0.9, 1.0)])
def test_radii_that_cannot_be_meant(radius):
    with pytest.raises(ValueError, match="0 < least < most < 1, not"):
        LRU(1, 2, radius=radius, rngs=nnx.Rngs(0))


def test_an_lru_that_does_not_learn_its_pace():
    x = jnp.asarray(oracle.draw(np.random.default_rng(3), BATCH, FEATURES), jnp.float32)
    state = jnp.ones((BATCH, 2 * HIDDEN))
    for learned in (True, False):
        cell = LRU(FEATURES, HIDDEN, learned=learned, rngs=nnx.Rngs(0))
        gradient = jax.grad(lambda cell: cell(state, x)[1].sum())(cell)
        assert bool(gradient.decay[...].any()) == bool(gradient.phase[...].any()) == learned
        assert gradient.input_kernel[...].any()


# Exponential gates.


@pytest.mark.parametrize("exponent", [-200, 200])
def test_an_slstm_is_a_weighted_mean_whatever_the_exponents(exponent):
    # exp(200) is out of float32's range, not of float64's, in which the equations are computed as they are written.
    cell, x = make_cell("slstm"), oracle.draw(np.random.default_rng(4), 1, 30, FEATURES)
    cell.bias[...] = cell.bias[...].at[:HIDDEN].add(exponent)
    p = oracle.parameters_of(cell)
    h, c, n = np.zeros(HIDDEN), np.zeros(HIDDEN), np.zeros(HIDDEN)
    expected = []
    for step in x[0]:
        i, f, g, o = np.split(step @ p["input_kernel"] + h @ p["recurrent_kernel"] + p["bias"], 4)
        c = oracle.sigmoid(f) * c + np.exp(i) * np.tanh(g)
        n = oracle.sigmoid(f) * n + np.exp(i)
        h = oracle.sigmoid(o) * c / n
        expected.append(h)
    np.testing.assert_allclose(scan(cell, x.astype(np.float32))[0][0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", ["plain", "chunkwise"])
@pytest.mark.parametrize("exponent", [-20, 0, 200])
def test_an_mlstm_looks_up_what_was_written_whatever_the_exponents(backend, exponent):
    cell, x = make_cell("mlstm"), oracle.draw(np.random.default_rng(4), 1, 30, FEATURES)
    cell.bias[...] = cell.bias[...].at[-2].add(exponent)
    p = oracle.parameters_of(cell)
    C, n = np.zeros((HIDDEN, HIDDEN)), np.zeros(HIDDEN)
    expected = []
    for step in x[0]:
        a = step @ p["input_kernel"] + p["bias"]
        q, k, v, o = np.split(a[:-2], 4)
        i, f = np.exp(a[-2]), oracle.sigmoid(a[-1])
        k = k / np.sqrt(HIDDEN)
        C, n = f * C + i * np.outer(v, k), f * n + i * k
        expected.append(oracle.sigmoid(o) * (C @ q) / max(abs(n @ q), 1))
    # Where |n · q| is near its bound of 0, a small error is divided by a small number.
    np.testing.assert_allclose(scan(cell, x.astype(np.float32), backend=backend)[0][0], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("backend", ["plain", "chunkwise"])
def test_heads_of_an_mlstm_are_cells_of_their_own(backend):
    size, heads = 3, 2
    both = random_like(MLSTM(FEATURES, size * heads, heads=heads, rngs=nnx.Rngs(0)))
    x = jnp.asarray(oracle.draw(np.random.default_rng(4), BATCH, STEPS, FEATURES), jnp.float32)
    outputs, state = scan(both, x, backend=backend)
    for head in range(heads):
        wide = [part * size * heads + head * size + unit for part in range(4) for unit in range(size)]
        columns = np.array([*wide, 4 * size * heads + head, 4 * size * heads + heads + head])
        one = MLSTM(FEATURES, size, heads=1, rngs=nnx.Rngs(0))
        one.input_kernel[...], one.bias[...] = both.input_kernel[...][:, columns], both.bias[...][columns]
        alone, alone_state = scan(one, x, backend=backend)
        units = slice(head * size, (head + 1) * size)
        np.testing.assert_allclose(outputs[..., units], alone, rtol=0, atol=1e-5)
        np.testing.assert_allclose(state.normalizer[:, units], alone_state.normalizer, rtol=0, atol=1e-5)
        np.testing.assert_allclose(state.stabilizer[:, head], alone_state.stabilizer[:, 0], rtol=0, atol=1e-5)
        entries = slice(head * size**2, (head + 1) * size**2)
        np.testing.assert_allclose(state.memory[:, entries], alone_state.memory, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "backend"), [("slstm", "plain"), ("mlstm", "plain"), ("mlstm", "chunkwise")])
@pytest.mark.parametrize("exponent", [-44, -200, 200])
def test_gradients_of_exponential_gates_are_finite_whatever_the_exponents(kind, backend, exponent):
    cell, x = make_cell(kind), jnp.asarray(oracle.draw(np.random.default_rng(4), 2, 9, FEATURES), jnp.float32)
    gate = slice(HIDDEN) if kind == "slstm" else slice(-2, -1)
    cell.bias[...] = cell.bias[...].at[gate].add(exponent)
    gradient = jax.grad(lambda cell: jnp.sin(scan(cell, x, backend=backend)[0]).sum())(cell)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_heads_that_cannot_be():
    with pytest.raises(ValueError, match="divides hidden = 6, not 4"):
        MLSTM(FEATURES, 6, heads=4, rngs=nnx.Rngs(0))


# Plain pytrees: JAX's own transformations take a cell as they take a dict of arrays.


@pytest.mark.parametrize("kind", NAMED)
def test_leaves_are_the_parameters_and_nothing_else(kind):
    cell = make_cell(kind)
    leaves = jax.tree.leaves(cell)
    assert all(isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
    wide = 4 * HIDDEN + 2 if kind == "mlstm" else len(oracle.GATES[kind]) * HIDDEN
    expected = [(FEATURES, wide), (wide,), *[(HIDDEN, wide)] * (kind in GATED)]
    expected += {
        "gru": [(HIDDEN,)],
        "peephole_lstm": [(3, HIDDEN)],
        "layer_norm_lstm": [(wide,), (wide,), (HIDDEN,), (HIDDEN,)],
        "layer_norm_gru": [(HIDDEN,), (wide,), (wide,)],
        "rg_lru": [(HIDDEN,)],
        "lru": [(HIDDEN,), (HIDDEN,)],
    }.get(kind, [])
    assert sorted(leaf.shape for leaf in leaves) == sorted(expected)


def test_grad_of_a_module_is_a_module():
    cell = make_cell("elman")
    projected, state = jnp.linspace(-1, 1, HIDDEN), jnp.zeros(HIDDEN)
    gradient = jax.jit(jax.grad(lambda cell: cell.step(state, projected + cell.bias[...])[1].sum()))(cell)
    assert jax.tree.structure(gradient) == jax.tree.structure(cell)
    bias = oracle.parameters_of(cell)["bias"]
    expected = 1 - np.tanh(np.linspace(-1, 1, HIDDEN) + bias) ** 2  # d tanh(a) / da
    np.testing.assert_allclose(gradient.bias[...], expected, rtol=0, atol=1e-6)
    assert not gradient.recurrent_kernel[...].any()  # The state was zero.


@pytest.mark.parametrize("transform", ["vmap", "lax.scan"])
@pytest.mark.parametrize("kind", thinned(NAMED, 2))
def test_stacked_cells_run_as_an_ensemble(kind, transform):
    rng = np.random.default_rng(9)
    x = oracle.draw(rng, BATCH, FEATURES)
    cells = [make_cell(kind, seed=seed) for seed in (1, 2)]
    initial = oracle.draw_state(kind, oracle.parameters_of(cells[0]), rng, BATCH)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cells)
    state, inputs = make_state(kind, initial, jnp.float32), jnp.asarray(x, jnp.float32)

    def step(cell):
        return cell(state, inputs)[1]

    if transform == "vmap":
        outputs = jax.jit(jax.vmap(step))(stacked)
    else:
        _, outputs = jax.lax.scan(lambda carry, cell: (carry, step(cell)), None, stacked)
    for output, cell in zip(outputs, cells, strict=True):
        parameters = oracle.parameters_of(cell)
        for k in range(BATCH):
            expected = oracle.step(kind, parameters, x[k], [s[k] for s in initial])[0]
            np.testing.assert_allclose(output[k], expected, rtol=0, atol=1e-6)


def test_module_as_the_carry_of_a_scan():
    cell = make_cell("gru")
    before = oracle.parameters_of(cell)

    def body(cell, rate):
        return jax.tree.map(lambda p: p - rate, cell), cell.bias[...]

    after, biases = jax.jit(partial(jax.lax.scan, body))(cell, jnp.asarray([0.5, 0.25]))
    assert isinstance(after, GRU)
    assert (after.features, after.hidden) == (FEATURES, HIDDEN)
    for name, value in oracle.parameters_of(after).items():
        np.testing.assert_allclose(value, before[name] - 0.75, rtol=0, atol=1e-6)
    np.testing.assert_allclose(biases, [before["bias"], before["bias"] - 0.5], rtol=0, atol=1e-6)
