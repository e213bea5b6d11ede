"""The Transformer against its equations in NumPy, in values and gradients, as a whole and step by step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import ImageScan
from rowrnn.models import ScanClassifier
from rowrnn.sequence import Transformer
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.equations import gelu, linear, norm, numbers_of
from tests.helpers.problem import random_like

BATCH, STEPS, FEATURES, WIDTH, HEADS = 2, 5, 3, 6, 2
LENGTHS = np.array([5, 3])


def made(dtype=jnp.float32, **options):
    model = Transformer(FEATURES, WIDTH, heads=HEADS, expansion=2, rngs=nnx.Rngs(0), **options)
    return jax.tree.map(lambda a: a.astype(dtype), random_like(model))


def sinusoids(at):
    """Equations of Vaswani et al. 2017, section 3.5."""
    return np.array([(np.sin if k % 2 == 0 else np.cos)(at / 10_000 ** (2 * (k // 2) / WIDTH)) for k in range(WIDTH)])


def expected(p, x, lengths, *, causal, blocks=2):
    """Outputs of each sequence, position by position and head by head."""
    outputs = np.zeros((*x.shape[:2], WIDTH), np.result_type(x, *p.values()))
    for n, length in enumerate(lengths):
        places = p["places"] if "places" in p else [sinusoids(t) for t in range(length)]
        h = [linear(x[n, t], p, "embed") + places[t] for t in range(length)]
        for b in range(blocks):
            name, size = f"blocks.{b}", WIDTH // HEADS
            projected = [linear(norm(step, p, f"{name}.norm"), p, f"{name}.projection") for step in h]
            parts = [step.reshape(3, HEADS, size) for step in projected]
            for t in range(length):
                found = []
                for head in range(HEADS):
                    seen = range(t + 1) if causal else range(length)
                    scores = np.array([parts[t][0, head] @ parts[s][1, head] / np.sqrt(size) for s in seen])
                    share = np.exp(scores) / np.exp(scores).sum()
                    found.append(sum(w * parts[s][2, head] for w, s in zip(share, seen, strict=True)))
                h[t] = h[t] + linear(np.concatenate(found), p, f"{name}.merge")
                between = gelu(linear(norm(h[t], p, f"{name}.feed_forward.norm"), p, f"{name}.feed_forward.up"))
                h[t] = h[t] + linear(between, p, f"{name}.feed_forward.down")
        for t in range(length):
            outputs[n, t] = norm(h[t], p, "norm")
    return outputs


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("longest", thinned({"sinusoids": None, "learned places": 7}, 2))
@pytest.mark.parametrize("causal", [False, True], ids=["both ways", "causal"])
def test_outputs_and_gradients_are_those_of_the_equations(causal, longest):
    rng = np.random.default_rng(0)
    x, weights = oracle.draw(rng, BATCH, STEPS, FEATURES), oracle.draw(rng, BATCH, STEPS, WIDTH)
    with jax.enable_x64(True):
        model = made(jnp.float64, causal=causal, longest=longest)
        loss = jax.jit(jax.grad(lambda m, x: (weights * m(x, lengths=LENGTHS)[0]).sum(), argnums=(0, 1)))
        gradient, by_x = loss(model, jnp.asarray(x))
        outputs, state = jax.jit(lambda m, x: m(x, lengths=LENGTHS))(model, jnp.asarray(x))
    assert state is None
    p = numbers_of(model)
    np.testing.assert_allclose(outputs, expected(p, x, LENGTHS, causal=causal), rtol=0, atol=1e-6)
    # The derivative along one direction through all parameters and inputs, by a complex step.
    along = {name: oracle.draw(rng, *value.shape) for name, value in p.items()}
    along_x = oracle.draw(rng, *x.shape)
    stepped = {name: value + 1e-30j * along[name] for name, value in p.items()}
    slope = (weights * expected(stepped, x + 1e-30j * along_x, LENGTHS, causal=causal)).sum().imag / 1e-30
    found = (
        sum((along[name] * value).sum() for name, value in numbers_of(gradient).items())
        + (along_x * np.asarray(by_x)).sum()
    )
    assert found == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("longest", thinned({"sinusoids": None, "learned places": 7}, 2))
def test_a_causal_transformer_computes_the_same_step_by_step(longest):
    model = made(causal=True, longest=longest)
    x = jnp.asarray(oracle.draw(np.random.default_rng(1), BATCH, STEPS, FEATURES), jnp.float32)
    run = jax.jit(lambda model, x, state=None: model(x, initial_state=state))
    step_by_step = jax.jit(lambda m, s, x: jax.lax.scan(m.step, s, jnp.swapaxes(x, 0, 1)))
    whole, _ = run(model, x)
    state = model.initial_state(x[:, 0], STEPS if longest is None else None)
    last, outputs = step_by_step(model, state, x)
    np.testing.assert_allclose(jnp.swapaxes(outputs, 0, 1), whole, rtol=0, atol=1e-5)
    assert last.position.tolist() == [STEPS] * BATCH
    # Called with a state, it goes on from there.
    first, begun = run(model, x[:, :2], state)
    then, ended = run(model, x[:, 2:], begun)
    np.testing.assert_allclose(jnp.concatenate([first, then], axis=1), whole, rtol=0, atol=1e-5)
    assert ended.position.tolist() == [STEPS] * BATCH
    with pytest.raises(ValueError, match="With a state it has none, not lengths"):
        model(x, initial_state=state, lengths=LENGTHS)
    with pytest.raises(ValueError, match="for a room of 3 it was given 5 steps"):
        model(x, initial_state=model.initial_state(x[:, 0], 3))
    with pytest.raises(ValueError, match="a key, and"):
        model(x, initial_state=state, key=jax.random.key(0))
    with pytest.raises(ValueError, match="causal Transformer"):
        made().initial_state(x[:, 0], 4)
    if longest is not None:
        with pytest.raises(ValueError, match="has 7 places, and was asked for a state of 8 steps"):
            model.initial_state(x[:, 0], 8)
    # A step without room takes the place of the last one: as if that had not been.
    state = model.initial_state(x[:, 0], 3)
    _, outputs = step_by_step(model, state, x[:, :4])
    without, _ = run(model, jnp.concatenate([x[:, :2], x[:, 3:4]], axis=1))
    np.testing.assert_allclose(outputs[3], without[:, 2], rtol=0, atol=1e-5)


def test_steps_that_are_not_valid_have_no_influence():
    model = made(causal=True)
    run = jax.jit(lambda model, *x, **options: model(*x, **options)[0], static_argnames="hold_outputs")
    x = oracle.draw(np.random.default_rng(1), BATCH, STEPS, FEATURES).astype(np.float32)
    poisoned, in_a_gap = x.copy(), np.array([[1, 0, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    poisoned[1, 3:] = np.nan
    outputs = run(model, poisoned, lengths=LENGTHS)
    np.testing.assert_array_equal(outputs[1, 3:], np.zeros((2, WIDTH)))
    np.testing.assert_allclose(outputs[1, :3], run(model, x[1:, :3])[0], rtol=0, atol=1e-5)
    gap = run(model, np.where(in_a_gap[..., None], poisoned, np.nan), mask=in_a_gap)
    packed = run(model, np.concatenate([x[:1, :1], x[:1, 2:]], axis=1))
    np.testing.assert_allclose(gap[0, np.array([0, 2, 3, 4])], packed[0], rtol=0, atol=1e-5)
    held = run(model, poisoned, lengths=LENGTHS, hold_outputs=True)
    np.testing.assert_array_equal(held[1, 4], outputs[1, 2])
    gradient = jax.jit(jax.grad(lambda m: m(poisoned, lengths=LENGTHS)[0].sum()))(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_an_image_is_read_by_a_transformer_as_by_a_cell(pooling):
    layer = made(causal=True)
    model = ScanClassifier([ImageScan(layer, "rows")], 4, pooling=pooling, rngs=nnx.Rngs(1))
    images = jnp.asarray(np.random.default_rng(0).random((2, 5, 3, 1)), jnp.float32)
    outputs, _ = layer(images[..., 0])
    by_row = []
    for row in range(5):
        pooled = outputs[:, row] if pooling == "last" else outputs[:, : row + 1].mean(1)
        by_row.append(model.head(pooled))
    np.testing.assert_allclose(model(images), by_row[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.logits_by_row(images), np.stack(by_row, 1), rtol=0, atol=1e-5)


def test_layers_of_a_classifier_drop_features_in_training_only():
    model = ScanClassifier([ImageScan(made(dropout=0.5), "rows")], 4, pooling="mean", rngs=nnx.Rngs(1))
    images = jnp.asarray(np.random.default_rng(0).random((2, 5, 3, 1)), jnp.float32)
    dropped = model(images, key=jax.random.key(0))
    assert np.abs(np.asarray(dropped - model(images))).max() > 1e-3
    np.testing.assert_array_equal(dropped, model(images, key=jax.random.key(0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"width": 0}, "sizes of at least 1"), ({"dropout": 1.0}, "dropout is a probability"), ({"longest": 0}, "sizes")],
)
def test_sizes_that_cannot_be(options, message):
    given: dict[str, Any] = {"features": 3, "width": 6, **options}
    with pytest.raises(ValueError, match=message):
        Transformer(**given, rngs=nnx.Rngs(0))


def test_options_without_a_meaning_are_refused():
    x = jnp.zeros((BATCH, STEPS, FEATURES))
    with pytest.raises(ValueError, match="has the options lengths, mask, hold_outputs of scan, not resets"):
        made()(x, resets=jnp.zeros((BATCH, STEPS), bool))
    with pytest.raises(ValueError, match="has 4 places, and was given 5 steps"):
        made(longest=4)(x)
    with pytest.raises(ValueError, match="or of a causal Transformer: pool by mean"):
        ScanClassifier([ImageScan(made(), "rows")], 4, rngs=nnx.Rngs(1))
