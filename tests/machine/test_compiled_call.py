"""How compiled code shares a batch among devices."""

import re

import jax
import jax.numpy as jnp
import pytest

from rowrnn.machine import compiled_call


def test_examples_are_cut_along_the_axes_that_divide_them():
    mesh = jax.make_mesh((2, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        assert compiled_call._batch_axes(jnp.zeros((4, 1))) == ("data",)
        assert compiled_call._batch_axes(jnp.zeros((3, 1))) == ()
    assert compiled_call._batch_axes(jnp.zeros((4, 1))) == ()


@pytest.mark.parametrize("instead", ["fused", "plain"])
def test_second_derivatives_are_refused_with_a_backend_that_has_them(instead):
    message = (
        f"The backend 'native' has first derivatives only. For second ones call scan with backend='{instead}', for "
        f"forward mode with 'plain', or write `with rowrnn.default_backend('{instead}'): ...` around it."
    )
    once = compiled_call.differentiable_once(jnp.sin, instead=instead)
    assert once(0.0) == 0
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        jax.grad(once)(0.0)
