"""Evaluation of trained models on every example of a split, each exactly once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

from rowrnn.errors import InputError
from rowrnn.lab.devices.exchange import block_until_ready, gather, to_devices
from rowrnn.lab.devices.mesh import SEED, map_over_seeds, seed_mesh, take_examples
from rowrnn.lab.training.contracts import Batch

Model = PyTree[Array]


EVALUATION_BATCH = 500


def compile_evaluation(
    f: Callable[[Any, Any], Any], models: Model, batch: Batch, *, devices: Sequence[jax.Device] | None = None
) -> Callable[[], PyTree[np.ndarray]]:
    """Compiles the evaluation of `f(model, batch)` for every example and every model.

    Args:
        f: function of a model and a batch to a pytree of arrays `[b, ...]`.
        models: models with a leading axis of seeds.
        batch: examples, a pytree of arrays with a common leading axis.
        devices: devices to evaluate on; all devices where not given.

    Returns:
        A function without arguments that evaluates and returns the pytree of arrays `[seeds, n, ...]`.

    Raises:
        InputError: if the arrays of the batch differ in length or it is empty.
    """
    # All devices that the seeds leave share each batch, evenly or not: each process needs a device.
    mesh = seed_mesh(examples_of(models), len(jax.devices() if devices is None else devices), devices)

    def of_seed(model: Model, batch: Batch) -> PyTree[Array]:
        return map_batches(partial(f, model), batch)

    with jax.set_mesh(mesh):
        models, batch = to_devices(models, NamedSharding(mesh, P(SEED))), to_devices(batch, NamedSharding(mesh, P()))
        compiled = jax.jit(map_over_seeds(of_seed, mesh)).lower(models, batch).compile()

    def evaluation() -> PyTree[np.ndarray]:
        outputs = compiled(models, batch)
        jax.tree.map(block_until_ready, outputs)
        return gather(outputs)

    return evaluation


def evaluate(
    f: Callable[[Any, Any], Any], models: Model, batch: Batch, *, devices: Sequence[jax.Device] | None = None
) -> PyTree[np.ndarray]:
    """Evaluates `f(model, batch)` once for every example and every model; see `compile_evaluation`.

    Returns:
        The pytree of arrays `[seeds, n, ...]`.
    """
    return compile_evaluation(f, models, batch, devices=devices)()


def map_batches(f: Callable[[Any], Any], batch: Batch, size: int = EVALUATION_BATCH) -> PyTree[Array]:
    """Applies `f` to batches of at most `size` examples and joins the results; every example is evaluated once."""
    examples = examples_of(batch)
    size = min(size, examples)
    batches = -(-examples // size)
    # The last batch is padded with copies of the last example.
    indices = jnp.minimum(jnp.arange(batches * size), examples - 1).reshape(batches, size)
    outputs = jax.lax.map(lambda i: f(take_examples(batch, i)), indices)
    return jax.tree.map(lambda a: a.reshape(batches * size, *a.shape[2:])[:examples], outputs)


def examples_of(batch: Batch) -> int:
    """Returns the number of examples of a batch: the length of its leading axis.

    Raises:
        InputError: if the arrays differ in that length, or it is 0.
    """
    lengths = {len(leaf) for leaf in jax.tree.leaves(batch)}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(f"The arrays of a batch need one number of examples, at least 1; found {sorted(lengths)}.")
    return lengths.pop()
