"""A recurrent layer with a linear head in every library on JAX, compiled and ready to be timed."""

import time
from collections.abc import Callable, Iterator
from math import isqrt
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


def jax_variants(case: Case, layer: Callable[[Case], tuple[Any, Any]], meshes: tuple[int, ...]) -> Iterator[Variant]:
    """Yields a JAX layer, called step by step and inside one jitted loop.

    Args:
        case: what is computed.
        layer: function that returns a layer's parameters and `apply(parameters, x) → [b, t, hidden]`.
        meshes: numbers of devices over which the batch is sharded; those that do not divide it are left out.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    if layer is cudnn_layer and (case.cell, case.dtype) != ("lstm", "float32"):
        return
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
                yield Variant(name + suffix, runner(compiled, kept, inputs), seconds, mib)


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


def rowrnn_layer(case: Case, **options: Any) -> tuple[Any, Any]:
    """Returns a cell and `rowrnn.scan`, or a layer of another form, by default with the backend "auto"."""
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from rowrnn import CELLS, ProjectedLSTM, Recurrent, scan, stack

    if case.dtype != "float32":
        options["compute_dtype"] = case.dtype
    rngs = nnx.Rngs(0)
    if case.form in ("both directions", "two layers"):
        made = {"bidirectional": True} if case.form == "both directions" else {"layers": 2, "dropout": DROPPED}
        layer = stack(CELLS[case.cell], case.d, case.hidden, **made, rngs=rngs)
        return layer, lambda layer, x: layer(x, key=varying_key(case, layer), **options)[0]
    if case.form == "projection":
        cell: Any = ProjectedLSTM(case.d, case.hidden, case.hidden // 2, rngs=rngs)
    else:
        cell = CELLS[case.cell](case.d, case.hidden, rngs=rngs)
    if case.form == "dropout of the recurrence":
        layer = Recurrent(cell, recurrent_dropout=DROPPED)
        return layer, lambda layer, x: layer(x, key=varying_key(case, layer), **options)[0]
    if case.form == "lengths":
        options["lengths"] = case.lengths()
    if case.form == "episodes":
        options["resets"] = jnp.asarray(np.random.default_rng(0).random((case.batch, case.t)) < 0.1)
    return cell, lambda cell, x: scan(cell, x, **options)[0]


def varying_key(case: Case, parameters: Any) -> Any:
    """Returns a key that differs in every training step, or XLA would draw once for all; None for a forward pass."""
    import jax

    if case.mode == "forward":
        return None
    first = jax.tree.leaves(parameters)[0].ravel()[0]
    return jax.random.key(jax.lax.bitcast_convert_type(first, "uint32"))


def checkpointed_layer(case: Case) -> tuple[Any, Any]:
    """Returns a cell and `rowrnn.scan` with `checkpoint_every=√t`."""
    return rowrnn_layer(case, checkpoint_every=isqrt(case.t))


def plain_layer(case: Case) -> tuple[Any, Any]:
    """Returns a cell and `jax.lax.scan` over its step, differentiated by JAX."""
    return rowrnn_layer(case, backend="plain")


def cudnn_layer(case: Case) -> tuple[Any, Any]:
    """Returns a cell and `rowrnn.scan` with cuDNN's LSTM as JAX has it."""
    return rowrnn_layer(case, backend="cudnn")


def nnx_layer(case: Case) -> tuple[Any, Any]:
    """Returns the parameters and the call of a `flax.nnx.RNN`."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    kind = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}[case.cell]
    zeros = jnp.zeros((case.batch, case.hidden), case.dtype)
    # Given, since the default draws from a random stream stored in the module, which a jitted loop does not allow.
    carry = (zeros, zeros) if case.cell == "lstm" else zeros

    def rnn(width: int, **options: Any) -> Any:
        return nnx.RNN(kind(width, case.hidden, dtype=case.dtype, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0), **options)

    twice = {"both directions": {"reverse": True, "keep_order": True}, "two layers": {}}.get(case.form)
    width = case.hidden if case.form == "two layers" else case.d
    layers = nnx.List([rnn(case.d), *([] if twice is None else [rnn(width, **twice)])])
    graph, parameters, rest = nnx.split(layers, nnx.Param, ...)
    lengths = case.lengths() if case.form == "lengths" else None

    def apply(parameters: Any, x: Any) -> Any:
        layers = nnx.merge(graph, parameters, rest)
        first = layers[0](x, initial_carry=carry, seq_lengths=lengths)
        if case.form == "both directions":
            return jnp.concatenate([first, layers[1](x, initial_carry=carry)], axis=-1)
        if case.form != "two layers":
            return first
        key = varying_key(case, parameters)
        if key is not None:
            kept = jax.random.bernoulli(key, 1 - DROPPED, first.shape)
            first = jnp.where(kept, first / (1 - DROPPED), 0.0)
        return layers[1](first, initial_carry=carry)

    return parameters, apply


def linen_layer(case: Case) -> tuple[Any, Any]:
    """Returns the parameters and the call of a `flax.linen.RNN`."""
    import jax
    import jax.numpy as jnp
    from flax import linen

    layer = linen.RNN({"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}[case.cell](case.hidden))
    return layer.init(jax.random.key(0), jnp.zeros((1, 2, case.d))), layer.apply


def keras_layer(case: Case) -> tuple[Any, Any]:
    """Returns the parameters and the call of a `keras.layers.LSTM`, `GRU` or `SimpleRNN` on JAX."""
    import jax
    import jax.numpy as jnp
    import keras

    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}[case.cell]
    dropping = {"recurrent_dropout": DROPPED} if case.form == "dropout of the recurrence" else {}
    layer = kind(case.hidden, return_sequences=True, **dropping)
    if case.form == "both directions":
        layer = keras.layers.Bidirectional(layer)
    if case.form == "two layers":
        between = keras.layers.Dropout(DROPPED)
        layer = keras.Sequential([layer, between, kind(case.hidden, return_sequences=True)])
    layer.build((case.batch, case.t, case.d))
    fixed = [variable.value for variable in layer.non_trainable_variables]
    trainable = [variable.value for variable in layer.trainable_variables]
    mask = {"mask": jnp.arange(case.t)[None] < case.lengths()[:, None]} if case.form == "lengths" else {}

    def apply(parameters: Any, x: Any) -> Any:
        key = varying_key(case, parameters) if case.form in ("two layers", "dropout of the recurrence") else None
        if key is None:
            return layer.stateless_call(parameters, fixed, x, **mask)[0]
        # The state of the layer's random stream, which must differ in every step as that of the others does.
        streams = [
            jax.random.bits(key, value.shape, value.dtype) if value.dtype == jnp.uint32 else value for value in fixed
        ]
        return layer.stateless_call(parameters, streams, x, training=True)[0]

    return trainable, apply
