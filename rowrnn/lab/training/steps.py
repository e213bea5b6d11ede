"""The compiled functions of a training: initialization, a run of steps and the end of an epoch, for all seeds.

A run of steps is one loop whose length is an argument, so that an epoch gives the same numbers however it is divided
into runs. Examples from a source go through another loop than those in device memory: XLA may round the last bit
differently.
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
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rowrnn.errors import InputError
from rowrnn.lab.devices.exchange import block_until_ready, to_devices
from rowrnn.lab.devices.mesh import SEED, map_over_seeds, seed_mesh
from rowrnn.lab.training.contracts import Batch, Metrics
from rowrnn.lab.training.evaluation import map_batches
from rowrnn.lab.training.examples import EpochExamples, InMemory, Source, Streamed
from rowrnn.lab.training.recipe import Recipe
from rowrnn.lab.training.task import Task

SCORE = "validation score"


class TrainState(NamedTuple):
    """The state of one seed's training; for several seeds, every array has a leading axis of seeds.

    Args:
        model: weights.
        optimizer: state of the optimizer.
        average: moving average of the weights; empty without averaging.
        best_model: weights, averaged with averaging, after the epoch with the best validation score.
        best_score: that score.
        curves: mean metrics and validation score of each finished epoch; zero for the epochs to come.
        metrics: sums over the steps of this epoch that were not skipped.
        taken: number of those steps.
        skipped: number of steps of the training that were skipped because the loss, a metric or a gradient was not
            finite.
        fault: index within its epoch of the last skipped step.
        faulty: which values were not finite in it: the loss or a metric, then each array of the gradient.
    """

    model: Any
    optimizer: Any
    average: Any
    best_model: Any
    best_score: Float[Array, "*seeds"]
    curves: dict[str, Float[Array, "*seeds epochs"]]
    metrics: Metrics
    taken: Int[Array, "*seeds"]
    skipped: Int[Array, "*seeds"]
    fault: Int[Array, "*seeds"]
    faulty: Bool[Array, "*seeds arrays"]


class Steps:
    """The steps of a training on a mesh, compiled by `compile`.

    Args:
        init: function of a key to a model.
        task: loss, score and examples.
        recipe: hyperparameters of the training.
        keys: one key for each seed.
        devices: devices to train on; all devices where not given.

    Raises:
        InputError: if a batch is larger than the training set, arrays of a split differ in length, or a process would
            have no device; in `state` and `begin`, if the model has leaves that gradients cannot train.
    """

    def __init__(
        self,
        init: Callable[[Any], Any],
        task: Task,
        recipe: Recipe,
        keys: Key[Array, "seeds"],
        devices: Sequence[jax.Device] | None,
    ) -> None:
        examples = task.examples
        if recipe.batch_size > examples:
            raise InputError(
                f"A batch of {recipe.batch_size} is larger than the training set of {examples} examples: "
                "take a smaller batch."
            )
        self.per_epoch = recipe.steps(examples)
        self.mesh = seed_mesh(len(keys), recipe.batch_size, devices)
        self._over_seeds, self._everywhere = NamedSharding(self.mesh, P(SEED)), NamedSharding(self.mesh, P())
        self._init, self._loss, self._score, self._recipe = init, task.loss, task.score, recipe
        self._optimizer = recipe.transformation(self.per_epoch * recipe.epochs)
        # Seeds are initialized in turn, on one device: a batched QR of orthogonal initializers on several CPU devices
        # can deadlock, each holding a thread of the pool that the others wait for.
        self._first_keys = jax.device_put(keys, self.mesh.local_devices[0])
        self._start = jax.jit(partial(jax.lax.map, self._begin_seed))
        self._count, sizes = examples, (len(keys), self.per_epoch, recipe.batch_size)
        self._examples = (Streamed if isinstance(task.train, Source) else InMemory)(task.train, self.mesh, sizes)
        self._validation = to_devices(task.validation, self._everywhere)
        self._keys = jax.random.wrap_key_data(to_devices(jax.random.key_data(keys), self._over_seeds))

    def describe(self) -> dict[str, Any]:
        """Returns what identifies this training apart from its code and data: recipe, keys and number of examples."""
        keys = np.asarray(jax.random.key_data(self._first_keys)).tolist()
        return {"recipe": dataclasses.asdict(self._recipe), "keys": keys, "examples": self._count}

    def state(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns shapes, dtypes and shardings of the state."""
        shapes = jax.eval_shape(self._start, self._first_keys)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self._over_seeds), shapes)

    def begin(self) -> TrainState:
        """Returns the state before the first step."""
        return to_devices(self._start(self._first_keys), self._over_seeds)

    def compile(self) -> float:
        """Compiles all functions; returns the seconds that it took."""
        started = time.perf_counter()
        state, number = self.state(), jax.ShapeDtypeStruct((), jnp.int32, sharding=self._everywhere)
        examples = self._examples
        with jax.set_mesh(self.mesh):
            order_of, advance, conclude = (
                map_over_seeds(f, self.mesh) for f in (self._order_of_seed, self._advance_seed, self._conclude_seed)
            )
            advance_all = jax.jit(lambda state, *rest: advance((state, *rest[:2]), *rest[2:]), donate_argnums=0)
            conclude_all = jax.jit(conclude, donate_argnums=0)
            self._order = jax.jit(order_of).lower(self._keys, number).compile()
            self._advance = advance_all.lower(
                state, self._keys, examples.block, *[number] * 4, examples.on_devices
            ).compile()
            self._conclude = conclude_all.lower(state, number, self._validation).compile()
        return time.perf_counter() - started

    def memory(self) -> int:
        """Returns the bytes that XLA plans for a run of steps on all devices: data, state and temporaries."""
        memory: Any = self._advance.memory_analysis()
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        return (held + memory.temp_size_in_bytes) * self.mesh.size

    def open(self, epoch: int, first: int) -> EpochExamples:
        """Returns the examples of an epoch from the step `first` on."""
        return EpochExamples(self._examples, self._order(self._keys, np.int32(epoch)), first)

    def advance(self, state: TrainState, examples: EpochExamples, epoch: int, first: int, last: int) -> TrainState:
        """Runs the steps from `first` up to, not including, `last` of an epoch, and waits for them.

        A seed that has skipped more steps than it may stops there.
        """
        while first < last:
            block, start, end = examples.block(first)
            numbers = map(np.int32, (epoch, first, min(last, end), start))
            state = self._advance(state, self._keys, block, *numbers, self._examples.on_devices)
            block_until_ready(state.taken)  # Several runs in flight can deadlock on several CPU devices.
            first = end
        return state

    def conclude(self, state: TrainState, epoch: int) -> tuple[TrainState, Bool[Array, "seeds"]]:
        """Ends an epoch: extends the curves and keeps the weights if they are the best.

        Returns:
            The new state, and whether the weights of each seed are finite.
        """
        return self._conclude(state, np.int32(epoch), self._validation)

    def _begin_seed(self, key: Array) -> TrainState:
        model = self._init(jax.random.fold_in(key, 0))  # epochs count from 1
        _check_trainable(model)
        batch = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((self._recipe.batch_size, *a.shape[1:]), a.dtype), self._examples.shapes
        )
        _, metrics = jax.eval_shape(self._loss_and_metrics, model, batch, key)
        sums = {name: jnp.zeros((), jnp.promote_types(a.dtype, jnp.float32)) for name, a in metrics.items()}
        best_score = jnp.full((), -jnp.inf)
        none = jnp.zeros((), jnp.int32)
        return TrainState(
            model=model,
            optimizer=self._optimizer.init(model),
            average=jax.tree.map(jnp.copy, model) if self._recipe.averaging else (),
            best_model=jax.tree.map(jnp.copy, model),  # a donated state must not contain an array twice
            best_score=best_score,
            curves={
                name: jnp.zeros((self._recipe.epochs,), a.dtype) for name, a in {**sums, SCORE: best_score}.items()
            },
            metrics=sums,
            taken=none,
            skipped=jnp.copy(none),
            fault=jnp.copy(none),
            faulty=jnp.zeros((1 + len(jax.tree.leaves(model)),), bool),
        )

    def _loss_and_metrics(self, model: Any, batch: Batch, key: Array) -> tuple[Array, Metrics]:
        loss, metrics = self._loss(model, batch, key)
        return loss, {**metrics, "loss": loss}

    def _order_of_seed(self, key: Array, epoch: Array) -> Int[Array, "steps b"]:
        order_key, _ = jax.random.split(jax.random.fold_in(key, epoch))
        return self._recipe.order(order_key, self._count)

    def _advance_seed(
        self, seed: tuple[TrainState, Array, Any], epoch: Array, first: Array, last: Array, start: Array, examples: Any
    ) -> TrainState:
        state, key, block = seed
        _, steps_key = jax.random.split(jax.random.fold_in(key, epoch))

        def goes_on(carry: tuple[Array, TrainState]) -> Array:
            step, state = carry
            return (step < last) & (state.skipped <= self._recipe.max_skipped_steps)

        def step(carry: tuple[Array, TrainState]) -> tuple[Array, TrainState]:
            step, state = carry
            batch = self._examples.batch(examples, block, step - start)
            of_model = jax.value_and_grad(self._loss_and_metrics, has_aux=True)
            (_, metrics), gradient = of_model(state.model, batch, jax.random.fold_in(steps_key, step))
            faulty = _not_finite(metrics, gradient)
            updates, optimizer = self._optimizer.update(gradient, state.optimizer, state.model)
            model = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.model, updates)
            steps_before = (epoch - 1) * self.per_epoch + step - state.skipped
            taken = state._replace(
                model=model,
                optimizer=optimizer,
                average=self._averaged(state.average, model, steps_before + 1),
                metrics={name: a + metrics[name].mean().astype(a.dtype) for name, a in state.metrics.items()},
                taken=state.taken + 1,
            )
            skipped = state._replace(skipped=state.skipped + 1, fault=step, faulty=faulty)
            # A select, not a branch: XLA fuses it with the update, and a branch would copy the state.
            return step + 1, jax.tree.map(partial(jnp.where, faulty.any()), skipped, taken)

        _, state = jax.lax.while_loop(goes_on, step, (first, state))
        return state

    def _averaged(self, average: Any, model: Any, steps: Array) -> Any:
        """Returns the average of the weights after a number of steps, the newest included.

        With decay d, the bias-corrected average after n steps is the one before, moved toward the weights by
        (1 - d) / (1 - d^n): the whole way after the first step.
        """
        if not self._recipe.averaging:
            return average
        decay = np.float32(self._recipe.averaging)
        share = (1 - decay) / -jnp.expm1(steps.astype(jnp.float32) * np.log(decay))
        moved = optax.incremental_update(model, average, share)
        return jax.tree.map(lambda a, p: a.astype(p.dtype), moved, model)

    def _conclude_seed(self, state: TrainState, epoch: Array, validation: Batch) -> tuple[TrainState, Array]:
        model = state.average if self._recipe.averaging else state.model
        reached = jnp.mean(map_batches(partial(self._score, model), validation)).astype(state.best_score.dtype)
        # Ties go to the later epoch, whose learning rate is lower.
        better = reached >= state.best_score
        means = {name: a / jnp.maximum(state.taken, 1).astype(a.dtype) for name, a in state.metrics.items()}
        shown = {**means, SCORE: reached}
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.model)]).all()
        state = state._replace(
            best_model=jax.tree.map(partial(jnp.where, better), model, state.best_model),
            best_score=jnp.where(better, reached, state.best_score),
            curves={name: curve.at[epoch - 1].set(shown[name]) for name, curve in state.curves.items()},
            metrics=jax.tree.map(jnp.zeros_like, state.metrics),
            taken=jnp.zeros_like(state.taken),
        )
        return state, finite


def _check_trainable(model: PyTree[Array]) -> None:
    """Checks that all leaves of a model are float parameters, which no call changes.

    Raises:
        InputError: naming the leaves that are not.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(model, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    wrong = []
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if isinstance(leaf, nnx.BatchStat | nnx.RngState):
            wrong.append(f"{name} is {type(leaf).__name__}")
        else:
            dtypes = {array.dtype for array in jax.tree.leaves(leaf)}
            wrong += [f"{name} is {dtype}" for dtype in dtypes if not jnp.issubdtype(dtype, jnp.inexact)]
    if wrong:
        raise InputError(
            f"fit trains pytrees of float parameters, and {', '.join(wrong)}. Normalise without running statistics (as "
            "nnx.LayerNorm does), hand keys to the calls, and keep constants outside the model or as static attributes."
        )


def _not_finite(metrics: Metrics, gradient: PyTree[Array]) -> Bool[Array, "arrays"]:
    """Returns whether the loss or a metric is not finite, then the same of each array of the gradient or its norm."""
    values = jnp.stack([jnp.isfinite(value).all() for value in metrics.values()]).all()
    # A sum of squares is finite only if all elements are, and clipping needs it anyway.
    arrays = [jnp.isfinite(jnp.sum(jnp.square(leaf))) for leaf in jax.tree.leaves(gradient)]
    return ~jnp.stack([values, *arrays])
