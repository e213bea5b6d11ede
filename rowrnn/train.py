"""The training loop: an epoch is one jitted scan, several seeds train at once, a mesh spreads both.

It knows a loss `(model, batch, key) → (loss, metrics)` and a score `(model, batch) → [b]`, never a model. A model is
any pytree of float arrays, a batch any pytree of arrays with one leading axis.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, ArrayLike, Key, PyTree

from rowrnn.errors import InputError
from rowrnn.evaluate import examples_of, map_batches
from rowrnn.mesh import SEED, each_seed, seed_mesh, take, wait

Model = PyTree[Array]
Batch = PyTree[ArrayLike]
Metrics = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: AdamW with clipping, a linear warm-up and a cosine decay to zero.

    Args:
        epochs: passes over the training set.
        batch_size: examples per step. Each epoch shuffles anew and drops the incomplete last batch.
        learning_rate: peak of the schedule.
        warmup: fraction of all steps over which the learning rate rises, from zero at the first step.
        weight_decay: decoupled weight decay, on kernels only.
        clip_norm: largest global norm of a gradient.

    Raises:
        InputError: if a number is out of its range.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(
                    f"A training needs a finite {name.replace('_', ' ')} above 0, not {getattr(self, name)}."
                )
        if not 0 <= self.warmup < 1 or not 0 <= self.weight_decay < float("inf"):
            raise InputError(
                f"A training needs a warm-up in [0, 1) and a weight decay of at least 0, not {self.warmup} and "
                f"{self.weight_decay}."
            )

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """AdamW with clipping for a training of so many steps."""
        rise = min(max(1, round(self.warmup * steps)), steps)
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, rise, max(steps, rise + 1))
        return optax.chain(
            optax.clip_by_global_norm(self.clip_norm),
            optax.adamw(schedule, weight_decay=self.weight_decay, mask=_decay_mask),
        )


class TrainState(NamedTuple):
    """Everything that changes while a seed trains; of several seeds, every array has a leading axis of seeds."""

    model: Any
    optimizer: Any
    best_model: Any
    best_score: Array


class Epoch(NamedTuple):
    """What an epoch showed: metrics, means over its steps, and the validation score, each an array over seeds."""

    number: int
    metrics: dict[str, np.ndarray]
    score: np.ndarray
    seconds: float


class Fit(NamedTuple):
    """A finished training.

    Args:
        models: of each seed the weights with the best validation score, with a leading axis of seeds.
        epochs: what each epoch showed.
        compile_seconds: time to compile an epoch, in no epoch's `seconds`.
        memory_bytes: memory that XLA plans for an epoch on all devices: data, state and temporaries.
        devices: number of devices over which seeds and batches were spread, by axis of the mesh.
    """

    models: Any
    epochs: list[Epoch]
    compile_seconds: float
    memory_bytes: int
    devices: dict[str, int]

    def seconds_to(self, score: float) -> float | None:
        """Training seconds until the mean validation score over seeds reached this one; None if it never did."""
        reached = [number for number, epoch in enumerate(self.epochs, 1) if epoch.score.mean() >= score]
        return sum(epoch.seconds for epoch in self.epochs[: reached[0]]) if reached else None


def fit(
    init: Callable[[Any], Any],
    loss: Callable[[Any, Any, Any], tuple[Any, Metrics]],
    score: Callable[[Any, Any], Any],
    train: Batch,
    validation: Batch,
    recipe: Recipe,
    keys: Key[Array, "seeds"],
    *,
    on_compiled: Callable[[], None] = lambda: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    devices: Sequence[jax.Device] | None = None,
) -> Fit:
    """Trains one model for each key, all together.

    Args:
        init: key to model.
        loss: model, batch and key to the mean loss of the batch and metrics to average over the steps.
        score: model and batch to a score of each example, `[b]`; the mean over `validation` chooses the weights.
        train: training examples, a pytree of arrays with one leading axis.
        validation: the same for validation.
        recipe: how to train.
        keys: one key a seed; all that is random in a seed's training comes from its key.
        on_compiled: called when the epoch is compiled, before its first step.
        on_epoch: called after each epoch.
        devices: what to train on; all devices where not given.

    Raises:
        InputError: if a batch is larger than the training set, or arrays of a split differ in length.
        FloatingPointError: if a metric or a weight stops being finite.
    """
    examples = examples_of(train)
    if recipe.batch_size > examples:
        raise InputError(
            f"A batch of {recipe.batch_size} is larger than the training set of {examples} examples: "
            "take a smaller batch."
        )
    steps = examples // recipe.batch_size
    optimizer = recipe.optimizer(steps * recipe.epochs)
    mesh = seed_mesh(len(keys), recipe.batch_size, devices)
    over_seeds, everywhere = NamedSharding(mesh, P(SEED)), NamedSharding(mesh, P())

    def begin(key: Array) -> TrainState:
        model = init(jax.random.fold_in(key, 0))  # epochs count from 1
        # Copies, since a donated state must not hold an array twice.
        return TrainState(model, optimizer.init(model), jax.tree.map(jnp.copy, model), jnp.full((), -jnp.inf))

    def epoch(
        seed: tuple[TrainState, Array], number: Array, train: Batch, validation: Batch
    ) -> tuple[TrainState, Metrics, Array, Array]:
        state, key = seed
        order_key, steps_key = jax.random.split(jax.random.fold_in(key, number))
        order = jax.random.permutation(order_key, examples)[: steps * recipe.batch_size]

        def step(carry: tuple[Any, Any], inputs: tuple[Array, Array]) -> tuple[tuple[Any, Any], Metrics]:
            (model, optimizer_state), (indices, key) = carry, inputs
            gradient, metrics = jax.grad(loss, has_aux=True)(model, take(train, indices), key)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, model)
            return (optax.apply_updates(model, updates), optimizer_state), metrics

        inputs = order.reshape(steps, recipe.batch_size), jax.random.split(steps_key, steps)
        (model, optimizer_state), metrics = jax.lax.scan(step, (state.model, state.optimizer), inputs)
        reached = jnp.mean(map_batches(partial(score, model), validation))
        # Ties go to the later epoch, whose learning rate is lower.
        better = reached >= state.best_score
        best_model = jax.tree.map(partial(jnp.where, better), model, state.best_model)
        best_score = jnp.where(better, reached, state.best_score)
        state = TrainState(model, optimizer_state, best_model, best_score)
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(model)]).all()
        return state, jax.tree.map(jnp.mean, metrics), reached, finite

    # In turn and on one device: a batched QR of orthogonal initializers on several CPU devices can deadlock, each
    # holding a thread of the pool that the others wait for.
    state = jax.jit(lambda keys: jax.lax.map(begin, keys))(jax.device_put(keys, mesh.devices.flat[0]))
    with jax.set_mesh(mesh):
        state, keys = jax.device_put((state, keys), over_seeds)
        train, validation = jax.device_put((train, validation), everywhere)
        started = time.perf_counter()
        numbers = jax.device_put(np.arange(1, recipe.epochs + 1, dtype=np.int32), everywhere)
        epoch_of_seeds = each_seed(epoch, mesh)
        run_epoch = jax.jit(lambda state, keys, *shared: epoch_of_seeds((state, keys), *shared), donate_argnums=0)
        run_epoch = run_epoch.lower(state, keys, numbers[0], train, validation).compile()
        compile_seconds = time.perf_counter() - started
        on_compiled()
        epochs = []
        for number in numbers:
            started = time.perf_counter()
            state, metrics, reached, finite = run_epoch(state, keys, number, train, validation)
            wait(reached)
            seconds = time.perf_counter() - started
            epochs.append(Epoch(int(number), jax.device_get(metrics), jax.device_get(reached), seconds))
            _check_finite(epochs[-1], jax.device_get(finite))
            on_epoch(epochs[-1])
    return Fit(state.best_model, epochs, compile_seconds, _memory(run_epoch) * mesh.size, dict(mesh.shape))


def _check_finite(epoch: Epoch, weights_finite: np.ndarray) -> None:
    for name, values in {**epoch.metrics, "weights": np.where(weights_finite, 0.0, np.nan)}.items():
        if not np.isfinite(values).all():
            raise FloatingPointError(
                f"The training's {name} stopped being finite in epoch {epoch.number} (over seeds: {values}). "
                "Lower the learning rate or the clipping norm."
            )


def _decay_mask(params: Model) -> PyTree[bool]:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _memory(compiled: Any) -> int:
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return held + memory.temp_size_in_bytes
