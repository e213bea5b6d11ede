"""The reader of lines against NumPy, line by line and strip by strip."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from rowrnn import GRU, LSTM, Transformer
from rowrnn.machine.default import default_backend
from rowrnn.models.line_reader import HANDWRITING, LineReader
from tests.helpers.cases import thinned

DEEP = {
    "channels": (2, 3, 3, 4, 4),
    "strides": ((1, 1), (2, 2), (2, 2), (2, 1)),
    "pool_rows": True,
    "residual": True,
    "shortcut": True,
    "layers": 2,
}

KINDS = [(GRU, {}), (LSTM, {"both_ways": False}), (None, {}), (LSTM, DEEP), (GRU, {"layers": 3, "both_ways": False})]


def reader(cell, channels=(2, 3, 4, 3, 4), height=12, **how):
    made = LineReader(height, 3, 5, cell=cell, channels=channels, **how, rngs=nnx.Rngs(0))
    # Biases of zero would hide what padding lets through.
    key = jax.random.key(1)
    return jax.tree.map(lambda a: a + 0.3 * jax.random.normal(key, a.shape) if a.ndim == 1 else a, made)


@pytest.mark.parametrize(
    ("cell", "how"),
    thinned([*KINDS, (Transformer, {})], 4),
)
def test_a_ragged_batch_is_its_lines_one_by_one(cell, how):
    model = reader(cell, **how)
    images = jax.random.normal(jax.random.key(2), (3, 12, 18, 1))  # what lies beyond a width is no zero
    widths = np.array([18, 5, 1])
    read = jax.jit(type(model).__call__)

    def second(images):
        scores = model(images, widths)
        return jnp.square(scores[1, :2]).sum(), scores

    gradient, together = jax.jit(jax.grad(second, has_aux=True))(images)
    assert together.shape == (3, 5, 4)
    assert np.abs(gradient[1, :, :5]).max() > 0
    assert not np.asarray(gradient[1, :, 5:]).any()
    for image, width, scores in zip(images, widths, together, strict=True):
        alone = read(model, image[None, :, :width])[0]
        assert len(alone) == -(-width // 4)
        np.testing.assert_allclose(scores[: len(alone)], alone, atol=1e-5)


@pytest.mark.parametrize(("cell", "how"), thinned([(LSTM, {}), (GRU, {"channels": (2, 3, 4)}), (LSTM, DEEP)], 3))
def test_a_line_followed_strip_by_strip_is_the_whole_line(cell, how):
    model = reader(cell, **how, both_ways=False)
    images = jax.random.normal(jax.random.key(3), (2, 12, 20, 1))
    begin, step, read = (jax.jit(f) for f in (LineReader.initial_state, LineReader.step, LineReader.__call__))
    state, said = begin(model, images[:, :, :4]), []
    for left in range(0, 20, 4):
        state, scores = step(model, state, images[:, :, left : left + 4])
        said.append(scores)
    np.testing.assert_allclose(np.stack(said, axis=1), read(model, images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_strips_of_half_precision_are_followed_in_a_loop():
    model = reader(GRU, (2, 3, 4), both_ways=False)
    strips = jax.random.normal(jax.random.key(2), (3, 2, 12, 4, 1), jnp.bfloat16)
    _, scores = jax.jit(lambda strips: jax.lax.scan(model.step, model.initial_state(strips[0]), strips))(strips)
    whole = jnp.concatenate(list(strips.astype(jnp.float32)), axis=2)
    np.testing.assert_allclose(jnp.swapaxes(scores, 0, 1), jax.jit(model)(whole), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "how",
    thinned(
        [
            {"channels": (2, 3, 4)},
            {"channels": (2, 3, 4, 3)},
            {},
            DEEP,
            {**DEEP, "pool_rows": False},
            {"residual": True},
        ],
        3,
    ),
)
@pytest.mark.parametrize("height", [12, 7])
def test_a_reader_is_its_convolutions_and_layers_in_numpy(how, height):
    model = reader(None, height=height, **how)
    image = np.random.default_rng(0).normal(size=(height, 8))
    x = image[:, :, None]
    steps = how.get("strides", ((2, 2), (2, 2), (2, 1)))
    steps = (*(*steps, (1, 1), (1, 1))[: len(model.convolutions) - 1], (1, 1))
    for convolution, norm, (down, right) in zip(model.convolutions, (None, *model.norms), steps, strict=True):
        kernel, bias = (np.asarray(a[...], np.float64) for a in (convolution.kernel, convolution.bias))
        over_all = convolution is model.convolutions[-1] and not how.get("pool_rows")
        high, around = (len(x), 0) if over_all else (3, 1)
        padded = np.pad(x, ((around, around), (3 - right, 0), (0, 0)))
        rows, columns = 1 if over_all else -(-x.shape[0] // down), -(-x.shape[1] // right)
        out = np.zeros((rows, columns, len(bias)))
        for r, c in np.ndindex(rows, columns):
            window = padded[down * r : down * r + high, right * c : right * c + 3]
            out[r, c] = np.einsum("ijk,ijko->o", window, kernel) + bias
        if norm:
            spread = np.sqrt(out.var(axis=-1, keepdims=True) + 1e-2)
            normal = (out - out.mean(axis=-1, keepdims=True)) / spread
            out = normal * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
        added = how.get("residual") and (down, right) == (1, 1) and not over_all and out.shape == x.shape
        x = np.maximum(out + x if added else out, 0)
    x = x.max(axis=0)
    between, head = model.layer, model.head
    hidden = np.maximum(x @ np.asarray(between.kernel[...]) + np.asarray(between.bias[...]), 0)
    expected = hidden @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...])
    given = jnp.asarray(image, jnp.float32)[None, :, :, None]
    found = jax.jit(model)(given)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    if how.get("shortcut"):
        scores, early = jax.jit(LineReader.with_shortcut)(model, given)
        np.testing.assert_allclose(scores, found, atol=1e-6)
        np.testing.assert_allclose(
            early[0], x @ np.asarray(model.shortcut.kernel[...]) + np.asarray(model.shortcut.bias[...]), atol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "how"), thinned([(GRU, {}), (LSTM, DEEP), (None, {})], 3))
def test_an_exported_reader_takes_any_number_of_lines_of_any_width(cell, how):
    model = reader(cell, **how)
    b, w = export.symbolic_shape("b, w")
    shapes = (jax.ShapeDtypeStruct((b, 12, w, 1), jnp.float32), jax.ShapeDtypeStruct((b,), jnp.int32))
    with default_backend("plain"):
        program = export.export(jax.jit(lambda *lines: model(*lines)), platforms=("cpu", "cuda"))(*shapes)
    whole = jax.jit(model)
    for lines, columns in ((1, 1), (2, 4), (3, 18), (1, 23)):
        images = jax.random.normal(jax.random.key(columns), (lines, 12, columns, 1))
        widths = jnp.maximum(columns - jnp.arange(lines, dtype=jnp.int32), 1)
        read = program.call(images, widths)
        assert read.shape == (lines, -(-columns // 4), 4)
        for line, width, expected in zip(read, widths, whole(images, widths), strict=True):
            np.testing.assert_allclose(line[: -(-width // 4)], expected[: -(-width // 4)], atol=1e-5)


def test_a_reader_of_handwriting_has_somewhat_less_than_a_million_parameters():
    model = nnx.eval_shape(lambda: LineReader(40, 100, 128, cell=LSTM, **HANDWRITING, rngs=nnx.Rngs(0)))
    sizes = (1, 8, 16, 32, 64, 64, 96)
    convolutions = sum(9 * i * o + o for i, o in itertools.pairwise(sizes)) + 2 * sum(sizes[2:])
    cells = 2 * sum(4 * 128 * (features + 128 + 1) for features in (96, 2 * 128))
    heads = (96 + 1) * 101 + (2 * 128 + 1) * 101
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert parameters == convolutions + cells + heads
    assert 7e5 < parameters < 8e5


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_is_for_training(layers):
    model = reader(GRU, dropout=0.5, layers=layers)
    images = jax.random.normal(jax.random.key(3), (1, 12, 8, 1))
    quiet, noisy = jax.jit(model), jax.jit(lambda images, key: model(images, key=key))
    one, two = (noisy(images, jax.random.key(k)) for k in (0, 1))
    assert np.abs(np.asarray(one - two)).max() > 1e-3
    assert np.abs(np.asarray(one - quiet(images))).max() > 1e-3


WIDE = np.zeros((2, 12, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("images", "widths", "message"),
    [
        (WIDE[..., 0], None, r"takes floating-point images \[b, 12, w, 1\]"),
        (WIDE[:, :11], None, r"not float32 of shape \[2, 11, 8, 1\]"),
        (WIDE[:, :, :0], None, r"b and columns at least 1, not float32 of shape \[2, 12, 0, 1\]"),
        (WIDE.astype(np.uint8), None, "not uint8"),
        (WIDE, [8, 0], "1 to 8 columns wide; the widths run from 0 to 8. Leave out empty lines"),
        (WIDE, [9, 8], "the widths run from 8 to 9"),
        (WIDE, [8], r"one integer for each of 2 lines, not int32 \[1\]"),
        (WIDE, [8.0, 7.0], "one integer for each of 2 lines, not float"),
    ],
)
def test_lines_that_cannot_be_read(images, widths, message):
    widths = None if widths is None else np.array(widths)
    with pytest.raises(ValueError, match=message):
        reader(GRU)(images, widths)


def test_strips_that_cannot_be_followed():
    strip = jnp.zeros((1, 12, 4, 1))
    with pytest.raises(ValueError, match="a cell that reads from the left: make it with a cell and both_ways=False"):
        reader(GRU).initial_state(strip)
    with pytest.raises(ValueError, match=r"images \[b, 12, 4, 1\]"):
        reader(GRU, both_ways=False).initial_state(strip[:, :, :3])
    with pytest.raises(ValueError, match="at least one row, class, unit, layer and channel of each of 3 or more conv"):
        LineReader(12, 0, 5, cell=GRU, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"reduce 4 columns to one, by strides .* not by \[\(2, 2\), \(2, 1\)"):
        reader(GRU, strides=((2, 2), (2, 1)))
    with pytest.raises(ValueError, match="of 1 to 3"):
        reader(GRU, strides=((2, 4),))
    with pytest.raises(ValueError, match="no shortcut: make it with shortcut=True"):
        reader(GRU).with_shortcut(strip)
    with pytest.raises(ValueError, match="dropout is a probability"):
        reader(GRU, dropout=1.0)
