"""A recurrent layer in every library on JAX: its parameters, and `apply(parameters, x) → [b, t, hidden]`."""

from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import Any
from unittest.mock import patch

from layers import DROPPED, Case

UNROLL = 4
"""Steps of one turn of a loop, beside one, for peers whose loops take such a number."""
Layer = Callable[[Case], tuple[Any, Any]]


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


def is_computed(case: Case, backend: str) -> bool:
    """Returns whether a backend of rowrnn computes a case on this machine."""
    import jax.numpy as jnp
    from flax import nnx

    from rowrnn import CELLS, explain

    cell, x = CELLS[case.cell](case.d, case.hidden, rngs=nnx.Rngs(0)), jnp.zeros((case.batch, case.t, case.d))
    rounded = None if case.dtype == "float32" else jnp.dtype(case.dtype)
    try:
        explain(cell, x, backend=backend, compute_dtype=rounded)
    except ValueError:
        return False
    return True


def plain_layer(case: Case, unroll: int | None = None) -> tuple[Any, Any]:
    """Returns a cell and rowrnn's loop over its steps, `jax.lax.scan`, derived by JAX; `unroll` steps a turn."""
    import jax

    from rowrnn.recurrence import loop

    jax.clear_caches()  # A scan of these shapes may have been traced with another number.
    parameters, call = rowrnn_layer(case, backend="plain")
    if unroll is None:
        return parameters, call

    def apply(parameters: Any, x: Any) -> Any:
        with patch.dict(loop.UNROLLED, {jax.default_backend(): unroll}):
            return call(parameters, x)

    return parameters, apply


def nnx_layer(case: Case, unroll: int = 1) -> tuple[Any, Any]:
    """Returns the parameters and the call of a `flax.nnx.RNN`."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    kind = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}[case.cell]
    zeros = jnp.zeros((case.batch, case.hidden), case.dtype)
    # Given, since the default draws from a random stream stored in the module, which a jitted loop does not allow.
    carry = (zeros, zeros) if case.cell == "lstm" else zeros

    def rnn(width: int, **options: Any) -> Any:
        cell = kind(width, case.hidden, dtype=case.dtype, rngs=nnx.Rngs(0))
        return nnx.RNN(cell, rngs=nnx.Rngs(0), unroll=unroll, **options)

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


def linen_layer(case: Case, unroll: int = 1) -> tuple[Any, Any]:
    """Returns the parameters and the call of a `flax.linen.RNN`."""
    import jax
    import jax.numpy as jnp
    from flax import linen

    cell = {"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}[case.cell](case.hidden)
    layer = linen.RNN(cell, unroll=unroll)
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


WAYS: dict[str, dict[str, Layer]] = {
    "rowrnn": {"": rowrnn_layer},
    "checkpoints": {"": checkpointed_layer},
    "cudnn": {"": partial(rowrnn_layer, backend="cudnn")},
    "persistent": {"": partial(rowrnn_layer, backend="persistent")},
    "lax.scan": {"": plain_layer, f", unrolled by {UNROLL}": partial(plain_layer, unroll=UNROLL)},
    "flax nnx": {"": nnx_layer, f", unrolled by {UNROLL}": partial(nnx_layer, unroll=UNROLL)},
    "flax linen": {"": linen_layer, f", unrolled by {UNROLL}": partial(linen_layer, unroll=UNROLL)},
    "keras": {"": keras_layer},
}
"""By contender, the ways in which it builds its layer, of which the fastest counts. Keras unrolls all steps or none."""
