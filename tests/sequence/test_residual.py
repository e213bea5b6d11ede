"""Residual blocks against their equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, Bidirectional, ConvGRU, Recurrent, Residual, Stack, Transformer
from tests.helpers import oracle
from tests.helpers.equations import gelu, linear, norm, numbers_of
from tests.helpers.problem import random_like

FEATURES, HIDDEN = 3, 4
LENGTHS = np.array([5, 2])


def made(layer=None):
    return random_like(Residual(layer or GRU(FEATURES, HIDDEN, rngs=nnx.Rngs(0)), expansion=2, rngs=nnx.Rngs(1)))


def inputs():
    return oracle.draw(np.random.default_rng(0), 2, 5, FEATURES)


def of_step(p, x, found):
    x = x + linear(found, p, "merge")
    between = gelu(linear(norm(x, p, "feed_forward.norm"), p, "feed_forward.up"))
    return x + linear(between, p, "feed_forward.down")


@pytest.mark.usefixtures("standard_promotion")
def test_outputs_and_gradients_are_those_of_the_equations():
    x, weights = inputs(), oracle.draw(np.random.default_rng(1), 2, 5, FEATURES)
    with jax.enable_x64(True):
        block = jax.tree.map(lambda a: a.astype(jnp.float64), made())
        outputs, last = block(jnp.asarray(x), lengths=LENGTHS)
        gradient = jax.jit(jax.grad(lambda b: (weights * b(jnp.asarray(x), lengths=LENGTHS)[0]).sum()))(block)
        p, cell = numbers_of(block), oracle.parameters_of(block.layer.cell)
        names = [f"layer.cell.{name}" for name in cell]
        normed = np.array([[norm(step, p, "norm") for step in sequence] for sequence in x])
        found, (state,) = oracle.run("gru", cell, normed, None, lengths=LENGTHS)
        expected = np.zeros_like(x)
        for n, length in enumerate(LENGTHS):
            for t in range(length):
                expected[n, t] = of_step(p, x[n, t], found[n, t])
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        np.testing.assert_allclose(last, state, atol=1e-6)

        # The gradient along a direction, by central differences of the equations.
        along = {name: oracle.draw(np.random.default_rng(2), *value.shape) for name, value in p.items()}

        def loss(scale):
            moved = {name: value + scale * along[name] for name, value in p.items()}
            parameters = dict(zip(cell, [moved[name] for name in names], strict=True))
            normed = np.array([[norm(step, moved, "norm") for step in sequence] for sequence in x])
            found, _ = oracle.run("gru", parameters, normed, None, lengths=LENGTHS)
            steps = [(n, t) for n, length in enumerate(LENGTHS) for t in range(length)]
            return sum((weights[n, t] * of_step(moved, x[n, t], found[n, t])).sum() for n, t in steps)

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        product = sum((along[name] * value).sum() for name, value in numbers_of(gradient).items())
        assert product == pytest.approx(slope, rel=1e-5)


def test_what_is_not_valid_reaches_nothing():
    block, x = made(), jnp.asarray(inputs(), jnp.float32)
    outputs, last = block(x.at[1, 2:].set(jnp.nan), lengths=LENGTHS)
    np.testing.assert_array_equal(outputs[1, 2:], np.zeros((3, FEATURES)))
    alone, of_alone = block(x[1:, :2])
    np.testing.assert_allclose(outputs[1, :2], alone[0], atol=1e-6)
    np.testing.assert_allclose(last[1], of_alone[0], atol=1e-6)


def test_a_stack_goes_on_from_its_state():
    stack, x = Stack([made(), made(Recurrent(GRU(FEATURES, 2, rngs=nnx.Rngs(3))))]), jnp.asarray(inputs(), jnp.float32)
    whole, last = stack(x)
    first, state = stack(x[:, :2])
    then, ended = stack(x[:, 2:], initial_state=state)
    np.testing.assert_allclose(jnp.concatenate([first, then], axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(ended[1], last[1], atol=1e-6)


@pytest.mark.slow
def test_layers_of_other_kinds():
    x = jnp.asarray(inputs(), jnp.float32)
    both = made(Bidirectional(GRU(FEATURES, 2, rngs=nnx.Rngs(0)), GRU(FEATURES, 3, rngs=nnx.Rngs(1))))
    assert both(x)[0].shape == x.shape
    attention = made(Transformer(FEATURES, 6, heads=2, rngs=nnx.Rngs(0)))
    assert attention(x, lengths=LENGTHS)[0].shape == x.shape


def test_dropout_is_for_training():
    block = Residual(GRU(FEATURES, HIDDEN, rngs=nnx.Rngs(0)), dropout=0.5, rngs=nnx.Rngs(1))
    x = jnp.asarray(inputs(), jnp.float32)
    np.testing.assert_array_equal(block(x)[0], block(x)[0])
    assert np.abs(np.asarray(block(x, key=jax.random.key(0))[0] - block(x)[0])).max() > 1e-3


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="hold_outputs is for layers and plain stacks"):
        made()(jnp.asarray(inputs(), jnp.float32), hold_outputs=True)
    with pytest.raises(ValueError, match="a layer over vectors"):
        Residual(ConvGRU(1, 2, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
    gru = GRU(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="expansion of at least 1"):
        Residual(gru, expansion=0, rngs=nnx.Rngs(1))
    with pytest.raises(TypeError, match="Residual"):
        Residual(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
