"""LSTM and GRU over whole sequences, compiled for the CPU at hand: `kernels/`, called through XLA.

`unavailable` says why not, where there is no library (`native_library`); JAX's own code computes the same then.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

from rowrnn.recurrence.native_library import unavailable

__all__ = ["backward", "forward", "unavailable"]

Arrays = tuple[Array, ...]


def forward(
    cell: str, x: Array, weights: Arrays, state: Arrays, lengths: Array, *, reverse: bool, train: bool
) -> tuple[Array, Arrays, Arrays]:
    """Runs a cell over sequences: outputs `[b, t, h]`, the last state and, to train, the residuals of `backward`.

    Args:
        cell: "lstm" or "gru".
        x: sequences `[b, t, d]`.
        weights: input kernel `[d, gates·h]`, bias `[gates·h]`, recurrent kernel `[h, gates·h]`, and the bias of the
            recurrent product's last gate, `[h]` of a GRU, `[0]` of an LSTM.
        state: hidden `[b, h]` and cell, `[b, h]` of an LSTM, `[b, 0]` of a GRU.
        lengths: number of valid steps, int32 `[b]`, or `[0]` where all are.
        reverse: from the last valid step to the first.
        train: whether to keep the residuals: four gates and the cell after every step, `[b, t, h]` each.
    """
    steps, hidden, has_cell = x.shape[1], state[0].shape[1], state[1].shape[1]

    def call(of_batch: Any, _: Any, weights: Arrays) -> tuple[Any, Any, Any]:
        x, state, lengths = of_batch
        b = len(x)
        kept = ((steps, b, hidden),) * 4 + ((steps, b, has_cell),) if train else ((0,),) * 5
        shapes = ((b, steps, hidden), (b, hidden), (b, has_cell), *kept)
        outputs, last_hidden, last_cell, *residuals = _call(
            f"{cell}_forward", shapes, x, *weights, *state, lengths, reverse=reverse
        )
        return (outputs, (last_hidden, last_cell)), tuple(residuals) if train else (), ()

    (outputs, last), residuals, _ = _over_batch(call, (x, state, lengths), (), weights)
    return outputs, last, residuals


def backward(
    cell: str,
    x: Array,
    weights: Arrays,
    state: Arrays,
    lengths: Array,
    outputs: Array,
    residuals: Arrays,
    d_outputs: Array,
    d_state: Arrays,
    *,
    reverse: bool,
    input_gradient: bool,
) -> tuple[Array, Arrays, Arrays]:
    """Gradients with respect to `x`, zeros without `input_gradient`, to the weights and to the initial state."""

    def call(of_batch: Any, residuals: Arrays, weights: Arrays) -> tuple[Any, Any, Any]:
        x, state, lengths, outputs, d_outputs, d_state = of_batch
        shapes = (x.shape if input_gradient else (0,), *(a.shape for a in (*weights, *state)))
        arguments = (x, *weights, *state, lengths, outputs, *residuals, d_outputs, *d_state)
        d_x, *d = _call(f"{cell}_backward", shapes, *arguments, reverse=reverse)
        return (d_x if input_gradient else jnp.zeros_like(x), tuple(d[4:])), (), tuple(d[:4])

    of_batch = (x, state, lengths, outputs, d_outputs, d_state)
    (d_x, d_initial), _, d_weights = _over_batch(call, of_batch, residuals, weights)
    return d_x, d_weights, d_initial


def _call(target: str, shapes: Iterable[tuple[int, ...]], *arguments: Array, reverse: bool) -> Sequence[Array]:
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.ffi.ffi_call(f"rowrnn.{target}", results, vmap_method="sequential")(*arguments, reverse=reverse)


def _over_batch(call: Callable[..., Any], of_batch: PyTree, by_step: PyTree, weights: Arrays) -> Any:
    """`call(of_batch, by_step, weights) → (of_batch, by_step, sums over the batch)`, each device with its examples.

    Arrays of the batch have it as their first axis, those by step as their second. XLA cannot cut a foreign call by
    itself: without this every device would compute the whole batch.
    """
    axes = _batch_axes(of_batch[0])
    if not axes:
        return call(of_batch, by_step, weights)

    def on_device(*arguments: Any) -> Any:
        *results, sums = call(*arguments)
        return *results, jax.tree.map(lambda a: jax.lax.psum(a, axes), sums)

    examples, specs = len(of_batch[0]), (P(axes), P(None, axes), P())
    # Lengths of none where all steps are valid: nothing to cut.
    given = jax.tree.map(lambda a: P(axes) if len(a) == examples else P(), of_batch)
    return jax.shard_map(
        on_device, in_specs=(given, *specs[1:]), out_specs=specs, axis_names=set(axes), check_vma=False
    )(of_batch, by_step, weights)


def _batch_axes(x: Array) -> tuple[str, ...]:
    """Axes of the mesh along which examples are cut: those that hold `x` so, or may, and divide its examples."""
    mesh = jax.sharding.get_abstract_mesh()
    examples, axes = x.shape[0], []
    given = jax.typeof(x).sharding.spec
    given = given[0] if given else None
    for name, kind, size in zip(mesh.axis_names, mesh.axis_types, mesh.axis_sizes, strict=True):
        explicit = name in (given if isinstance(given, tuple) else (given,))
        if (explicit or kind == AxisType.Auto) and size > 1 and examples % size == 0:
            axes.append(name)
            examples //= size
    return tuple(axes)
