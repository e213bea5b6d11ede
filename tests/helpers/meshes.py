"""Programs on a mesh of the two CPU devices of the tests, beside the same programs on one device."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

EXAMPLES = P("d")


def make_mesh(kind="Explicit", shape=(2,), names=("d",)):
    return jax.make_mesh(shape, names, axis_types=(AxisType[kind],) * len(names))


def with_gradients(run, model, x, rest):
    """`run(model, x, **rest)` and the gradients by the model and by x of the mean squares of its results."""

    def loss(model, x, rest):
        values = run(model, x, **rest)
        return sum((leaf**2).mean() for leaf in jax.tree.leaves(values)), values

    gradients, values = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(model, x, rest)
    return values, gradients


def on_mesh(run, model, x, rest, mesh=None, spec=EXAMPLES):
    """The same with the examples of x on both devices, and everything else on each. The results lie as x does."""
    mesh = make_mesh() if mesh is None else mesh
    with jax.set_mesh(mesh):
        model, rest = jax.device_put((model, rest), P())
        values, gradients = with_gradients(run, model, jax.device_put(x, spec), rest)
    for leaf in jax.tree.leaves(values):
        assert leaf.sharding.is_equivalent_to(jax.sharding.NamedSharding(mesh, spec), leaf.ndim)
    return values, gradients


def in_shard_map(run, model, x, rest):
    """The same in a `jax.shard_map`, whose body is given the examples of one device, of the rest too."""

    def mapped(model, x, **rest):
        cut = jax.shard_map(
            lambda model, x, rest: run(model, x, **rest),
            mesh=make_mesh("Auto"),
            in_specs=(P(), P("d"), P("d")),
            out_specs=P("d"),
        )
        return cut(model, x, rest)

    return with_gradients(mapped, model, x, rest)


def assert_same(found, expected):
    """Values and gradients of `with_gradients` agree."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        assert jnp.isfinite(one).all()
