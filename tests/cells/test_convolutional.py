"""ConvLSTM and ConvGRU against loops over pixels, and against LSTM and GRU where a kernel is one pixel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU, LSTM, ConvGRU, ConvLSTM, LSTMState
from rowrnn.cells.convolution import conv, convolve
from rowrnn.recurrence.backend_choice import explain
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Bidirectional, Stack
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import GAPS

KINDS = {"gru": ConvGRU, "lstm": ConvLSTM}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make_cell(kind, features=1, hidden=2, kernel=(3, 3), dtype=jnp.float32):
    make = partial(KINDS[kind], features, hidden, kernel, dtype=dtype)
    return oracle.random_cell(lambda: make(rngs=nnx.Rngs(0)), np.random.default_rng(0))


def correlated(maps, kernel):
    """`[h, w, c]` with `[kh, kw, c, k]`, zeros around, pixel by pixel."""
    height, width, _ = maps.shape
    kh, kw = kernel.shape[:2]
    out = np.zeros((height, width, kernel.shape[-1]), np.result_type(maps, kernel))
    for y, x, i, j in np.ndindex(height, width, kh, kw):
        row, column = y + i - kh // 2, x + j - kw // 2
        if 0 <= row < height and 0 <= column < width:
            out[y, x] += maps[row, column] @ kernel[i, j]
    return out


def run(kind, parameters, x):
    """Outputs of one sequence `[t, h, w, c]` from a zero state, and the last state, by the textbook."""
    hidden = parameters["recurrent_kernel"].shape[2]
    state = np.zeros((*x.shape[1:3], hidden), np.result_type(x, *parameters.values()))
    memory, outputs = state, []
    for maps in x:
        a = correlated(maps, parameters["input_kernel"]) + parameters["bias"]
        u = correlated(state, parameters["recurrent_kernel"])
        split = [slice(n * hidden, (n + 1) * hidden) for n in range(4)]
        if kind == "lstm":
            i, f, g, o = (a[..., s] + u[..., s] for s in split)
            memory = oracle.sigmoid(f) * memory + oracle.sigmoid(i) * np.tanh(g)
            state = oracle.sigmoid(o) * np.tanh(memory)
        else:
            r, z = (oracle.sigmoid(a[..., s] + u[..., s]) for s in split[:2])
            n = np.tanh(a[..., split[2]] + r * (u[..., split[2]] + parameters["candidate_bias"]))
            state = (1 - z) * n + z * state
        outputs.append(state)
    return np.stack(outputs), memory if kind == "lstm" else state


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5)], ids=str)
@every_kind
def test_values_are_the_textbooks(kind, kernel):
    x = oracle.draw(np.random.default_rng(1), 2, 3, 4, 5, 3)
    with jax.enable_x64(True):
        cell = make_cell(kind, 3, 2, kernel, jnp.float64)
        outputs, last = jax.jit(scan)(cell, x)
    for k in range(2):
        expected, state = run(kind, oracle.parameters_of(cell), x[k])
        np.testing.assert_allclose(outputs[k], expected, rtol=0, atol=1e-13)
        np.testing.assert_allclose(jax.tree.leaves(last)[-1][k], state, rtol=0, atol=1e-13)


@every_kind
def test_gradients_are_the_textbooks(kind):
    rng = np.random.default_rng(2)
    x, weights = oracle.draw(rng, 2, 2, 3, 1), oracle.draw(rng, 2, 2, 3, 1)
    with jax.enable_x64(True):
        cell = make_cell(kind, 1, 1, dtype=jnp.float64)
        loss = jax.jit(jax.grad(lambda cell, x: (scan(cell, x[None])[0][0] * weights).sum(), argnums=(0, 1)))
        by_cell, by_x = loss(cell, jnp.asarray(x))
    parameters = oracle.parameters_of(cell)

    def derivative(array, value_at):
        result = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            stepped = array.astype(np.complex128)
            stepped[index] += 1e-30j
            result[index] = value_at(stepped).imag / 1e-30
        return result

    for name, array in parameters.items():
        expected = derivative(array, lambda a, name=name: (run(kind, {**parameters, name: a}, x)[0] * weights).sum())
        np.testing.assert_allclose(getattr(by_cell, name)[...], expected, rtol=0, atol=1e-12)
    expected = derivative(x, lambda a: (run(kind, parameters, a)[0] * weights).sum())
    np.testing.assert_allclose(by_x, expected, rtol=0, atol=1e-12)


@every_kind
def test_a_kernel_of_one_pixel_is_the_cell_over_vectors(kind):
    maps = make_cell(kind, 3, 4, (1, 1))
    cell = oracle.random_cell(
        lambda: {"gru": GRU, "lstm": LSTM}[kind](3, 4, rngs=nnx.Rngs(0)), np.random.default_rng(0)
    )
    for name, array in oracle.parameters_of(maps).items():
        getattr(cell, name)[...] = jnp.asarray(array.reshape(getattr(cell, name).shape), jnp.float32)
    x = oracle.draw(np.random.default_rng(3), 2, 5, 2, 3, 3).astype(np.float32)
    options = {"lengths": np.asarray([5, 2]), "reverse": True}
    outputs, _ = scan(maps, x, **options)
    pixels = x.transpose(0, 2, 3, 1, 4).reshape(12, 5, 3)
    expected, _ = scan(cell, pixels, lengths=np.repeat([5, 2], 6), reverse=True)
    np.testing.assert_allclose(outputs, expected.reshape(2, 2, 3, 5, 4).transpose(0, 3, 1, 2, 4), rtol=0, atol=1e-5)


@every_kind
def test_gaps_never_change_anything(kind):
    cell = make_cell(kind)
    x = oracle.draw(np.random.default_rng(4), 3, 4, 2, 3, 1).astype(np.float32)

    @jax.jit
    def solve(x):
        def loss(cell, x):
            outputs, last = scan(cell, x, mask=GAPS, resets=GAPS[:, ::-1])
            return (outputs**2).sum() + sum(leaf.sum() for leaf in jax.tree.leaves(last)), outputs

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(cell, x)

    marks = GAPS[..., None, None, None]
    clean, padded = solve(np.where(marks, x, 0)), solve(np.where(marks, x, np.nan).astype(np.float32))
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(padded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.asarray(padded[1])[~GAPS].any()


def test_layers_take_maps():
    def both(features):
        return Bidirectional(make_cell("lstm", features, 2), make_cell("gru", features, 2))

    x = oracle.draw(np.random.default_rng(5), 2, 3, 4, 5, 1).astype(np.float32)
    outputs, last = Stack([both(1), both(4)], connection="residual")(x, lengths=np.asarray([3, 1]))
    assert outputs.shape == (2, 3, 4, 5, 4)
    assert not np.asarray(outputs)[1, 1:].any()
    assert isinstance(last[0][0], LSTMState)
    assert {leaf.shape for leaf in jax.tree.leaves(last)} == {(2, 4, 5, 2)}
    assert (
        explain(make_cell("lstm"), x, resets=True)
        == "plain: fused is out, ConvLSTM is none of Elman, LSTM, GRU, PeepholeLSTM"
    )


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 2), (3, 0))], ids=str)
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 3)], ids=str)
@pytest.mark.parametrize("shape", thinned({str(shape): shape for shape in [(2, 8, 7, 3), (1, 5, 5, 1)]}, 2))
def test_convolutions_are_the_librarys(shape, strides, padding):
    """The function and the layer; padding may be wider than the kernel."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, shape[-1], 4)), jnp.float32)

    def layer(x, kernel):
        made = conv(x.shape[-1], 4, 3, strides, padding, rngs=nnx.Rngs(0))
        made.kernel[...] = kernel
        return made(x)

    def library(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    @partial(jax.jit, static_argnums=0)
    def with_gradients(convolution, x, kernel, cotangent):
        value, vjp = jax.vjp(convolution, x, kernel)
        return value, vjp(cotangent)

    shape = jax.eval_shape(library, x, kernel).shape
    cotangent = jnp.asarray(rng.normal(size=shape), jnp.float32)
    expected, by_library = with_gradients(library, x, kernel, cotangent)
    for ours in (partial(convolve, strides=strides, padding=padding), layer):
        found, by_ours = with_gradients(ours, x, kernel, cotangent)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        for a, b in zip(by_ours, by_library, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_maps_of_a_narrower_dtype_are_widened():
    x, kernel = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((3, 3, 2, 1))
    with jax.numpy_dtype_promotion("standard"):
        found = convolve(x, kernel)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.full((1, 2, 2, 1), 18))


def test_forward_mode_is_the_derivative():
    x = oracle.draw(np.random.default_rng(6), 2, 3, 4, 5, 1)
    way = oracle.draw(np.random.default_rng(7), *x.shape)
    with jax.enable_x64(True):
        cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), make_cell("gru", 1, 2))
        run = jax.jit(lambda x: scan(cell, x, backend="plain")[0])
        _, slope = jax.jit(lambda x, way: jax.jvp(run, (x,), (way,)))(jnp.asarray(x), jnp.asarray(way))
        difference = (run(x + 1e-5 * way) - run(x - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=0, atol=1e-8)


def test_sizes_and_kernels_that_do_not_fit():
    for kernel in ((2, 3), (3, 0)):
        with pytest.raises(ValueError, match=r"ConvGRU needs a kernel of odd sides, not \("):
            ConvGRU(1, 2, kernel, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="ConvLSTM needs at least one feature and one hidden unit"):
        ConvLSTM(0, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"shape \[b, t, h, w, d\].*d = 1 features, and was given \[2, 3, 4, 5\]"):
        scan(make_cell("lstm"), jnp.zeros((2, 3, 4, 5)))


def test_forget_gates_start_open():
    bias = ConvLSTM(1, 2, forget_bias=3.0, rngs=nnx.Rngs(0)).bias[...]
    np.testing.assert_array_equal(bias, [0, 0, 3, 3, 0, 0, 0, 0])
