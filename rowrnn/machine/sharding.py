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


def batch_axes(array: Array) -> tuple[str, ...]:
    """Returns the explicit mesh axes over which the first axis of an array is split, in order."""
    first = _spec(array)[0] if _is_explicit(array) else None
    return first if isinstance(first, tuple) else () if first is None else (first,)


def reshape_examples(array: Array, shape: tuple[Any, ...]) -> Array:
    """Reshapes an array whose first axis consists of whole examples before and after, and keeps that axis' sharding."""
    return jnp.reshape(array, shape, out_sharding=_first_axis_as(array, len(shape)) if _is_explicit(array) else None)


def place_examples(tree: Tree, x: Array) -> Tree:
    """Reshards the arrays `[b, ...]` of a tree so that every example lies where that of `x` does.

    This is for meshes with explicit axes, where arrays that meet in a loop or a selection need one sharding; elsewhere
    the tree is returned unchanged.
    """
    return jax.tree.map(lambda a: jax.reshard(a, _first_axis_as(x, jnp.ndim(a))), tree) if _is_explicit(x) else tree


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


def _first_axis_as(x: Array, ndim: int) -> NamedSharding:
    """Returns the sharding of arrays of `ndim` axes whose first axis is split as that of `x` and no other is."""
    # Outside `jax.jit` the devices of an array are those of its own mesh, whether or not `jax.set_mesh` names it.
    placed: Any = jax.typeof(x) if isinstance(x, jax.core.Tracer) else x
    return NamedSharding(placed.sharding.mesh, P(_spec(x)[0], *[None] * (ndim - 1)))


def _spec(array: Array) -> P:
    return jax.typeof(array).sharding.spec
