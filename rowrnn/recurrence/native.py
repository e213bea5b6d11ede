"""The backend "native": LSTM and GRU over whole sequences, in C++ (`rowrnn/machine/kernels/`) compiled for this CPU.

Those over maps are in `native_maps`.

Without the compiled library (`rowrnn.machine.native_library`), "auto" selects another backend.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.cells import Cell
from rowrnn.machine.compiled_call import call_compiled, differentiable_once, or_empty, over_batch
from rowrnn.machine.native_library import TARGETS, unavailable
from rowrnn.recurrence import native_maps
from rowrnn.recurrence.array_form import (
    Halves,
    Residuals,
    Saved,
    Weights,
    no_recurrence_reason,
    outputs_only_reason,
    recur,
    recurrence_of,
    run_on_arrays,
)
from rowrnn.recurrence.backend import Backend, Result, ScanCall, described, dtype_of
from rowrnn.recurrence.fused import FusedPasses


@dataclasses.dataclass(frozen=True)
class NativePasses:
    """Both passes of a recurrence, compiled for this CPU; on other platforms those of `FusedPasses`.

    Args:
        recurrence: "lstm" or "gru".
        reverse: whether to run from the last valid step to the first.
    """

    recurrence: str
    reverse: bool

    def forward(self, *arguments: Any, train: bool) -> tuple[Array, Halves, Residuals]:
        """Runs the forward pass, see `Passes.forward`; it cannot be differentiated itself."""
        return differentiable_once(partial(self._on_platform, "forward", train=train))(*arguments)

    def backward(self, *arguments: Any, input_gradient: bool) -> tuple[Array | None, Weights, Halves]:
        """Runs the backward pass, see `Passes.backward`; it cannot be differentiated itself."""
        return differentiable_once(partial(self._on_platform, "backward", input_gradient=input_gradient))(*arguments)

    def _on_platform(self, name: str, *arguments: Any, **options: bool) -> Any:
        of_platform = {"forward": _forward, "backward": _backward}[name]
        compiled = partial(of_platform, self.recurrence, reverse=self.reverse, **options)
        loops = partial(getattr(FusedPasses(self.recurrence, self.reverse), name), **options)
        return jax.lax.platform_dependent(*arguments, cpu=compiled, default=loops)


def _forward(
    recurrence: str, x: Array, weights: Weights, state: Halves, lengths: Array | None, *, reverse: bool, train: bool
) -> tuple[Array, Halves, Residuals]:
    """Computes outputs `[b, t, h]`, the last state and, with `train`, four gates and the cells, `[t, b, h]` each."""
    steps, hidden, has_cell = x.shape[1], state[0].shape[1], state[1] is not None

    def call(of_batch: Any, _: Any, weights: Weights) -> tuple[Any, Any, Any]:
        x, state, lengths = of_batch
        b, h = len(x), hidden if has_cell else 0
        kept = ((steps, b, hidden),) * 4 + ((steps, b, h),) if train else ((0,),) * 5
        shapes = ((b, steps, hidden), (b, hidden), (b, h), *kept)
        arguments = (x, *_all_arrays(x, weights, state, lengths))
        outputs, last, cell, *gates, cells = call_compiled(f"{recurrence}_forward", shapes, *arguments, reverse=reverse)
        residuals = (*gates, cells if has_cell else None) if train else ()
        return (outputs, (last, cell if has_cell else None)), residuals, ()

    (outputs, last), residuals, _ = over_batch(call, (x, state, lengths), (), weights)
    return outputs, last, residuals


def _backward(
    recurrence: str, saved: Saved, d_outputs: Array, d_state: Halves, *, reverse: bool, input_gradient: bool
) -> tuple[Array | None, Weights, Halves]:
    """Computes the gradients of `x` (None without `input_gradient`), the weights and the initial state."""
    x, weights, state, lengths, outputs, residuals = saved

    def call(of_batch: Any, residuals: Residuals, weights: Weights) -> tuple[Any, Any, Any]:
        x, state, lengths, outputs, d_outputs, d_state = of_batch
        arrays = _all_arrays(x, weights, state, lengths)
        *gates, cells = residuals
        d_after = d_outputs, d_state[0], or_empty(d_state[1], x, len(x))
        arguments = (x, *arrays, outputs, *gates, or_empty(cells, x, x.shape[1], len(x)), *d_after)
        shapes = (x.shape if input_gradient else (0,), *(a.shape for a in arrays[:-1]))
        d_x, *d_weights, d_hidden, d_cell = call_compiled(f"{recurrence}_backward", shapes, *arguments, reverse=reverse)
        if weights.recurrent_bias is None:
            d_weights[-1] = None
        d_initial = d_hidden, None if state[1] is None else d_cell
        return (d_x if input_gradient else None, d_initial), (), Weights(*d_weights)

    of_batch = (x, state, lengths, outputs, d_outputs, d_state)
    (d_x, d_initial), _, d_weights = over_batch(call, of_batch, residuals, weights)
    return d_x, d_weights, d_initial


def _all_arrays(x: Array, weights: Weights, state: Halves, lengths: Array | None) -> tuple[Array, ...]:
    """Returns weights, state and lengths with empty arrays for None, as the kernels expect."""
    *kernels, recurrent_bias = weights
    hidden, cell = state
    lengths = jnp.zeros((0,), jnp.int32) if lengths is None else lengths
    return *kernels, or_empty(recurrent_bias, x), hidden, or_empty(cell, x, len(x)), lengths


def _run(cell: Cell, call: ScanCall) -> Result:
    if native_maps.map_recurrence_of(cell):
        return native_maps.run(cell, call)
    return run_on_arrays(cell, call, partial(recur, NativePasses(recurrence_of(cell), call.reverse)))


def _unfit(cell: Cell, call: ScanCall) -> str:
    of_maps = native_maps.map_recurrence_of(cell)
    if reason := native_maps.unfit(call) if of_maps else no_recurrence_reason(cell) or outputs_only_reason(call):
        return reason
    in_float32 = dtype_of(cell, call) == jnp.float32 and call.compute_dtype is None
    if not in_float32 or (not of_maps and f"{recurrence_of(cell)}_forward" not in TARGETS):
        return f"it runs a float32 LSTM or GRU, not {described(cell, call)}"
    platform = jax.default_backend()
    return unavailable() if platform == "cpu" else f"it runs on a CPU, and JAX on {platform}"


NATIVE = Backend("native", unfit=_unfit, run=_run, takes_all_cores=True)
