"""The compiled convolution is the textbook's sum, and its derivatives of any order, under any transformation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn import default_backend
from rowrnn.cells.convolution import convolve
from rowrnn.machine import native_library
from tests.helpers.meshes import assert_same, in_shard_map, on_mesh, with_gradients

pytestmark = pytest.mark.skipif(
    bool(native_library.unavailable()), reason=native_library.unavailable() or "it is there"
)

# Images, kernel [kh, kw, i, o], strides, padding: whole and broken vectors, one pixel, more stride than kernel, more
# padding than image, rows and columns that no output sees.
CASES = {
    "one channel": ((2, 9, 11, 1), (3, 3, 1, 8), (1, 1), ((1, 1), (1, 1))),
    "strides": ((3, 8, 13, 5), (3, 3, 5, 17), (2, 2), ((1, 1), (1, 0))),
    "wide": ((1, 5, 40, 16), (3, 3, 16, 80), (2, 1), ((1, 1), (2, 0))),
    "one pixel": ((2, 1, 1, 3), (1, 1, 3, 2), (1, 1), ((0, 0), (0, 0))),
    "strides beyond the kernel": ((2, 10, 12, 2), (1, 2, 2, 3), (3, 4), ((0, 0), (0, 0))),
    "padding beyond the image": ((1, 2, 2, 2), (2, 5, 2, 4), (1, 2), ((3, 0), (4, 3))),
    "all rows": ((2, 6, 30, 4), (6, 3, 4, 33), (1, 1), ((0, 0), (2, 0))),
}


def draw(case):
    rng = np.random.default_rng(0)
    images, kernel, *rest = CASES[case]
    return rng.normal(size=images), rng.normal(size=kernel), *rest


def textbook(x, kernel, strides, padding):
    """One product after the other, in float64."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    (down, right), (height, width) = strides, kernel.shape[:2]
    rows, columns = (x.shape[1] - height) // down + 1, (x.shape[2] - width) // right + 1
    maps = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for row in range(rows):
        for column in range(columns):
            for y in range(height):
                for z in range(width):
                    maps[:, row, column] += x[:, row * down + y, column * right + z] @ kernel[y, z]
    return maps


def gradients(cotangent, x, kernel, strides, padding):
    """Those of the sum of the maps times the cotangent: where each product went, its factors' gradients come from."""
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    by_x, by_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    (down, right), (height, width) = strides, kernel.shape[:2]
    for row in range(cotangent.shape[1]):
        for column in range(cotangent.shape[2]):
            for y in range(height):
                for z in range(width):
                    there = np.s_[:, row * down + y, column * right + z]
                    by_x[there] += cotangent[:, row, column] @ kernel[y, z].T
                    by_kernel[y, z] += padded[there].T @ cotangent[:, row, column]
    (top, _), (left, _) = padding
    return by_x[:, top : top + x.shape[1], left : left + x.shape[2]], by_kernel


def narrow(*arrays):
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_the_textbooks(case):
    x, kernel, *how = draw(case)
    expected = textbook(x, kernel, *how)
    cotangent = np.random.default_rng(1).normal(size=expected.shape)
    found, vjp = jax.vjp(lambda x, kernel: convolve(x, kernel, *how), *narrow(x, kernel))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    for one, other in zip(vjp(*narrow(cotangent)), gradients(cotangent, x, kernel, *how), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def both(case):
    """The convolution and the matrix product that takes its place, which XLA differentiates."""
    x, kernel, *how = draw(case)

    def product(x, kernel):
        with default_backend("plain"):
            return convolve(x, kernel, *how)

    return lambda x, kernel: convolve(x, kernel, *how), product, *narrow(x, kernel)


def test_it_is_compiled_code_that_runs_unless_another_is_asked_for():
    ours, product, *arguments = both("strides")
    for f, compiled in ((ours, True), (product, False)):
        assert ("rowrnn.convolution_forward" in jax.jit(f).lower(*arguments).as_text()) == compiled


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: lambda x, k: jax.jvp(f, (x, k), (k.sum() * x, jnp.cos(k))),
        lambda f: jax.jacfwd(lambda x, k: jnp.sin(f(x, k)).sum(axis=(0, 1)), argnums=1),
        lambda f: jax.hessian(lambda x, k: jnp.sin(f(x, k)).sum(), argnums=(0, 1)),
        lambda f: lambda x, k: jax.vmap(f, (None, 0), 2)(x, jnp.stack([k, 2 * k, k**2])),
        lambda f: lambda x, k: jax.vmap(jax.grad(lambda k, one: (f(one[None], k) ** 2).sum()), (None, 0))(k, x),
        lambda f: jax.checkpoint(lambda x, k: jax.grad(lambda x: (f(x, k) ** 2).sum())(x)),
    ],
    ids=["jvp", "jacfwd", "hessian", "vmap", "gradients of each example", "checkpoint"],
)
def test_transformations_are_those_of_the_product(transform):
    ours, product, *arguments = both("padding beyond the image")
    found, expected = (jax.jit(transform(f))(*arguments) for f in (ours, product))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_without_jit_it_is_the_same():
    ours, _, *arguments = both("wide")
    np.testing.assert_array_equal(ours(*arguments), jax.jit(ours)(*arguments))


def test_the_same_call_gives_the_same_bits():
    ours, _, *arguments = both("wide")
    solve = jax.jit(jax.grad(lambda x, kernel: (ours(x, kernel) ** 2).sum(), argnums=(0, 1)))
    first, again = solve(*arguments), solve(*arguments)
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_what_is_not_a_number_shows():
    ours, _, x, kernel = both("strides")
    maps = ours(x.at[0, 0, 0, 0].set(jnp.nan), kernel)
    assert jnp.isnan(maps[0, 0, 0]).all()
    assert jnp.isfinite(maps[1:]).all()


def test_a_second_call_outside_of_jit_compiles_nothing():
    ours, _, *arguments = both("strides")
    slope = jax.grad(lambda kernel, x: (ours(x, kernel) ** 2).sum())
    slope(arguments[1], arguments[0])
    ours(*arguments)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: compiled.append(event))
    try:
        ours(*arguments)
        slope(arguments[1], arguments[0])
    finally:
        jax.monitoring.clear_event_listeners()
    assert not [name for name in compiled if "backend_compile" in name]


def test_it_runs_where_jit_is_disabled():
    ours, product, *arguments = both("strides")
    with jax.disable_jit():
        found = ours(*arguments)
    np.testing.assert_allclose(found, product(*arguments), rtol=0, atol=2e-5)


def test_what_does_not_fit():
    x, kernel = jnp.ones((1, 8, 8, 16)), jnp.ones((3, 3, 8, 4))
    with pytest.raises(ValueError, match=r"as many channels, not \[3, 3, 8, 4\] for \[1, 8, 8, 16\]"):
        convolve(x, kernel)
    image = jnp.ones((1, 5, 1, 2))
    for how in (((1, 4), ((0, 0), (1, 0))), ((1, 1), ((0, 0), (0, 0)))):  # No column, or none any more.
        value, slope = jax.value_and_grad(lambda k, how=how: convolve(image, k, *how).sum())(jnp.ones((3, 3, 2, 2)))
        assert value == 0
        assert not slope.any()


def test_no_examples_give_no_maps():
    _, kernel, *how = draw("strides")
    x, kernel = narrow(np.zeros((0, 8, 13, 5)), kernel)
    maps = convolve(x, kernel, *how)
    assert maps.shape == (0, 4, 6, 17)
    by_kernel = jax.grad(lambda kernel: convolve(x, kernel, *how).sum())(kernel)
    np.testing.assert_array_equal(by_kernel, np.zeros(kernel.shape))


@pytest.mark.slow
@pytest.mark.parametrize("where", [on_mesh, in_shard_map])
def test_devices_share_the_examples(where):
    x, kernel, *how = draw("wide")
    x = np.concatenate([x] * 4) * np.arange(1, 5)[:, None, None, None]
    problem = (lambda kernel, x: convolve(x, kernel, *how), *narrow(kernel / 9, x), {})
    assert_same(where(*problem), with_gradients(*problem))


@pytest.mark.slow
def test_random_forms_are_the_textbooks():
    rng = np.random.default_rng(2)
    for _ in range(60):
        kernel = rng.normal(size=(*rng.integers(1, 6, 2), rng.choice([1, 3, 8, 17]), rng.choice([1, 5, 16, 33, 70])))
        sizes = [rng.integers(side, side + 9) for side in kernel.shape[:2]]
        x = rng.normal(size=(rng.integers(1, 4), *sizes, kernel.shape[2]))
        down, right, top, bottom, left, beside = map(int, [*rng.integers(1, 5, 2), *rng.integers(0, 4, 4)])
        how = (down, right), ((top, bottom), (left, beside))
        expected = textbook(x, kernel, *how)
        cotangent = rng.normal(size=expected.shape)
        found, vjp = jax.vjp(partial(convolve, strides=how[0], padding=how[1]), *narrow(x, kernel))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
        for one, other in zip(vjp(*narrow(cotangent)), gradients(cotangent, x, kernel, *how), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=5e-4)
