"""Orders by hand: which pixels come when, exactly back, and where the outputs lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.image.orders import HOLE, ORDERS, Order

H, W = 2, 4
# Pixels of a 2x4 image, numbered 0 to 7 row by row: of each order its sequences, of these the steps.
SEQUENCES = {
    "rows": [[[0, 1, 2, 3], [4, 5, 6, 7]]],
    "columns": [[[0, 4], [1, 5], [2, 6], [3, 7]]],
    "pixels": [[[0], [1], [2], [3], [4], [5], [6], [7]]],
    "snake": [[[0], [1], [2], [3], [7], [6], [5], [4]]],
    "diagonal": [[[0, HOLE], [1, 4], [2, 5], [3, 6], [HOLE, 7]]],
    "across": [[[0], [1], [2], [3]], [[4], [5], [6], [7]]],
    "down": [[[0], [4]], [[1], [5]], [[2], [6]], [[3], [7]]],
}
PATCHES = {
    "pixels": [[[0, 1, 4, 5], [2, 3, 6, 7]]],
    "snake": [[[0, 1, 4, 5], [2, 3, 6, 7]]],
    "across": [[[0, 1, 4, 5], [2, 3, 6, 7]]],
    "down": [[[0, 1, 4, 5]], [[2, 3, 6, 7]]],
}
OPTIONS = {
    "pixels": {"patch": (3, 2)},
    "snake": {"patch": (3, 2)},
    "across": {"patch": (3, 2)},
    "permuted": {"seed": 3},
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_the_pixels_by_hand(name):
    np.testing.assert_array_equal(ORDERS[name](H, W).pixels, SEQUENCES[name])


@pytest.mark.parametrize("name", PATCHES)
def test_patches_are_the_pixels_by_hand(name):
    np.testing.assert_array_equal(ORDERS[name](H, W, patch=(2, 2)).pixels, PATCHES[name])


def test_a_snake_turns_at_every_row_of_patches():
    steps = ORDERS["snake"](4, 6, patch=(2, 2)).pixels[0, :, 0]
    np.testing.assert_array_equal(steps, [0, 2, 4, 16, 14, 12])


@pytest.mark.parametrize("name", ["permuted", "permuted_rows"])
def test_permutations_are_drawn_from_the_seed(name):
    order = ORDERS[name](6, 5, seed=1).pixels
    np.testing.assert_array_equal(order, ORDERS[name](6, 5, seed=1).pixels)
    assert (order != ORDERS[name](6, 5, seed=2).pixels).any()
    assert (order.ravel() != np.arange(30)).any()
    if name == "permuted_rows":  # Whole rows change places.
        np.testing.assert_array_equal(order[0] % 5, np.tile(np.arange(5), (6, 1)))


@pytest.mark.parametrize("size", [(6, 4), (3, 8), (6, 2)], ids=str)
@pytest.mark.parametrize("options", [{}, None], ids=["plain", "options"])
@pytest.mark.parametrize("name", ORDERS)
def test_the_inverse_is_exact(name, options, size):
    order = ORDERS[name](*size, **(OPTIONS.get(name, {}) if options is None else options))
    images = np.random.default_rng(0).normal(size=(3, *size, 2)).astype(np.float32)
    sequences = order.sequences(jnp.asarray(images))
    n, steps, pixels = order.pixels.shape
    assert sequences.shape == (3 * n, steps, pixels * 2)
    np.testing.assert_array_equal(order.images(sequences), images)
    # Every pixel is taken once.
    np.testing.assert_array_equal(np.sort(order.pixels[order.pixels != HOLE]), np.arange(size[0] * size[1]))


@pytest.mark.parametrize("options", [{}, None], ids=["plain", "options"])
@pytest.mark.parametrize("name", ORDERS)
def test_outputs_lie_over_the_pixels_of_their_step(name, options):
    size = (6, 4)
    order = ORDERS[name](*size, **(OPTIONS.get(name, {}) if options is None else options))
    numbers = jnp.arange(24, dtype=jnp.float32).reshape(1, *size, 1)
    # A step that puts out its pixels.
    shown = np.asarray(order.grid(order.sequences(numbers)))[0]
    rows, columns = shown.shape[:2]
    for y in range(rows):
        for x in range(columns):
            block = np.asarray(numbers)[
                0, y * 6 // rows : (y + 1) * 6 // rows, x * 4 // columns : (x + 1) * 4 // columns
            ]
            assert set(block.ravel()) <= set(shown[y, x]), (y, x)


def test_when_each_pixel_is_read():
    np.testing.assert_array_equal(ORDERS["diagonal"](2, 3).when(), [[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(ORDERS["snake"](2, 3).when(), [[0, 1, 2], [5, 4, 3]])
    np.testing.assert_array_equal(ORDERS["down"](2, 3).when(), [[0, 0, 0], [1, 1, 1]])


def test_channels_of_a_pixel_lie_side_by_side():
    images = jnp.arange(12.0).reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(ORDERS["columns"](2, 3).sequences(images)[0, 0], [0, 1, 6, 7])


def test_steps_are_valid_where_an_image_has_pixels():
    order = ORDERS["pixels"](4, 4, patch=(2, 2))
    within, steps = order.valid(jnp.asarray([3, 0]), jnp.asarray([2, 4]), 2)
    np.testing.assert_array_equal(np.asarray(within).sum(axis=(1, 2)), [6, 0])
    np.testing.assert_array_equal(steps, [[True, False, True, False], [False] * 4])
    _, steps = ORDERS["diagonal"](2, 3).valid(None, jnp.asarray([1]), 1)
    np.testing.assert_array_equal(steps, [[True, True, False, False]])


def test_sizes_are_lists_in_a_compiled_function_too():
    order, sizes = ORDERS["rows"](4, 4), ([3, 0], [2, 4])
    compiled = jax.jit(lambda heights, widths: order.valid(heights, widths, 2))(*sizes)
    for found, expected in zip(compiled, order.valid(*sizes, 2), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_images_of_another_size():
    with pytest.raises(ValueError, match="for images of 2x4, not 4x2"):
        ORDERS["rows"](2, 4).sequences(jnp.zeros((1, 4, 2, 1)))


@pytest.mark.parametrize("patch", [(3, 1), (1, 3), (0, 1)], ids=str)
@pytest.mark.parametrize("name", ["pixels", "snake", "permuted", "across", "down"])
def test_patches_divide_the_image(name, patch):
    with pytest.raises(ValueError, match=rf"Patches of {patch[0]}x{patch[1]} do not divide an image of 4x4"):
        ORDERS[name](4, 4, patch=patch)


def test_an_order_of_ones_own_needs_pixels_and_places():
    # Columns from the right.
    pixels = np.arange(6).reshape(2, 3).T[::-1]
    order = Order((2, 3), pixels[None], np.asarray([[2, 1, 0]]))
    images = jnp.arange(6.0).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(order.sequences(images)[0], [[2, 5], [1, 4], [0, 3]])
    np.testing.assert_array_equal(order.images(order.sequences(images)), images)


def test_an_order_that_omits_a_pixel_has_no_inverse():
    order = Order((1, 3), np.asarray([[[0], [2]]]), np.asarray([[0, 1]]))
    with pytest.raises(ValueError, match="it omits 1 of the 3 pixels of an image"):
        order.images(jnp.ones((1, 2, 1)))


def test_a_pixel_that_occurs_twice_has_the_value_of_its_last_step():
    order = Order((1, 2), np.asarray([[[0], [1], [0]]]), np.asarray([[0, 1]]))
    np.testing.assert_array_equal(order.images(jnp.asarray([[[5.0], [6.0], [7.0]]])).ravel(), [7, 6])


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_images_without_pixels(name, size):
    how = {"patch": (1, 1)} if name in ("across", "down") else {}
    with pytest.raises(ValueError, match=f"at least one row and one column, not {size[0]}x{size[1]}"):
        ORDERS[name](*size, **how)
