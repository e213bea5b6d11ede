"""How compiled code shares a batch among devices."""

import jax
import jax.numpy as jnp

from rowrnn.machine import compiled_call


def test_examples_are_cut_along_the_axes_that_divide_them():
    mesh = jax.make_mesh((2, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        assert compiled_call._batch_axes(jnp.zeros((4, 1))) == ("data",)
        assert compiled_call._batch_axes(jnp.zeros((3, 1))) == ()
    assert compiled_call._batch_axes(jnp.zeros((4, 1))) == ()
