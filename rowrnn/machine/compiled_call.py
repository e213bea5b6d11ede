"""Calls of the compiled code in `kernels/`, on the examples of each device."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

from rowrnn.machine.sharding import batch_axes, shape_varying_as, vary_alike


def call_compiled(target: str, shapes: Iterable[tuple[int, ...]], *arguments: Any, **attributes: Any) -> Sequence[Any]:
    """Calls a function of the compiled library, which must be loaded: see `native_library.unavailable`.

    Args:
        target: name of the function.
        shapes: shapes of its results, all float32.
        arguments: arrays.
        attributes: numbers and truth values; integers as `np.int64`.
    """
    arguments = vary_alike(arguments)
    results = [shape_varying_as(arguments[0], shape) for shape in shapes]
    return jax.ffi.ffi_call(f"rowrnn.{target}", results, vmap_method="sequential")(*arguments, **attributes)


def differentiable_once(f: Callable[..., Any], *, instead: str, backend: str = "native") -> Callable[..., Any]:
    """Returns `f` of a backend with a derivative that raises TypeError and names one with second derivatives."""
    once = jax.custom_jvp(f)

    @once.defjvp
    def _derivative(primals: Any, tangents: Any) -> Any:
        raise TypeError(
            f"The backend {backend!r} has first derivatives only. For second ones call scan with backend={instead!r}, "
            f"for forward mode with 'plain', or write `with rowrnn.default_backend({instead!r}): ...` around it."
        )

    return once


def over_batch(call: Callable[..., Any], of_batch: PyTree, by_step: PyTree, weights: PyTree) -> Any:
    """Calls `call(of_batch, by_step, weights) → (of_batch, by_step, sums over the batch)` on the examples of each
    device.

    The batch is the first axis of arrays `of_batch` and the second of arrays `by_step`. XLA cannot partition a foreign
    call: without this every device would compute the whole batch.
    """
    first = jax.tree.leaves(of_batch)[0]
    axes = _batch_axes(first)
    if not axes:
        return call(of_batch, by_step, weights)

    def on_device(*arguments: Any) -> Any:
        *results, sums = call(*arguments)
        return *results, jax.tree.map(lambda a: jax.lax.psum(a, axes), sums)

    specs = P(axes), P(None, axes), P()
    mesh = _mesh_of(first)
    return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=specs, axis_names=set(axes), check_vma=False)(
        of_batch, by_step, weights
    )


def _batch_axes(x: Array) -> tuple[str, ...]:
    """Returns the mesh axes over which examples are split.

    These are the explicit axes along which `x` is sharded, in their order and whatever their size, as `shard_map`
    demands, and then the automatic axes that divide the examples.
    """
    mesh, axes = _mesh_of(x), batch_axes(x)
    examples = x.shape[0] // math.prod(mesh.shape[name] for name in axes)
    for name, kind, size in zip(mesh.axis_names, mesh.axis_types, mesh.axis_sizes, strict=True):
        if kind == AxisType.Auto and size > 1 and examples % size == 0:
            axes = *axes, name
            examples //= size
    return axes


def _mesh_of(x: Array) -> AbstractMesh:
    """Returns the mesh on which `x` is split explicitly, else that of `jax.set_mesh`."""
    return jax.typeof(x).sharding.mesh if batch_axes(x) else jax.sharding.get_abstract_mesh()


def or_empty(array: Array | None, like: Array, *axes: int) -> Array:
    """Returns `array`; if it is None, an empty array `[*axes, 0]`, as compiled functions expect."""
    return jnp.zeros((*axes, 0), like.dtype) if array is None else array
