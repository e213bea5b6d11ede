"""Arrays on several devices: those that vary inside a `jax.shard_map`, and those on a mesh with explicit axes."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

Tree = TypeVar("Tree")


def vary_alike(tree: Tree) -> Tree:
    """Lets all arrays of a tree vary over those axes of a mesh over which any of them does.

    Loops and compiled code want arguments of one kind; JAX sums the gradient of what was the same on all devices.
    """
    axes = frozenset[str]().union(*(_varying(leaf) for leaf in jax.tree.leaves(tree)))
    return jax.tree.map(lambda leaf: _vary(leaf, axes), tree) if axes else tree


def shape_varying_as(array: Array, shape: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """Returns a shape in float32 of what varies over the same axes as an array does."""
    if not _varying(array):
        return jax.ShapeDtypeStruct(shape, jnp.float32)
    kind = jax.typeof(array)
    whole = NamedSharding(kind.sharding.mesh, P())
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=whole, manual_axis_type=kind.manual_axis_type)


def summed_over_batch(a: Array, b: Array) -> P | None:
    """Returns where a product `[t, b, m], [t, b, n] → [m, n]` is to lie, which a mesh with explicit axes asks for."""
    return P(_spec(a)[-1], _spec(b)[-1]) if _is_explicit(b) else None


def reshape_examples(array: Array, shape: tuple[Any, ...]) -> Array:
    """Reshapes an array whose first axis, before and after, holds whole examples, and keeps these on their devices."""
    spec = P(_spec(array)[0], *[None] * (len(shape) - 1)) if _is_explicit(array) else None
    return jnp.reshape(array, shape, out_sharding=spec)


def placed_as(array: Array, like: Array) -> Array:
    """Returns an array where another one lies, on a mesh with explicit axes."""
    return jax.reshard(array, jax.typeof(like).sharding) if _is_explicit(like) else array


def _varying(array: Array) -> frozenset[str]:
    return jax.typeof(array).manual_axis_type.varying


def _vary(array: Array, axes: frozenset[str]) -> Array:
    missing = tuple(sorted(axes - _varying(array)))
    return jax.lax.pcast(jnp.asarray(array), missing, to="varying") if missing else array


def _is_explicit(array: Array) -> bool:
    return AxisType.Explicit in jax.typeof(array).sharding.mesh.axis_types


def _spec(array: Array) -> P:
    return jax.typeof(array).sharding.spec
