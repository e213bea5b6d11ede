"""Sharding helpers: arrays that vary inside `jax.shard_map`, and arrays on a mesh with explicit axes."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

Tree = TypeVar("Tree")


def vary_alike(tree: Tree) -> Tree:
    """Casts all arrays of a tree to vary over the mesh axes over which any of them varies.

    Loops and compiled code need arguments that vary alike; JAX sums the gradients of arrays that were replicated.
    """
    axes = frozenset[str]().union(*(_varying(leaf) for leaf in jax.tree.leaves(tree)))
    return jax.tree.map(lambda leaf: _vary(leaf, axes), tree) if axes else tree


def shape_varying_as(array: Array, shape: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """Returns a float32 shape that varies over the same mesh axes as `array`."""
    if not _varying(array):
        return jax.ShapeDtypeStruct(shape, jnp.float32)
    kind = jax.typeof(array)
    whole = NamedSharding(kind.sharding.mesh, P())
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=whole, manual_axis_type=kind.manual_axis_type)


def summed_over_batch(a: Array, b: Array) -> P | None:
    """Returns the sharding of a product `[t, b, m], [t, b, n] → [m, n]` on a mesh with explicit axes; else None."""
    return P(_spec(a)[-1], _spec(b)[-1]) if _is_explicit(b) else None


def reshape_examples(array: Array, shape: tuple[Any, ...]) -> Array:
    """Reshapes an array whose first axis consists of whole examples before and after, and keeps that axis' sharding."""
    spec = P(_spec(array)[0], *[None] * (len(shape) - 1)) if _is_explicit(array) else None
    return jnp.reshape(array, shape, out_sharding=spec)


def placed_as(array: Array, like: Array) -> Array:
    """Reshards `array` to the sharding of `like` on a mesh with explicit axes; elsewhere returns it unchanged."""
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
