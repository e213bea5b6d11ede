"""The backend "native": Elman, LSTM and GRU over sequences, in C++ (`rowrnn/machine/kernels/`) compiled for this CPU.

Those over maps are in `native_maps`, and cells whose step has stages in `native_staged`.

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
from rowrnn.machine.native_library import unavailable
from rowrnn.recurrence import native_maps, native_staged
from rowrnn.recurrence.array_form import (
    Halves,
    Residuals,
    Saved,
    Steps,
    Weights,
    gaps_reason,
    recur,
    recurrence_of,
    run_on_arrays,
)
from rowrnn.recurrence.backend import Backend, Result, ScanCall, described, dtype_of, name_of, no_rounding_reason
from rowrnn.recurrence.fused import FusedPasses

GATES_KEPT = {"elman": 0, "lstm": 4, "peephole_lstm": 4, "gru": 4}
"""How many arrays each recurrence keeps for its backward pass, beside outputs and cells."""


@dataclasses.dataclass(frozen=True)
class NativePasses:
    """Both passes of a recurrence, compiled for this CPU; on other platforms those of `FusedPasses`.

    Args:
        recurrence: name of the recurrence, one of `GATES_KEPT`.
        reverse: whether to run from the last valid step to the first.
    """

    recurrence: str
    reverse: bool

    def forward(self, *arguments: Any, train: bool) -> tuple[Array, Halves, Residuals]:
        """Runs the forward pass, see `Passes.forward`; it cannot be differentiated itself."""
        return differentiable_once(partial(self._on_platform, "forward", train=train), instead="fused")(*arguments)

    def backward(self, *arguments: Any, input_gradient: bool) -> tuple[Array | None, Weights, Halves]:
        """Runs the backward pass, see `Passes.backward`; it cannot be differentiated itself."""
        backward = partial(self._on_platform, "backward", input_gradient=input_gradient)
        return differentiable_once(backward, instead="fused")(*arguments)

    def _on_platform(self, name: str, *arguments: Any, **options: bool) -> Any:
        of_platform = {"forward": _forward, "backward": _backward}[name]
        compiled = partial(of_platform, self.recurrence, reverse=self.reverse, **options)
        loops = partial(getattr(FusedPasses(self.recurrence, self.reverse), name), **options)
        return jax.lax.platform_dependent(*arguments, cpu=compiled, default=loops)


def _forward(
    recurrence: str, x: Array, weights: Weights, state: Halves, steps: Steps, *, reverse: bool, train: bool
) -> tuple[Array, Halves, Residuals]:
    """Computes outputs `[b, t, h]`, the last state and, with `train`, the gates and the cells, `[t, b, h]` each."""
    t, hidden, has_cell, count = x.shape[1], state[0].shape[1], state[1] is not None, GATES_KEPT[recurrence]

    def call(of_batch: Any, _: Any, weights: Weights) -> tuple[Any, Any, Any]:
        x, state, steps = of_batch
        b, h = len(x), hidden if has_cell else 0
        kept = (*((t, b, hidden),) * count, *((0,),) * (4 - count), (t, b, h)) if train else ((0,),) * 5
        shapes = ((b, t, hidden), (b, hidden), (b, h), *kept)
        arguments = (x, *_all_arrays(x, weights, state, steps))
        outputs, last, cell, *gates, cells = call_compiled(f"{recurrence}_forward", shapes, *arguments, reverse=reverse)
        residuals = (*gates[:count], cells if has_cell else None) if train else ()
        return (outputs, (last, cell if has_cell else None)), residuals, ()

    (outputs, last), residuals, _ = over_batch(call, (x, state, steps), (), weights)
    return outputs, last, residuals


def _backward(
    recurrence: str,
    saved: Saved,
    d_outputs: Array,
    d_state: Halves,
    d_cells: Array | None,
    *,
    reverse: bool,
    input_gradient: bool,
) -> tuple[Array | None, Weights, Halves]:
    """Computes the gradients of `x` (None without `input_gradient`), the weights and the initial state."""
    x, weights, state, steps, outputs, residuals = saved

    def call(of_batch: Any, by_step: Any, weights: Weights) -> tuple[Any, Any, Any]:
        x, state, steps, outputs, d_outputs, d_state = of_batch
        (*gates, cells), d_cells = by_step
        arrays = _all_arrays(x, weights, state, steps)
        d_after = d_outputs, d_state[0], or_empty(d_state[1], x, len(x)), or_empty(d_cells, x)
        gates = (*gates, *(or_empty(None, x),) * (4 - len(gates)))
        arguments = (x, *arrays, outputs, *gates, or_empty(cells, x, x.shape[1], len(x)), *d_after)
        shapes = (x.shape if input_gradient else (0,), *(a.shape for a in arrays[:6]))
        found = call_compiled(f"{recurrence}_backward", shapes, *arguments, reverse=reverse)
        d_x, d_input, d_bias, d_recurrent, d_own, d_hidden, d_cell = found
        of_units = (None if a is None else d_own for a in (weights.recurrent_bias, weights.peephole))
        d_initial = d_hidden, None if state[1] is None else d_cell
        return (d_x if input_gradient else None, d_initial), (), Weights(d_input, d_bias, d_recurrent, *of_units)

    of_batch = (x, state, steps, outputs, d_outputs, d_state)
    (d_x, d_initial), _, d_weights = over_batch(call, of_batch, (residuals, d_cells), weights)
    return d_x, d_weights, d_initial


def _all_arrays(x: Array, weights: Weights, state: Halves, steps: Steps) -> tuple[Array, ...]:
    """Returns weights, state and what the steps are, with empty arrays for None, as the kernels expect."""
    *kernels, recurrent_bias, peephole = weights
    own = peephole if recurrent_bias is None else recurrent_bias
    hidden, cell = state
    holds = (or_empty(hold, x) for hold in steps.holds or (None, None))
    return *kernels, or_empty(own, x), hidden, or_empty(cell, x, len(x)), *steps.as_given(x), *holds


def _run(cell: Cell, call: ScanCall) -> Result:
    if native_maps.map_recurrence_of(cell):
        return native_maps.run(cell, call)
    if native_staged.is_staged(cell):
        return native_staged.run(cell, call)
    return run_on_arrays(cell, call, partial(recur, NativePasses(recurrence_of(cell), call.reverse)))


def _unfit(cell: Cell, call: ScanCall) -> str:
    if native_maps.map_recurrence_of(cell):
        reason = native_maps.unfit(call)
    elif native_staged.is_staged(cell) or recurrence_of(cell):
        reason = gaps_reason(call)
    else:
        reason = f"it has no compiled code for {name_of(cell)}"
    if reason:
        return reason
    if reason := no_rounding_reason(call):
        return reason
    if dtype_of(cell, call) not in (jnp.float32, jnp.bfloat16, jnp.float16):
        return f"it computes in float32, of arrays of 32 or 16 bits, not {described(cell, call)}"
    platform = jax.default_backend()
    return unavailable() if platform == "cpu" else f"it runs on a CPU, and JAX on {platform}"


NATIVE = Backend("native", unfit=_unfit, run=_run, takes_all_cores=True)
