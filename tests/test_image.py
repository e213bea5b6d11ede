"""Rows of images as steps: how pixels become features, and that rows one by one are the whole image."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import nnx

from rowrnn.cells import GRU, LSTM, Elman
from rowrnn.image import RowGRU, RowLSTM, Rows, rows

BATCH, HEIGHT, WIDTH, CHANNELS, HIDDEN = 3, 4, 3, 2, 5
KINDS = {
    "elman": lambda features, hidden, rngs: Rows(Elman(features, hidden, rngs=rngs)),
    "gru": RowGRU,
    "lstm": RowLSTM,
}
every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def make_layer(kind, features):
    return oracle.random_cell(lambda: KINDS[kind](features, HIDDEN, rngs=nnx.Rngs(0)), np.random.default_rng(0))


def make_images(*shape):
    return oracle.draw(np.random.default_rng(1), *shape).astype(np.float32)


def interleaved(images):
    """Rows as features by the definition: pixel by pixel, the channels of a pixel side by side."""
    batch, height, width, channels = images.shape
    sequences = np.zeros((batch, height, width * channels), images.dtype)
    for w in range(width):
        for c in range(channels):
            sequences[:, :, w * channels + c] = images[:, :, w, c]
    return sequences


def test_rows_interleave_channels():
    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    np.testing.assert_array_equal(rows(images), interleaved(images))
    gray = make_images(BATCH, HEIGHT, WIDTH)
    np.testing.assert_array_equal(rows(gray), gray)
    np.testing.assert_array_equal(rows(gray[..., None]), gray)


def test_row_lstm_of_one_image():
    layer = RowLSTM(20, 50, rngs=nnx.Rngs(0))
    images = make_images(1, 10, 20)
    outputs = layer(images)
    assert outputs.shape == (1, 10, 50)
    assert outputs.dtype == jnp.float32
    expected, _ = oracle.run("lstm", oracle.parameters_of(layer.cell), images)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True], ids=["down", "up"])
@every_kind
def test_images_with_channels_are_the_oracles(kind, reverse):
    layer = make_layer(kind, WIDTH * CHANNELS)
    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    heights = np.asarray([2, 0, 4])
    outputs = layer(images, heights=heights, reverse=reverse)
    parameters = oracle.parameters_of(layer.cell)
    expected, _ = oracle.run(kind, parameters, interleaved(images), lengths=heights, reverse=reverse)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    assert not np.asarray(outputs)[0, 2:].any()
    assert not np.asarray(outputs)[1].any()


def test_gray_images_need_no_channel_axis():
    kind = "gru"
    layer = make_layer(kind, WIDTH)
    images = make_images(BATCH, HEIGHT, WIDTH)
    expected, _ = oracle.run(kind, oracle.parameters_of(layer.cell), images)
    for form in (images, images[..., None]):
        np.testing.assert_allclose(layer(form), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(layer(images), layer(images[..., None]))


@pytest.mark.parametrize("channels", [None, CHANNELS], ids=["gray", "channels"])
@every_kind
def test_rows_one_by_one_are_the_whole_image(kind, channels):
    shape = (BATCH, HEIGHT, WIDTH) if channels is None else (BATCH, HEIGHT, WIDTH, channels)
    images = make_images(*shape)
    layer = make_layer(kind, WIDTH * (channels or 1))
    sequences = interleaved(images.reshape(BATCH, HEIGHT, WIDTH, -1))
    expected, last = oracle.run(kind, oracle.parameters_of(layer.cell), sequences)
    whole = layer(images)
    state = layer.initial_state(images[:, 0])
    assert all(leaf.shape == (BATCH, HIDDEN) and not leaf.any() for leaf in jax.tree.leaves(state))
    for row in range(HEIGHT):
        state, output = layer.step(state, images[:, row])
        np.testing.assert_allclose(output, expected[:, row], rtol=0, atol=1e-5)
        np.testing.assert_allclose(output, whole[:, row], rtol=0, atol=1e-6)
    for leaf, value in zip(jax.tree.leaves(state), last, strict=True):
        np.testing.assert_allclose(leaf, value, rtol=0, atol=1e-5)


@every_kind
def test_gates_of_every_row_recompute_the_outputs(kind):
    layer = make_layer(kind, WIDTH * CHANNELS)
    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    expected, _ = oracle.run(kind, oracle.parameters_of(layer.cell), interleaved(images))
    gates = {name: np.asarray(value, np.float64) for name, value in layer.gates(images).items()}
    assert all(value.shape == (BATCH, HEIGHT, HIDDEN) for value in gates.values())
    hidden = memory = np.zeros((BATCH, HIDDEN))
    for row in range(HEIGHT):
        gate = {name: value[:, row] for name, value in gates.items()}
        if kind == "lstm":
            memory = gate["forget"] * memory + gate["input"] * gate["cell"]
            hidden = gate["output"] * np.tanh(memory)
        elif kind == "gru":
            hidden = (1 - gate["update"]) * gate["candidate"] + gate["update"] * hidden
        else:
            hidden = gate["candidate"]
        np.testing.assert_allclose(hidden, expected[:, row], rtol=0, atol=1e-5)


def test_constructors_pass_their_options_on():
    lstm = RowLSTM(WIDTH, HIDDEN, forget_bias=-0.5, rngs=nnx.Rngs(0))
    assert isinstance(lstm.cell, LSTM)
    np.testing.assert_array_equal(lstm.cell.bias[...], np.repeat([0, -0.5, 0, 0], HIDDEN).astype(np.float32))
    assert isinstance(RowGRU(WIDTH, HIDDEN, rngs=nnx.Rngs(0)).cell, GRU)
    for layer in (RowLSTM, RowGRU):
        shapes = jax.eval_shape(lambda layer=layer: layer(WIDTH, HIDDEN, dtype=jnp.float16, rngs=nnx.Rngs(0)))
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float16)}


# Errors.


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (1, BATCH, HEIGHT, WIDTH, 1), (WIDTH,)], ids=str)
def test_images_of_another_rank(shape):
    message = rf"shape \[b, h, w\] or \[b, h, w, c\], not {list(shape)}".replace("not [", r"not \[")
    with pytest.raises(ValueError, match=message):
        rows(make_images(*shape))
    with pytest.raises(ValueError, match=r"a single image becomes a batch with image\[None\]"):
        make_layer("lstm", WIDTH)(make_images(*shape))


@pytest.mark.parametrize("shape", [(BATCH, HEIGHT, 4), (BATCH, HEIGHT, WIDTH, CHANNELS)], ids=["width", "channels"])
def test_images_of_another_width(shape):
    given = [*shape[:2], int(np.prod(shape[2:]))]
    with pytest.raises(ValueError, match=rf"d = 3 features, and was given \[{given[0]}, {given[1]}, {given[2]}\]"):
        make_layer("gru", WIDTH)(make_images(*shape))


@pytest.mark.parametrize("shape", [(BATCH, 4), (BATCH, WIDTH, CHANNELS), (WIDTH,), (1, BATCH, WIDTH, 1)], ids=str)
def test_rows_that_do_not_fit(shape):
    layer = make_layer("lstm", WIDTH)
    state = layer.initial_state(make_images(BATCH, WIDTH))
    message = rf"\[b, w\] or \[b, w, c\] with w·c = 3, not \[{', '.join(map(str, shape))}\]"
    with pytest.raises(ValueError, match=message):
        layer.step(state, make_images(*shape))
    with pytest.raises(ValueError, match=message):
        layer.initial_state(make_images(*shape))


def test_heights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"between 0 and t = 4.*from 0 to 5"):
        make_layer("lstm", WIDTH)(make_images(BATCH, HEIGHT, WIDTH), heights=np.asarray([5, 0, 1]))


def test_integer_images_ask_for_floats():
    with pytest.raises(TypeError, match="floating-point sequences and was given uint8: convert and scale them first"):
        make_layer("lstm", WIDTH)(np.zeros((BATCH, HEIGHT, WIDTH), np.uint8))


def test_an_empty_batch_gives_empty_outputs():
    layer = make_layer("gru", WIDTH)
    assert layer(jnp.zeros((0, HEIGHT, WIDTH))).shape == (0, HEIGHT, HIDDEN)
    assert layer.initial_state(jnp.zeros((0, WIDTH))).shape == (0, HIDDEN)
