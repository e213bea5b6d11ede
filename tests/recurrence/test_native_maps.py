"""Cells over maps in compiled code: values by loops over places in float64, gradients as those of the plain loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import explain, scan
from rowrnn.cells import ConvGRU, ConvLSTM
from rowrnn.generation.diagonal_layer import DiagonalCell
from rowrnn.generation.row_layer import RowCell
from tests.helpers.scans import needs_compiler

pytestmark = needs_compiler

# A cell, and height and width of its maps.
CASES = {
    "lstm": (lambda rngs: ConvLSTM(2, 5, rngs=rngs), (4, 6)),
    "gru": (lambda rngs: ConvGRU(2, 5, rngs=rngs), (4, 6)),
    "wide lstm": (lambda rngs: ConvLSTM(1, 37, (1, 5), rngs=rngs), (2, 9)),
    "high gru": (lambda rngs: ConvGRU(1, 16, (5, 1), rngs=rngs), (7, 2)),
    "kernel larger than the map": (lambda rngs: ConvGRU(1, 3, (5, 5), rngs=rngs), (2, 2)),
    "one place": (lambda rngs: ConvLSTM(3, 70, (3, 3), rngs=rngs), (1, 1)),
    "row": (lambda rngs: RowCell(6, 3, colours=3, rngs=rngs), (1, 8)),
    "column": (lambda rngs: ConvLSTM(2, 4, (3, 1), rngs=rngs), (9, 1)),
    "diagonal": (lambda rngs: DiagonalCell(4, 4, rngs=rngs), (9, 1)),
}


def drawn(name, *, batch=3, steps=5, seed=0):
    """A cell with random parameters, sequences and a state, in float64."""
    build, size = CASES[name]
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        cell = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape)), build(nnx.Rngs(0)))
        x = jnp.asarray(rng.normal(size=(batch, steps, *size, cell.features)))
        shape = (batch, *size, cell.hidden)
        state = jax.tree.map(
            lambda _: jnp.asarray(rng.normal(size=shape)), cell.initial_state(jnp.zeros((*shape[:3], 4 * cell.hidden)))
        )
    return cell, x, state


def in_float32(*trees):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), trees)


def by_loops(cell, x, state):
    """Outputs `[b, t, h, w, k]` of an LSTM or GRU place by place, of what the cell projects."""
    with jax.enable_x64(True):
        projected = np.asarray(cell.project(x))
    kernel, ((top, _), (left, _)) = np.asarray(cell.recurrent_kernel[...]), cell.recurrent_padding
    sigma = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    hidden, memory = jax.tree.map(np.asarray, cell.split_state(state))
    outputs = np.zeros((*projected.shape[:4], cell.hidden))
    for step in range(x.shape[1]):
        recurrent = np.zeros_like(projected[:, 0])
        for row, column, tap_y, tap_x in np.ndindex(*hidden.shape[1:3], *kernel.shape[:2]):
            other, beside = row + tap_y - top, column + tap_x - left
            if 0 <= other < hidden.shape[1] and 0 <= beside < hidden.shape[2]:
                recurrent[:, row, column] += hidden[:, other, beside] @ kernel[tap_y, tap_x]
        if memory is None:
            x_r, x_z, x_n = np.split(projected[:, step], 3, axis=-1)
            h_r, h_z, h_n = np.split(recurrent, 3, axis=-1)
            new = np.tanh(x_n + sigma(x_r + h_r) * (h_n + np.asarray(cell.candidate_bias[...])))
            z = sigma(x_z + h_z)
            hidden = (1 - z) * new + z * hidden
        else:
            i, f, g, o = np.split(projected[:, step] + recurrent, 4, axis=-1)
            memory = sigma(f) * memory + sigma(i) * np.tanh(g)
            hidden = sigma(o) * np.tanh(memory)
        outputs[:, step] = hidden
    return outputs


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_loops_over_places(name):
    cell, x, state = drawn(name)
    expected = by_loops(cell, x, state)
    assert explain(*in_float32(cell, x)).startswith("native: a float32")
    small, y, first = in_float32(cell, x, state)
    outputs, last = jax.jit(lambda *call: scan(*call[:2], initial_state=call[2]))(small, y, first)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=3e-6)
    np.testing.assert_allclose(cell.split_state(last)[0], expected[:, -1], rtol=0, atol=3e-6)
    backward, _ = scan(small, y[:, ::-1], initial_state=first, reverse=True)
    np.testing.assert_allclose(backward[:, ::-1], expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_plain_loop(name, reverse):
    def total(backend):
        def of(cell, x, state):
            outputs, last = scan(cell, x, initial_state=state, reverse=reverse, backend=backend)
            return jnp.sin(outputs).sum() + sum(jnp.cos(part).sum() for part in jax.tree.leaves(last))

        return jax.jit(jax.grad(of, argnums=(0, 1, 2)))

    given = drawn(name)
    with jax.enable_x64(True):
        expected = total("plain")(*given)
    found = total("native")(*in_float32(*given))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * max(1, np.abs(other).max()))
    assert np.abs(expected[0].recurrent_kernel[...]).max() > 1e-3


def test_many_images_are_cut_into_lanes_and_give_the_same_bits():
    cell, x, state = in_float32(*drawn("lstm", batch=33, steps=12))

    def gradient(cell):
        return jax.jit(jax.grad(lambda cell: jnp.sin(scan(cell, x, initial_state=state)[0]).sum()))(cell)

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (cell, x, state))
        expected = jax.grad(lambda cell: jnp.sin(scan(cell, wide[1], initial_state=wide[2])[0]).sum())(wide[0])
    found, again = gradient(cell), gradient(cell)
    for one, other, same in zip(*map(jax.tree.leaves, (found, expected, again)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
        np.testing.assert_array_equal(one, same)


def test_models_side_by_side_are_those_alone():
    """As seeds train together: mapped over parameters."""
    cells = [in_float32(drawn("gru", seed=seed)[0])[0] for seed in range(3)]
    x = in_float32(drawn("gru")[1])[0]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cells)
    slope = jax.grad(lambda cell, x: jnp.sin(scan(cell, x)[0]).sum())
    found = jax.vmap(slope, in_axes=(0, None))(together, x)
    for number, cell in enumerate(cells):
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(slope(cell, x)), strict=True):
            np.testing.assert_allclose(one[number], other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_parameters_of_another_dtype(name):
    cell, x, _ = in_float32(*drawn(name))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    with jax.numpy_dtype_promotion("standard"):
        assert explain(half, x).startswith("native")
        np.testing.assert_allclose(scan(half, x)[0], scan(wide, x)[0], rtol=1e-6, atol=1e-6)


def test_programs_for_other_platforms_have_loops():
    cell, x, _ = in_float32(*drawn("lstm"))
    slope = jax.jit(jax.grad(lambda cell, x: scan(cell, x)[0].sum()))
    program = jax.export.export(slope, platforms=("cuda",))(cell, x)
    assert "rowrnn.lstm_maps" not in program.mlir_module()
    assert "rowrnn.lstm_maps_backward" in slope.lower(cell, x).as_text()


def test_what_the_compiled_code_does_not_compute():
    cell, x, _ = in_float32(*drawn("lstm"))
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"lengths": np.array([1, 2, 5])}, "over maps it has no mask"),
        ({"resets": np.zeros((3, 5), bool)}, "it has no resets"),
        ({"return_states": True}, "it has no states to return but the last"),
    )
    for how, reason in cases:
        with pytest.raises(ValueError, match=f"cannot take the backend 'native': {reason}"):
            scan(cell, x, backend="native", **how)
    total = lambda x, backend: scan(cell, x, backend=backend)[0].sum()  # noqa: E731
    with pytest.raises(TypeError, match=r"'native' has first derivatives only.*backend='plain'"):
        jax.hessian(total)(x[:1, :2], "native")
    assert np.abs(jax.hessian(total)(x[:1, :2], "plain")).max() > 0

    class Other(ConvLSTM):
        """A cell whose equations may be others."""

    assert explain(Other(2, 3, rngs=nnx.Rngs(0)), x).startswith("plain:")
