"""Orders that cannot be: pixels outside the image, and an `Order` where a function that makes one is expected."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU
from rowrnn.image import orders
from rowrnn.image.image_scan import ImageScan, order_function
from rowrnn.image.orders import Order
from rowrnn.image.renet import ReNet
from tests.helpers.problem import randomized

NUMBERS = np.arange(16).reshape(4, 4)


@pytest.mark.parametrize(
    ("pixels", "places", "message"),
    [
        (
            NUMBERS[None] + 1,
            np.arange(4)[:, None],
            "pixels of an order are numbers from -1 to 15; .* 1 to 16",
        ),
        (
            NUMBERS[None] - 2,
            np.arange(4)[:, None],
            "pixels of an order are numbers from -1 to 15; .* -2 to 13",
        ),
        (NUMBERS[None], np.arange(1, 5)[:, None], "places of an order are numbers from 0 to 3; these run from 1 to 4"),
    ],
    ids=["counted from 1", "below", "place"],
)
def test_numbers_outside_the_image(pixels, places, message):
    with pytest.raises(ValueError, match=message):
        Order((4, 4), pixels, places)


@pytest.mark.parametrize(
    ("pixels", "places", "message"),
    [
        (NUMBERS, np.arange(4)[:, None], r"pixels of .* \[sequences, steps, pixels of a step\], not \[4, 4\]: one"),
        (NUMBERS[None], np.arange(4), r"places of an order have the shape \[height, width\], not \[4\]: a grid"),
    ],
    ids=["pixels", "places"],
)
def test_maps_of_another_number_of_axes(pixels, places, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        Order((4, 4), pixels, places)


def test_an_order_in_place_of_its_function():
    order = orders.permuted(4, 4)
    with pytest.raises(TypeError, match=r"a function \(height, width\) → Order, not Order: for images of one"):
        order_function(order)
    grid, _ = ImageScan(GRU(1, 3, rngs=nnx.Rngs(0)), lambda height, width: order)(jnp.ones((2, 4, 4, 1)))
    assert grid.shape == (2, 4, 4, 3)


def test_one_number_is_a_patch_of_equal_sides():
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 4, 6, 1)), jnp.float32)
    for make in (
        lambda patch: ImageScan(GRU(4, 3, rngs=nnx.Rngs(0)), "snake", patch=patch),
        lambda patch: ReNet(1, 3, patch, rngs=nnx.Rngs(0)),
    ):
        one, two = (randomized(lambda patch=patch, make=make: make(patch))(images)[0] for patch in (2, (2, 2)))
        np.testing.assert_array_equal(one, two)
