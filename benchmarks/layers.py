"""A recurrent layer of any library on JAX with a linear head, compiled and ready to be timed."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

CLASSES, LEARNING_RATE, DROPPED = 10, 1e-3, 0.2


class Case(NamedTuple):
    """A computation to be timed.

    Args:
        cell: name in `rowrnn.CELLS`.
        batch: number of sequences.
        hidden: hidden size.
        t: number of steps.
        d: number of features of a step.
        mode: "forward" for the outputs of the layer, "train" for a training step with Adam.
        dtype: "float32"; or "bfloat16" for products of rounded factors, each library in its own way.
        form: what the layer has beyond one cell in one direction, of `form_speed.FORMS`; "" for nothing.
    """

    cell: str
    batch: int
    hidden: int
    t: int
    d: int
    mode: str
    dtype: str = "float32"
    form: str = ""

    def lengths(self) -> Any:
        """Returns the number of valid steps of each sequence, `[batch]`, of the form "lengths"."""
        import numpy as np

        return np.random.default_rng(0).integers(1, self.t + 1, self.batch).astype(np.int32)


class Variant(NamedTuple):
    """A way to compute a case.

    Args:
        name: name of the way.
        run: function that computes the given number of steps and returns when they are done.
        compile_seconds: time of compilation.
        memory_mib: memory of outputs and temporaries that XLA plans, in MiB; None if unknown.
    """

    name: str
    run: Callable[[int], None]
    compile_seconds: float = 0.0
    memory_mib: float | None = None


def jax_variants(
    case: Case, layer: Callable[[Case], tuple[Any, Any]], meshes: tuple[int, ...], how: str = ""
) -> Iterator[Variant]:
    """Yields a JAX layer, called step by step and inside one jitted loop.

    Args:
        case: what is computed.
        layer: function that returns a layer's parameters and `apply(parameters, x) → [b, t, hidden]`.
        meshes: numbers of devices over which the batch is sharded; those that do not divide it are left out.
        how: how the layer was built, for the names of the variants.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    parameters, apply = layer(case)
    key = jax.random.key(0)
    x, labels = jax.random.normal(key, (case.batch, case.t, case.d)), jnp.arange(case.batch) % CLASSES
    out = jax.eval_shape(apply, parameters, x)
    wide = out.shape[-1]
    head = jax.random.normal(key, (wide, CLASSES)) / wide**0.5, jnp.zeros(CLASSES)
    optimizer = optax.adam(LEARNING_RATE)

    def loss(model: Any, x: Any, labels: Any) -> Any:
        parameters, (kernel, bias) = model
        logits = apply(parameters, x)[:, -1] @ kernel + bias[None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def train(state: Any, x: Any, labels: Any) -> Any:
        model, optimizer_state = state
        updates, optimizer_state = optimizer.update(jax.grad(loss)(model, x, labels), optimizer_state, model)
        return optax.apply_updates(model, updates), optimizer_state

    def forward(state: Any, x: Any, labels: Any) -> Any:
        parameters, before = state
        # Outputs must be used and must differ between iterations, or XLA would not compute them each time.
        return parameters, apply(parameters, x + before[0, 0, 0] * 1e-30)

    model = (parameters, head)
    train_state = model, optimizer.init(model)
    forward_state = parameters, jnp.zeros(out.shape, out.dtype)
    step, state = (train, train_state) if case.mode == "train" else (forward, forward_state)

    def loop(state: Any, x: Any, labels: Any, steps: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, state: step(state, x, labels), state)

    for devices in meshes:
        if case.batch % devices:
            continue
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        with jax.set_mesh(mesh):
            cut = NamedSharding(mesh, PartitionSpec("data"))
            inputs = jax.device_put((x, labels), cut)
            everywhere = NamedSharding(mesh, PartitionSpec())
            placed = jax.device_put(state, (everywhere, everywhere if case.mode == "train" else cut))
            shardings = jax.tree.map(lambda array: array.sharding, placed)
            suffix = f", {devices} devices" if devices > 1 else ""
            ways = [("stepwise", step, ()), ("in one loop", loop, (np.int32(1),))]
            # Stepwise only on one device: several steps in flight, each with collectives, can deadlock. On a GPU
            # stepwise only too: a way of training takes half a minute to compile there.
            for name, function, more in ways[devices > 1 :] if jax.default_backend() == "cpu" else ways[:1]:
                started = time.perf_counter()
                jitted = jax.jit(function, donate_argnums=0, out_shardings=shardings)
                compiled = jitted.lower(placed, *inputs, *more).compile()
                seconds = time.perf_counter() - started
                memory = compiled.memory_analysis()
                mib = (memory.temp_size_in_bytes + memory.output_size_in_bytes) * devices / 2**20
                kept = jax.tree.map(jnp.copy, placed)
                runner = _looped if more else _stepwise
                yield Variant(name + suffix + how, runner(compiled, kept, inputs), seconds, mib)


def _looped(compiled: Any, state: Any, inputs: Any) -> Callable[[int], None]:
    import jax
    import numpy as np

    def run(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, *inputs, np.int32(steps)))

    return run


def _stepwise(compiled: Any, state: Any, inputs: Any) -> Callable[[int], None]:
    import jax

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = compiled(state, *inputs)
        jax.block_until_ready(state)

    return run
