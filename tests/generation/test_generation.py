"""Models of images pixel by pixel: layers against loops in float64, probabilities that sum to 1, and no peeking."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, Stack, Transformer
from rowrnn.generation import GatedPixelCNN, PixelRNN, PixelScan, causality, first_peek
from rowrnn.generation import pixel_rnn as rnn
from rowrnn.generation.diagonal_layer import DiagonalLSTMLayer, skewed, straight
from rowrnn.generation.masked_convolution import MaskedConv, kernel_mask, own_mask
from rowrnn.generation.row_layer import RowLSTMLayer
from rowrnn.sequence import Recurrent
from tests.helpers.cases import thinned


def models(colours=1, levels=2, mixture=0):
    how = {"colours": colours, "levels": levels, "mixture": mixture}
    rngs = nnx.Rngs(0)
    layers = [Recurrent(GRU(1 + colours, 5, rngs=rngs)), Recurrent(GRU(5, 4, rngs=rngs))]
    return {
        "row": PixelRNN("row", 3, blocks=2, **how, rngs=rngs),
        "diagonal": PixelRNN("diagonal", 3, blocks=2, **how, rngs=rngs),
        "gated": GatedPixelCNN(6, blocks=2, **how, rngs=rngs),
        "scan": PixelScan(Stack(layers), **how, rngs=rngs),
        "permuted": PixelScan(GRU(1 + colours, 4, rngs=rngs), "permuted", seed=1, **how, rngs=rngs),
        "transformer": PixelScan(Transformer(1 + colours, 4, heads=2, causal=True, rngs=rngs), **how, rngs=rngs),
    }


def drawn(model, seed=0):
    """The model with random weights of float64, none of them zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape)), model)


def test_masks_by_loops():
    # Of three colours with two features each, red, red, green, green, blue, blue.
    colour = lambda feature: feature // 2  # noqa: E731
    for kind in ("A", "B"):
        mask = own_mask(6, 6, kind, 3)
        for source, target in np.ndindex(6, 6):
            expected = colour(source) <= colour(target) if kind == "B" else colour(source) < colour(target)
            assert mask[source, target] == expected
        whole = kernel_mask((3, 5), 6, 6, kind, 3)
        assert whole.shape == (2, 5, 6, 6)
        for row, column in np.ndindex(2, 5):
            before = row < 1 or (row == 1 and column < 2)
            centre = (row, column) == (1, 2)
            np.testing.assert_array_equal(whole[row, column], mask if centre else np.full((6, 6), before))
        np.testing.assert_array_equal(kernel_mask((1, 5), 6, 6, kind, 3), whole[1:, :3])
    with pytest.raises(ValueError, match="Each of 3 colours needs a feature of its own; there are 2"):
        own_mask(2, 6, "B", 3)


def test_skewed_rows_begin_further_right():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3, 2)))
    found = skewed(x)
    expected = np.zeros((2, 4, 6, 2))
    for row in range(4):
        expected[:, row, row : row + 3] = x[:, row]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(straight(found), x)


def lstm(gates, cell):
    i, f, g, o = jnp.split(gates, 4)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def row_by_loops(layer, x):
    """A Row LSTM pixel by pixel, of one image `[h, w, features]`."""
    height, width, _ = x.shape
    kernel, recurrent, bias = (
        part[...] for part in (layer.cell.input_kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    )
    hidden = layer.cell.hidden
    states = {(-1, column): (layer.first_hidden[...], layer.first_cell[...]) for column in range(width)}
    for row, column in np.ndindex(height, width):
        gates = bias
        for offset in (-1, 0, 1):
            beside = column + offset
            if not 0 <= beside < width:
                continue
            if offset <= 0:
                weights = kernel[0, offset + 1]
                own = np.tile(own_mask(x.shape[2], hidden, "B", layer.cell.colours), 4).astype(np.float64)
                mask = own if offset == 0 else 1.0
                gates = gates + x[row, beside] @ (weights * mask)
            gates = gates + states[row - 1, beside][0] @ recurrent[0, offset + 1]
        states[row, column] = lstm(gates, states[row - 1, column][1])
    return jnp.stack([jnp.stack([states[row, column][0] for column in range(width)]) for row in range(height)])


def diagonal_by_loops(layer, x):
    """A Diagonal BiLSTM pixel by pixel, of one image `[h, w, features]`."""
    height, width, _ = x.shape
    total: dict = {}
    for cell, step in ((layer.left, 1), (layer.right, -1)):
        kernel, recurrent, bias = (part[...] for part in (cell.input_kernel, cell.recurrent_kernel, cell.bias))
        mask = np.tile(own_mask(x.shape[2], cell.hidden, "B", cell.colours), 4).astype(np.float64)
        first = (jnp.tanh(cell.first_cell[...]), cell.first_cell[...])
        states = {}
        for row in range(height):
            for column in range(width)[::step]:
                beside = states.get((row, column - step), first)
                above = states.get((row - 1, column), first)
                gates = (
                    bias
                    + x[row, column] @ (kernel[0, 0] * mask)
                    + above[0] @ recurrent[0, 0]
                    + beside[0] @ recurrent[1, 0]
                )
                states[row, column] = lstm(gates, beside[1])
        for row, column in np.ndindex(height, width):
            down = row if step == 1 else row + 1  # Those from the right are moved down.
            total[down, column] = total.get((down, column), 0) + states[row, column][0]
    return jnp.stack([jnp.stack([total[row, column] for column in range(width)]) for row in range(height)])


@pytest.mark.parametrize("colours", thinned([3, 1], 2))
@pytest.mark.parametrize(("kind", "loops"), [(RowLSTMLayer, row_by_loops), (DiagonalLSTMLayer, diagonal_by_loops)])
def test_layers_are_loops_over_pixels(kind, loops, colours):
    with jax.enable_x64(True):
        layer = drawn(kind(2 * colours, 3, colours=colours, rngs=nnx.Rngs(0)))
        x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3, 2 * colours)))

        def total(f):
            return jax.jit(jax.value_and_grad(lambda layer, x: jnp.sin(f(layer, x)).sum(), argnums=(0, 1)))

        found, slopes = total(lambda layer, x: layer(x[None])[0])(layer, x)
        expected, true = total(loops)(layer, x)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        for one, other in zip(jax.tree.leaves(slopes), jax.tree.leaves(true), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes)) > 0.1


@pytest.mark.parametrize("name", models())
def test_the_probabilities_of_all_images_sum_to_one(name):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        model = drawn(models()[name])
        images = np.array(list(itertools.product((0, 1), repeat=9)), np.int32).reshape(-1, 3, 3, 1)
        total = np.exp(np.asarray(jax.jit(lambda model, images: model(images))(model, images), np.float64)).sum()
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("mixture", thinned([2, 0], 2))
def test_the_probabilities_of_all_images_of_three_colours_and_levels_sum_to_one(mixture):
    for name in ("row", "diagonal", "gated", "scan"):
        model = models(colours=3, levels=3, mixture=mixture)[name]
        images = np.array(list(itertools.product((0, 1, 2), repeat=6)), np.int32).reshape(-1, 1, 2, 3)
        total = np.exp(np.asarray(jax.jit(lambda model, images: model(images))(model, images), np.float64)).sum()
        assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", models())
def test_changes_of_a_value_reach_no_earlier_prediction(name, monkeypatch):
    """Of the models as they are used, in float32, in values."""
    leaves, structure = jax.tree.flatten(models()[name])
    rng = np.random.default_rng(4)
    stirred = [jnp.asarray(rng.normal(0, 0.5, leaf.shape), jnp.float32) for leaf in leaves]
    model = jax.tree.unflatten(structure, stirred)
    monkeypatch.setattr("rowrnn.generation.certificate.AT_ONCE", 7)
    assert first_peek(model, rng.integers(0, 2, (5, 6, 1))) is None


def test_a_change_before_values_are_numbers_is_seen():
    class Centred(PixelRNN):
        def scaled(self, images):
            return super().scaled(images) - super().scaled(images).mean(axis=(1, 2, 3), keepdims=True)

    model = Centred("row", 3, blocks=1, rngs=nnx.Rngs(0))
    assert causality(model, (3, 4, 1)).passed
    assert first_peek(model, np.zeros((3, 4, 1), int)) is not None


@pytest.mark.parametrize("name", thinned(list(models()), 3))
def test_no_model_peeks(name):
    for shape in ((5, 6, 1), (1, 5, 1), (4, 3, 3)):
        found = causality(models(colours=shape[2])[name], shape, seeds=2)
        assert found.passed, found.in_words()
        assert found.sees.any()
        assert "No prediction sees" in found.in_words()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 7, 3)])
@pytest.mark.parametrize("name", models())
def test_no_model_peeks_at_images_of_usual_sizes(name, shape):
    found = causality(models(colours=shape[2])[name], shape, seeds=1)
    assert found.passed, found.in_words()


def test_what_a_model_is_blind_to():
    assert causality(models()["scan"], (5, 6, 1), seeds=3).blind == 0
    # The last value of a row is in no feature of its own row, and in those of the next one within the first kernel's
    # reach of three columns: a Diagonal BiLSTM, whose map from the right is moved down, misses it further left.
    found = causality(models()["diagonal"], (5, 6, 1), seeds=3)
    assert found.blind == 4 * 2
    assert not found.sees[1, :2, 0, 0, 5, 0].any()
    assert found.sees[1, 2:, 0, 0, 5, 0].all()


class Broken:
    """Each of the faults that are known of implementations, made in a layer or a mask."""

    @staticmethod
    def own_value(monkeypatch):
        """The first convolution sees the pixel itself."""
        monkeypatch.setattr(
            rnn,
            "MaskedConv",
            lambda i, o, kernel, kind, colours, rngs: MaskedConv(i, o, kernel, "B", colours, rngs=rngs),
        )
        return PixelRNN(
            "row", 3, blocks=1, rngs=nnx.Rngs(0)
        ), "row 0, column 0, colour 0 sees the value of row 0, column 0"

    @staticmethod
    def not_moved_down(monkeypatch):
        """The map from the right is added in its own row."""
        monkeypatch.setattr("rowrnn.generation.diagonal_layer.moved_down", lambda x: x)
        return PixelRNN(
            "diagonal", 3, blocks=1, rngs=nnx.Rngs(0)
        ), "row 0, column 0, colour 0 sees the value of row 0, column 0"

    @staticmethod
    def to_the_right(monkeypatch):
        """The input kernel of a Row LSTM looks to the right."""
        monkeypatch.setattr("rowrnn.generation.masked_cell.zeros_around", lambda kernel: ((0, 0), (0, kernel[1] // 2)))
        return PixelRNN(
            "row", 3, blocks=1, rngs=nnx.Rngs(0)
        ), "row 0, column 0, colour 0 sees the value of row 0, column 0"

    @staticmethod
    def vertical_of_own_row(monkeypatch):
        """What the vertical stack has seen of a pixel's own row reaches the horizontal one."""
        monkeypatch.setattr("rowrnn.generation.gated_pixel_cnn.moved_down", lambda x: x)
        return GatedPixelCNN(
            4, blocks=1, rngs=nnx.Rngs(0)
        ), "row 0, column 0, colour 0 sees the value of row 0, column 0"

    @staticmethod
    def colours_mixed(monkeypatch):
        """Within a pixel the features of every colour see those of all."""

        def mixed(inputs, outputs, kind, colours):
            return own_mask(inputs, outputs, kind, colours) | (kind == "B")

        monkeypatch.setattr("rowrnn.generation.masked_convolution.own_mask", mixed)
        return PixelRNN("row", 3, blocks=1, colours=3, rngs=nnx.Rngs(0)), ""


@pytest.fixture
def fresh():
    """Nothing that was compiled before, without the fault, or is compiled now, with it, is used again."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("fault", thinned(["own_value", "not_moved_down", "to_the_right", "vertical_of_own_row"], 2))
def test_a_model_that_peeks_is_caught(fault, monkeypatch):
    model, words = getattr(Broken, fault)(monkeypatch)
    found = causality(model, (4, 5, 1), seeds=2)
    assert not found.passed
    assert words in found.in_words()
    assert found.peeks is not None
    (row, column, _), (other, beside, _) = found.peeks
    assert 5 * other + beside >= 5 * row + column


@pytest.mark.usefixtures("fresh")
def test_colours_that_see_each_other_are_caught(monkeypatch):
    model, _ = Broken.colours_mixed(monkeypatch)
    found = causality(model, (2, 2, 3), seeds=2)
    assert found.peeks is not None
    (row, column, colour), (other, beside, of) = found.peeks
    assert (row, column, colour, other, beside, of) == (0, 0, 0, 0, 0, 0)


def test_what_does_not_fit():
    model = models()["row"]
    compiled = jax.jit(lambda model, images: model(images))
    assert np.isnan(compiled(model, np.full((1, 2, 2, 1), 7, np.int32))).all()
    for images in (np.zeros((1, 3, 3, 3), np.int32), np.zeros((3, 3, 1), np.int32), np.zeros((1, 3, 3, 1), np.float32)):
        with pytest.raises(ValueError, match=r"takes images \[b, h, w, 1\] of whole numbers from 0 to 1, not"):
            model(images)
    with pytest.raises(ValueError, match=r"from 0 to 1; these run from 0 to 255\. Draw binary images from grey ones"):
        model(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1))
    with pytest.raises(ValueError, match="layers of 'row' or 'diagonal', not 'column'"):
        PixelRNN("column", 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="a width that is a multiple of its 3 colours, not 7 and 4"):
        PixelRNN("row", 4, colours=3, rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError,
        match="at least two levels, and a mixture predicts one of more than two; not 1 levels and a mixture of 0",
    ):
        GatedPixelCNN(4, levels=1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="layer over vectors of 2 features that sees no later step"):
        PixelScan(Transformer(2, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="one pixel at each step of one sequence"):
        PixelScan(GRU(2, 4, rngs=nnx.Rngs(0)), "rows", rngs=nnx.Rngs(0))(np.zeros((1, 3, 3, 1), np.int32))
    with pytest.raises(ValueError, match=r"images of 1 colours and at least one draw, not \[3, 3, 3\] and 3"):
        causality(model, (3, 3, 3))
    with pytest.raises(ValueError, match=r"needs a kernel of odd sides, not \(2, 3\)"):
        MaskedConv(1, 2, (2, 3), "A", 1, rngs=nnx.Rngs(0))
