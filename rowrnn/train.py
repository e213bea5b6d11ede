"""The training loop: an epoch is one jitted scan, several seeds train at once, a mesh spreads both.

It knows a loss `(model, batch, key) → (loss, metrics)` and a score `(model, batch) → [b]`, never a model. A model is
any pytree of float arrays, a batch any pytree of arrays with one leading axis.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, PyTree

from rowrnn.mesh import DATA, SEED, seed_mesh

Model = PyTree[Array]
Batch = PyTree[Array]
Init = Callable[[Array], Any]
Loss = Callable[[Any, Any, Array], tuple[Array, dict[str, Array]]]
Score = Callable[[Any, Any], Array]

EVALUATION_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: AdamW with clipping, a linear warm-up and a cosine decay to zero.

    Args:
        epochs: passes over the training set.
        batch_size: examples per step; an epoch's last, incomplete batch is left out, another one each epoch.
        learning_rate: peak of the schedule.
        warmup: part of all steps over which the learning rate rises.
        weight_decay: decoupled weight decay, on kernels only.
        clip_norm: largest global norm of a gradient.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """The optimizer for a training of `steps` steps."""
        warmup = max(1, round(self.warmup * steps))
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, warmup, max(steps, warmup + 1))
        kernels = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
        return optax.chain(
            optax.clip_by_global_norm(self.clip_norm),
            optax.adamw(schedule, weight_decay=self.weight_decay, mask=kernels),
        )


class State(NamedTuple):
    """Everything that changes while one seed trains, a pytree; with several seeds each array has a leading axis."""

    model: Any
    optimizer: Any
    best_model: Any
    best_score: Array


class Epoch(NamedTuple):
    """What one epoch showed, arrays over seeds."""

    number: int
    metrics: dict[str, np.ndarray]
    score: np.ndarray
    seconds: float


@dataclasses.dataclass
class Fit:
    """A finished (or interrupted) training.

    Args:
        models: the weights with the best validation score of each seed, with a leading axis of seeds.
        epochs: what each epoch showed.
        compile_seconds: time to compile an epoch, not part of any epoch's `seconds`.
        memory_bytes: memory that XLA plans for an epoch: data, state and temporaries of all devices.
    """

    models: Any
    epochs: list[Epoch]
    compile_seconds: float
    memory_bytes: int


def fit(
    init: Init,
    loss: Loss,
    score: Score,
    train: Batch,
    validation: Batch,
    recipe: Recipe,
    keys: Array,
    *,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    devices: list[jax.Device] | None = None,
) -> Fit:
    examples = len(jax.tree.leaves(train)[0])
    steps = examples // recipe.batch_size
    mesh = seed_mesh(len(keys), recipe.batch_size, devices)
    optimizer = recipe.optimizer(steps * recipe.epochs)

    def begin(key):
        model = init(jax.random.fold_in(key, 0))
        return State(model, optimizer.init(model), model, jnp.array(-jnp.inf))

    def epoch(state, key, number, train, validation):
        order_key, step_key = jax.random.split(jax.random.fold_in(key, number))
        order = jax.random.permutation(order_key, examples)[: steps * recipe.batch_size]
        inputs = order.reshape(steps, recipe.batch_size), jax.random.split(step_key, steps)

        def step(carry, inputs):
            model, optimizer_state = carry
            indices, key = inputs
            batch = jax.tree.map(lambda a: _over_data(a[indices]), train)
            (_, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(model, batch, key)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, model)
            return (optax.apply_updates(model, updates), optimizer_state), metrics

        (model, optimizer_state), metrics = jax.lax.scan(step, (state.model, state.optimizer), inputs)
        reached = map_batches(partial(score, model), validation).mean()
        better = reached >= state.best_score
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), model, state.best_model)
        state = State(model, optimizer_state, best, jnp.maximum(reached, state.best_score))
        return state, jax.tree.map(jnp.mean, metrics), reached

    def epoch_of_seeds(state, keys, number, train, validation):
        return jax.lax.map(lambda seed: epoch(*seed, number, train, validation), (state, keys))

    seeds, everywhere = P(SEED), P()
    sharded = jax.jit(jax.shard_map(
        epoch_of_seeds, mesh=mesh,
        in_specs=(seeds, seeds, everywhere, everywhere, everywhere), out_specs=seeds,
        axis_names={SEED}, check_vma=False,
    ), donate_argnums=0)

    with jax.set_mesh(mesh):
        keys = jax.device_put(keys, NamedSharding(mesh, seeds))
        train, validation = jax.device_put((train, validation), NamedSharding(mesh, everywhere))
        state = jax.jit(jax.vmap(begin), out_shardings=NamedSharding(mesh, seeds))(keys)
        started = time.perf_counter()
        number0 = jax.device_put(jnp.int32(0), NamedSharding(mesh, everywhere))
        compiled = sharded.lower(state, keys, number0, train, validation).compile()
        compile_seconds = time.perf_counter() - started
        epochs = []
        for number in range(1, recipe.epochs + 1):
            started = time.perf_counter()
            num = jax.device_put(jnp.int32(number), NamedSharding(mesh, everywhere))
            state, metrics, reached = compiled(state, keys, num, train, validation)
            metrics, reached = jax.device_get((metrics, reached))
            epochs.append(Epoch(number, metrics, reached, time.perf_counter() - started))
            on_epoch(epochs[-1])
    m = compiled.memory_analysis()
    return Fit(state.best_model, epochs, compile_seconds, m)


def map_batches(f, batch, size=EVALUATION_BATCH):
    n = len(jax.tree.leaves(batch)[0])
    size = min(n, size)
    count = -(-n // size)
    indices = jnp.minimum(jnp.arange(count * size), n - 1).reshape(count, size)
    outputs = jax.lax.map(lambda i: f(jax.tree.map(lambda a: _over_data(a[i]), batch)), indices)
    return jax.tree.map(lambda a: a.reshape(count * size, *a.shape[2:])[:n], outputs)

def _over_data(x):
    return jax.lax.with_sharding_constraint(x, P(DATA))
