"""The backend "cudnn": cuDNN's LSTM through `jax.experimental.rnn`, float32, on CUDA GPUs only."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.cells import LSTM, Cell
from rowrnn.recurrence.array_form import (
    Halves,
    Steps,
    Weights,
    no_recurrence_reason,
    outputs_only_reason,
    run_on_arrays,
)
from rowrnn.recurrence.backend import Backend, Result, ScanCall, described, dtype_of


def unavailable() -> str:
    """Returns the reason why cuDNN cannot be used on the devices of this process; "" if it can."""
    device = jax.devices()[0]
    if "cuda" in device.client.platform_version.lower():
        return ""
    return f"cuDNN needs a CUDA GPU, and JAX runs on {device.platform} here"


def lstm(x: Array, weights: Weights, state: Halves, lengths: Array | None, *, reverse: bool) -> tuple[Array, Halves]:
    """Computes outputs `[b, t, h]` and the last state of an LSTM.

    Args:
        x: sequences `[b, t, d]`; steps beyond a sequence's length have no influence.
        weights: parameters of the cell.
        state: hidden and cell state before the first step.
        lengths: number of valid steps, int32 `[b]`; all if None.
        reverse: whether to run from the last valid step to the first.
    """
    from jax.experimental import rnn  # Experimental: its removal should break only this backend.

    b, t, d = x.shape
    hidden, cell = state
    assert cell is not None
    ragged = lengths is not None
    lengths = jnp.full((b,), t, jnp.int32) if lengths is None else lengths
    # Given, since JAX refuses to take a configured default below float32 for cuDNN.
    exact = jax.config.jax_default_matmul_precision in ("highest", "float32")
    precision = jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.HIGH
    x = _flip(x, lengths) if reverse else x
    # cuDNN does not accept empty sequences: they run for one step on zeros, since the weights' gradient multiplies the
    # padding by zero, and 0 · NaN is NaN.
    x = jnp.where((lengths > 0)[:, None, None], x, jnp.zeros_like(x))
    outputs, last_hidden, last_cell = rnn.lstm(
        x,
        hidden[None],
        cell[None],
        flat_weights(weights),
        jnp.maximum(lengths, 1),
        input_size=d,
        hidden_size=hidden.shape[1],
        num_layers=1,
        dropout=0.0,
        bidirectional=False,
        precision=precision,
    )
    outputs = _flip(outputs, lengths) if reverse else outputs
    last = last_hidden[0], last_cell[0]
    if ragged:
        valid = jnp.arange(t, dtype=lengths.dtype)[None, :] < lengths[:, None]
        outputs = jnp.where(valid[:, :, None], outputs, jnp.zeros_like(outputs))
        begun = (lengths > 0)[:, None]
        last = jnp.where(begun, last[0], hidden), jnp.where(begun, last[1], cell)
    return outputs, last


def flat_weights(weights: Weights) -> Array:
    """Flattens weights in cuDNN's order: both kernels `[4h, …]`, then a bias for each product, gates i f g o."""
    input_kernel, bias, recurrent_kernel = weights[:3]
    return jnp.concatenate([input_kernel.T.ravel(), recurrent_kernel.T.ravel(), bias, jnp.zeros_like(bias)])


def _run(cell: Cell, call: ScanCall) -> Result:
    def compute(_: bool, x: Array, weights: Weights, state: Halves, steps: Steps) -> Any:
        return *lstm(x, weights, state, steps.lengths, reverse=call.reverse), None

    return run_on_arrays(cell, call, compute)


def _unfit(cell: Cell, call: ScanCall) -> str:
    if reason := no_recurrence_reason(cell) or outputs_only_reason(call):
        return reason
    fits = type(cell) is LSTM and dtype_of(cell, call) == jnp.float32 and call.compute_dtype is None
    return unavailable() if fits else f"it runs a float32 LSTM, not {described(cell, call)}"


CUDNN = Backend("cudnn", unfit=_unfit, run=_run, passed_over=lambda cell, call: "it is taken when asked for only")


def _flip(x: Array, lengths: Array) -> Array:
    """Reverses each sequence within its length; the padding stays in place."""
    steps = jnp.arange(x.shape[1], dtype=lengths.dtype)[None, :]
    index = jnp.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return jnp.take_along_axis(x, index[:, :, None], axis=1)
