"""How `scan` is called: outside of `jax.jit` too, with what a user has at hand, and what it says where it cannot."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, LSTM, MinGRU, Recurrent, RowLSTM, default_backend, scan
from rowrnn.recurrence.arguments import check_cell

X = np.linspace(-1, 1, 3 * 4 * 2, dtype=np.float32).reshape(3, 4, 2)


@pytest.mark.parametrize("backend", ["plain", "fused", "auto"])
@pytest.mark.parametrize("kind", [GRU, LSTM, MinGRU])
def test_a_call_outside_of_jit_is_traced_once(kind, backend):
    traced = []

    class Counting(kind):
        def project(self, x):
            traced.append(x.shape)
            return super().project(x)

    cell = Counting(2, 5, rngs=nnx.Rngs(0)) if backend == "plain" else kind(2, 5, rngs=nnx.Rngs(0))
    scan(cell, X, backend=backend)
    first, compiled = len(traced), []
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: compiled.append(event))
    try:
        for _ in range(3):
            scan(cell, X + 1, backend=backend)
    finally:
        jax.monitoring.clear_event_listeners()
    assert len(traced) == first
    assert not [name for name in compiled if "backend_compile" in name]


def test_a_state_or_zoneout_is_not_traced_again():
    traced = []

    class Counting(GRU):
        def project(self, x):
            traced.append(x.shape)
            return super().project(x)

    cell = Counting(2, 5, rngs=nnx.Rngs(0))
    for call in (partial(scan, cell, initial_state=jnp.ones((3, 5))), Recurrent(cell, zoneout=0.1)):
        call(X)
        first = len(traced)
        call(X + 1)
        assert len(traced) == first


def test_lengths_and_marks_are_lists_too():
    cell = GRU(2, 5, rngs=nnx.Rngs(0))
    expected, _ = scan(cell, X, lengths=np.asarray([4, 2, 0]))
    np.testing.assert_array_equal(scan(cell, X, lengths=[4, 2, 0])[0], expected)
    marks = [[True] * 4, [True, True, False, False], [False] * 4]
    np.testing.assert_array_equal(scan(cell, X, mask=marks)[0], expected)
    layer = RowLSTM(2, 5, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(layer(X, heights=[4, 2, 0])[0], layer(X, heights=np.asarray([4, 2, 0]))[0])


def test_lists_given_to_a_compiled_function_are_read_too():
    cell = GRU(2, 5, rngs=nnx.Rngs(0))
    expected, _ = scan(cell, X, lengths=np.asarray([4, 2, 0]))
    marks = [[True] * 4, [True, True, False, False], [False] * 4]
    for name, given in (("lengths", [4, 2, 0]), ("mask", marks)):
        outputs = jax.jit(lambda given, name=name: scan(cell, X, **{name: given})[0])(given)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (nnx.GRUCell(2, 5, rngs=nnx.Rngs(0)), r"not flax.nnx.*GRUCell: rowrnn.interop.from_nnx and from_linen read"),
        (RowLSTM(2, 5, rngs=nnx.Rngs(0)), r"not rowrnn.image.rows.RowLSTM: .* call the layer itself"),
    ],
)
def test_what_is_no_cell_is_refused(what, message):  # Below the annotation of `scan`, which the tests check too.
    with pytest.raises(TypeError, match=f"scan takes cells of rowrnn, {message}"):
        check_cell("scan", what)


def test_a_compute_dtype_is_floating_point():
    with pytest.raises(TypeError, match="expected a floating-point compute_dtype, as bfloat16, not int8"):
        scan(LSTM(2, 5, rngs=nnx.Rngs(0)), X, compute_dtype=jnp.int8)


def second_derivative(cell):
    def norm(x):
        return (jax.grad(lambda x: scan(cell, x)[0].sum())(x) ** 2).sum()

    return jax.grad(norm)(jnp.asarray(X))


def test_second_derivatives_of_the_compiled_kernel_name_the_backend_that_has_them():
    cell = GRU(2, 5, rngs=nnx.Rngs(0))
    with default_backend("plain"):
        expected = second_derivative(cell)
    with default_backend("fused"):
        np.testing.assert_allclose(second_derivative(cell), expected, rtol=0, atol=1e-5)
    with default_backend("native"), pytest.raises(TypeError, match=r"first derivatives only.*backend='fused'"):
        second_derivative(cell)
