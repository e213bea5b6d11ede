"""Images whose examples lie on two devices."""

import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, ImageScan, ReNet
from tests.helpers.meshes import assert_same, in_shard_map, on_mesh, with_gradients

pytestmark = pytest.mark.slow

BATCH, HIDDEN = 4, 2
SIZES = {"heights": np.asarray([3, 0, 1, 2]), "widths": np.asarray([4, 1, 2, 3])}


def scanned(order, features=1):
    return ImageScan(GRU(features, HIDDEN, rngs=nnx.Rngs(0)), order)


LAYERS = {
    # With one channel a mask of pixels and the images themselves have one shape.
    "pixels": (lambda: scanned("pixels"), SIZES),
    "rows": (lambda: scanned("rows", 4), {"heights": SIZES["heights"]}),
    "diagonal": (lambda: scanned("diagonal", 3), {}),
    "sweeps": (lambda: ReNet(1, HIDDEN, (3, 2), rngs=nnx.Rngs(0)), SIZES),
}


@pytest.mark.parametrize(("name", "where"), [*((name, on_mesh) for name in LAYERS), ("pixels", in_shard_map)])
def test_images_on_a_mesh_are_read_as_on_one_device(name, where):
    make, sizes = LAYERS[name]
    images = np.random.default_rng(1).normal(size=(BATCH, 3, 4, 1)).astype(np.float32)

    def run(layer, images, **sizes):
        return layer(images, **sizes)

    arguments = run, make(), images, sizes
    assert_same(where(*arguments), with_gradients(*arguments))


def test_sequences_on_a_mesh_become_images_again():
    order = scanned("down").order(3, 4)

    def run(_, images):
        return order.images(order.sequences(images))

    images = np.random.default_rng(1).normal(size=(BATCH, 3, 4, 1)).astype(np.float32)
    (found, _) = on_mesh(run, {}, images, {})
    np.testing.assert_array_equal(found, images)
