"""Rows of images as steps: how pixels become features, and that rows one by one are the whole image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU, LSTM, Elman
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.orders import ORDERS, Order
from rowrnn.image.renet import ReNet
from rowrnn.image.rows import RowGRU, RowLSTM, Rows, image_rows
from rowrnn.sequence import Recurrent, Stack
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import make_cell

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
    np.testing.assert_array_equal(image_rows(images), interleaved(images))
    gray = make_images(BATCH, HEIGHT, WIDTH)
    np.testing.assert_array_equal(image_rows(gray), gray)
    np.testing.assert_array_equal(image_rows(gray[..., None]), gray)


def test_row_lstm_of_one_image():
    layer = RowLSTM(20, 50, rngs=nnx.Rngs(0))
    images = make_images(1, 10, 20)
    outputs, _ = layer(images)
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
    outputs, _ = layer(images, heights=heights, reverse=reverse)
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
        np.testing.assert_allclose(layer(form)[0], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(layer(images)[0], layer(images[..., None])[0])


@pytest.mark.parametrize("channels", [None, CHANNELS], ids=["gray", "channels"])
@every_kind
def test_rows_one_by_one_are_the_whole_image(kind, channels):
    shape = (BATCH, HEIGHT, WIDTH) if channels is None else (BATCH, HEIGHT, WIDTH, channels)
    images = make_images(*shape)
    layer = make_layer(kind, WIDTH * (channels or 1))
    sequences = interleaved(images.reshape(BATCH, HEIGHT, WIDTH, -1))
    expected, last = oracle.run(kind, oracle.parameters_of(layer.cell), sequences)
    whole, _ = layer(images)
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
        image_rows(make_images(*shape))
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


def test_a_state_of_another_batch():
    layer = make_layer("lstm", WIDTH)
    state = layer.initial_state(make_images(BATCH, WIDTH))
    with pytest.raises(ValueError, match=r"a state of shape \[1, \d\] and was given \[3, \d\]"):
        layer.step(state, make_images(1, WIDTH))


def test_heights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"between 0 and t = 4.*from 0 to 5"):
        make_layer("lstm", WIDTH)(make_images(BATCH, HEIGHT, WIDTH), heights=np.asarray([5, 0, 1]))


def test_integer_images_ask_for_floats():
    with pytest.raises(TypeError, match="floating-point sequences and was given uint8: convert and scale them first"):
        make_layer("lstm", WIDTH)(np.zeros((BATCH, HEIGHT, WIDTH), np.uint8))


def test_an_empty_batch_gives_empty_outputs():
    layer = make_layer("gru", WIDTH)
    assert layer(jnp.zeros((0, HEIGHT, WIDTH)))[0].shape == (0, HEIGHT, HIDDEN)
    assert layer.initial_state(jnp.zeros((0, WIDTH))).shape == (0, HIDDEN)


# Other orders.


def scan_of(order, layer=None, **options):
    features = WIDTH * CHANNELS if layer is None else layer.features
    return ImageScan(make_cell("gru", features=features) if layer is None else layer, order, **options)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_rows_of_an_image_scan_are_rows(kind):
    layer = make_layer(kind, WIDTH * CHANNELS)
    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    grid, state = ImageScan(layer.cell)(images)
    np.testing.assert_array_equal(grid[:, :, 0], layer(images)[0])
    np.testing.assert_array_equal(jax.tree.leaves(state)[0], layer(images)[0][:, -1])


def test_columns_are_rows_of_the_image_turned():
    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    cell = make_cell("gru", features=HEIGHT * CHANNELS)
    grid, _ = ImageScan(cell, "columns")(images)
    assert grid.shape == (BATCH, 1, WIDTH, HIDDEN)
    np.testing.assert_allclose(grid[:, 0], Rows(cell)(images.swapaxes(1, 2))[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["across", "down"])
def test_lines_are_sequences_of_their_own(order):
    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    cell = make_cell("lstm", features=CHANNELS)
    grid, state = ImageScan(cell, order)(images)
    lines = (
        images.reshape(-1, WIDTH, CHANNELS)
        if order == "across"
        else images.swapaxes(1, 2).reshape(-1, HEIGHT, CHANNELS)
    )
    expected, last = oracle.run("lstm", oracle.parameters_of(cell), lines)
    shape = (BATCH, HEIGHT, WIDTH, HIDDEN) if order == "across" else (BATCH, WIDTH, HEIGHT, HIDDEN)
    expected = expected.reshape(shape) if order == "across" else expected.reshape(shape).swapaxes(1, 2)
    np.testing.assert_allclose(grid, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(state.hidden, last[0], rtol=0, atol=1e-5)


def test_an_own_order_and_a_stack():
    def upwards(height, width):
        rows = ORDERS["rows"](height, width)
        return Order(rows.size, rows.pixels[:, ::-1], rows.places[::-1])

    images = make_images(BATCH, HEIGHT, WIDTH, CHANNELS)
    layer = Stack([make_cell("gru", features=WIDTH * CHANNELS), make_cell("gru", features=HIDDEN)])
    grid, _ = ImageScan(layer, upwards)(images)
    expected, _ = layer(image_rows(images[:, ::-1]))
    np.testing.assert_allclose(grid[:, ::-1, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("order", thinned(sorted({*ORDERS} - {"permuted", "permuted_rows", "diagonal", "snake"}), 2))
def test_images_of_other_sizes_are_the_cut_ones(order, reverse):
    size, heights, widths = (4, 6), (2, 4, 4), (6, 4, 2)
    images = make_images(BATCH, *size, CHANNELS)
    features = ORDERS[order](*size).pixels.shape[-1] * CHANNELS
    layer = ImageScan(Recurrent(make_cell("gru", features=features), reverse=reverse), order)
    run = jax.jit(lambda layer, images, **sizes: layer(images, **sizes)[0])
    grid = run(
        layer,
        np.where(within_sizes(size, heights, widths)[..., None], images, np.nan).astype(np.float32),
        heights=np.asarray(heights),
        widths=np.asarray(widths),
    )
    assert np.isfinite(grid).all()
    for k, (h, w) in enumerate(zip(heights, widths, strict=True)):
        # A step takes a whole row or column, so that only where it takes one pixel both sizes can be cut.
        cut = images[k : k + 1, :h, :w]
        if order == "rows":
            cut = np.pad(cut, ((0, 0), (0, 0), (0, size[1] - w), (0, 0)))
        if order == "columns":
            cut = np.pad(cut, ((0, 0), (0, size[0] - h), (0, 0), (0, 0)))
        expected = run(layer, cut)
        gh, gw = expected.shape[1:3]
        np.testing.assert_allclose(grid[k : k + 1, :gh, :gw], expected, rtol=0, atol=1e-5)
        assert not np.asarray(grid)[k, gh:].any()
        assert not np.asarray(grid)[k, :, gw:].any()


def within_sizes(size, heights, widths):
    rows, columns = np.arange(size[0])[None, :, None], np.arange(size[1])[None, None, :]
    return (rows < np.asarray(heights)[:, None, None]) & (columns < np.asarray(widths)[:, None, None])


def make_renet(hidden=4, patch=(2, 2), **options):
    return oracle.random_cell(
        lambda: ReNet(CHANNELS, hidden, patch, rngs=nnx.Rngs(0), **options), np.random.default_rng(0)
    )


@pytest.mark.parametrize("cell", [GRU, LSTM], ids=["gru", "lstm"])
def test_renet_is_four_sweeps_of_the_oracle(cell):
    kind = cell.__name__.lower()
    layer = make_renet(patch=(2, 3), cell=cell)
    images = make_images(BATCH, 4, 6, CHANNELS)
    grid, _ = layer(images)
    patches = images.reshape(BATCH, 2, 2, 2, 3, CHANNELS).transpose(0, 1, 3, 2, 4, 5).reshape(BATCH, 2, 2, -1)

    def both_ways(sequences, bidirectional):
        return np.concatenate(
            [
                oracle.run(kind, oracle.parameters_of(side.cell), sequences, reverse=side.reverse)[0]
                for side in (bidirectional.forward, bidirectional.backward)
            ],
            axis=-1,
        )

    columns = patches.transpose(0, 2, 1, 3).reshape(BATCH * 2, 2, -1)
    down = both_ways(columns, layer.vertical.layer).reshape(BATCH, 2, 2, -1).transpose(0, 2, 1, 3)
    across = both_ways(down.reshape(BATCH * 2, 2, -1), layer.horizontal.layer)
    np.testing.assert_allclose(grid, across.reshape(BATCH, 2, 2, -1), rtol=0, atol=1e-5)


def test_renet_sees_the_whole_image_and_a_row_scan_what_lies_above():
    images = jnp.asarray(make_images(1, 6, 4, CHANNELS))

    def influence(layer):
        """Of every place of the grid, which pixels change it: `[gh, gw, h, w]`."""
        by_pixel = jax.jit(jax.jacrev(lambda images: layer(images)[0][0]))(images)
        return np.abs(by_pixel[:, :, :, 0]).max(axis=(2, 5)) > 0

    assert influence(make_renet()).all()
    seen = influence(scan_of("rows", make_cell("gru", features=4 * CHANNELS)))
    row, pixel_row = np.arange(6)[:, None], np.arange(6)[None, :]
    np.testing.assert_array_equal(seen.all(axis=(1, 3)), pixel_row <= row)
    np.testing.assert_array_equal(seen.any(axis=(1, 3)), pixel_row <= row)


def test_renets_stack_like_convolution_blocks():
    images = make_images(BATCH, 8, 4, CHANNELS)
    first = make_renet(hidden=3)
    second = oracle.random_cell(lambda: ReNet(6, 5, (2, 1), rngs=nnx.Rngs(0)), np.random.default_rng(1))
    grid, _ = second(first(images)[0])
    assert grid.shape == (BATCH, 2, 2, 10)


def test_renet_of_images_of_other_sizes_is_that_of_the_cut_ones():
    layer = make_renet()
    heights, widths = (4, 2, 3), (6, 4, 5)  # Patches of 2x2: the last image ends within one.
    images = make_images(BATCH, 4, 6, CHANNELS)
    within = within_sizes((4, 6), heights, widths)[..., None]
    grid, _ = layer(
        np.where(within, images, np.nan).astype(np.float32),
        heights=np.asarray(heights, np.uint8),
        widths=np.asarray(widths),
    )
    for k, (h, w) in enumerate([(4, 6), (2, 4), (4, 6)]):
        expected, _ = layer(np.where(within, images, 0)[k : k + 1, :h, :w])
        np.testing.assert_allclose(grid[k : k + 1, : h // 2, : w // 2], expected, rtol=0, atol=1e-5)
        assert not np.asarray(grid)[k, h // 2 :].any()


def test_renets_sweeps_have_states_and_keys_of_their_own():
    layer = make_renet()
    images = jnp.asarray(make_images(1, 4, 4, CHANNELS))
    grid, (vertical, horizontal) = layer(images)
    moved, _ = layer(images, initial_state=(vertical, jax.tree.map(jnp.zeros_like, horizontal)))
    assert np.abs(moved - grid).max() > 1e-3
    expected, _ = layer.vertical(images, initial_state=vertical)
    expected, _ = layer.horizontal(expected)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-6)


def test_image_scans_that_do_not_fit():
    with pytest.raises(ValueError, match="Expected heights between 0 and 4; they run from 2 to 9"):
        scan_of("rows")(jnp.zeros((2, HEIGHT, WIDTH, CHANNELS)), heights=np.asarray([9, 2]))
    with pytest.raises(ValueError, match=r"one of widths for each of 2 images, not \[3\]"):
        scan_of("rows")(jnp.zeros((2, HEIGHT, WIDTH, CHANNELS)), widths=np.asarray([1, 1, 1]))
    with pytest.raises(TypeError, match="integer heights, not float32"):
        scan_of("rows")(jnp.zeros((1, HEIGHT, WIDTH, CHANNELS)), heights=np.ones(1, np.float32))
    with pytest.raises(ValueError, match="makes its mask of heights and widths"):
        scan_of("rows")(jnp.zeros((1, HEIGHT, WIDTH, CHANNELS)), mask=np.ones((1, HEIGHT), bool))
    with pytest.raises(ValueError, match="There is no order 'zigzag'; there are rows, columns, pixels"):
        ImageScan(make_cell("gru"), "zigzag")
    with pytest.raises(ValueError, match=r"shape \[b, h, w, c\], not \[3, 4, 3\]"):
        scan_of("rows")(jnp.zeros((3, 4, 3)))
    with pytest.raises(ValueError, match=r"d = 6 features, and was given \[1, 4, 8\]"):
        scan_of("rows")(jnp.zeros((1, HEIGHT, 4, CHANNELS)))
    with pytest.raises(ValueError, match="Patches of 2x2 do not divide an image of 5x4"):
        make_renet()(jnp.zeros((1, 5, 4, CHANNELS)))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("layer", "given", "message"),
    [
        (Rows, nnx.GRUCell, "Rows takes cells of rowrnn, not flax.nnx.*GRUCell"),
        (ImageScan, nnx.GRUCell, "ImageScan takes cells of rowrnn, not flax.nnx.*GRUCell"),
        (ImageScan, RowLSTM, "not rowrnn.image.rows.RowLSTM: give its cell"),
    ],
)
def test_what_is_no_cell_is_refused_when_a_layer_is_made(layer, given, message):
    with pytest.raises(TypeError, match=message):
        layer(given(4, 5, rngs=nnx.Rngs(0)))


def test_rows_take_heights_or_lengths_not_both():
    layer, images = make_layer("gru", WIDTH), jnp.ones((2, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="takes heights or lengths, which are the same here, not both"):
        layer(images, heights=[4, 2], lengths=[3, 2])
    np.testing.assert_array_equal(layer(images, lengths=[4, 2])[0], layer(images, heights=[4, 2])[0])
