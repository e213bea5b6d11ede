"""The backend "persistent": all steps of a recurrence in one GPU kernel.

A loop of XLA reads the recurrent weights from memory in every step, and starts kernels in each. Here each program of a
kernel takes some sequences through all their steps, with their state and the recurrent weights in registers, which hold
the weights of small layers (persistent RNN, Diamos et al. 2016). Both passes are those of `rowrnn.recurrence.fused`;
the products over all steps at once, of the inputs and for the weights' gradients, stay with XLA. Written in Pallas and
lowered by its Triton backend; compared with an oracle in Pallas's interpreter, and not run on a GPU yet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array

from rowrnn.cells import Cell
from rowrnn.cells.gated import Halves, Weights
from rowrnn.cells.zoneout import without_zoneout
from rowrnn.machine.compiled_call import differentiable_once, over_batch
from rowrnn.machine.sharding import shape_varying_as, vary_alike
from rowrnn.recurrence.array_form import (
    Residuals,
    Saved,
    Steps,
    gaps_reason,
    no_recurrence_reason,
    recur,
    recurrence_of,
    run_on_arrays,
)
from rowrnn.recurrence.backend import Backend, Result, ScanCall, described, dtype_of
from rowrnn.recurrence.fused import FusedPasses
from rowrnn.recurrence.gated_steps import STEPS, Marks, own_weights, step, step_back

ROWS = 16
"""Sequences of a program: the least that Triton multiplies."""
LEAST_UNITS = 16
"""Units that Triton multiplies at least."""
ON_CHIP = 64 * 1024
"""Most bytes of recurrent weights: a quarter of the registers of a multiprocessor, which a program's gates share."""


@dataclass(frozen=True)
class PersistentPasses(FusedPasses):
    """Both passes of a recurrence, with the loop over the steps in one kernel, which is interpreted off GPUs."""

    def forward(
        self, x: Array, weights: Weights, state: Halves, steps: Steps, *, train: bool
    ) -> tuple[Array, Halves, Residuals]:
        """Runs the forward pass, see `Passes.forward`; it cannot be differentiated itself."""
        return _once(partial(super().forward, train=train))(x, weights, state, steps)

    def backward(
        self, saved: Saved, d_outputs: Array, d_state: Halves, d_cells: Array | None, *, input_gradient: bool
    ) -> tuple[Array | None, Weights, Halves]:
        """Runs the backward pass, see `Passes.backward`; it cannot be differentiated itself."""
        backward = partial(super().backward, input_gradient=input_gradient)
        return _once(backward)(saved, d_outputs, d_state, d_cells)

    def _forward_loop(
        self, projected: Array, weights: Weights, state: Halves, marks: Marks, dropout: Array | None, *, train: bool
    ) -> tuple[Halves, Array, Residuals]:
        kind, units = STEPS[self.recurrence], state[0].shape[1]

        def one_step(kernels: Any, own: Any, dropout: Any, state: Halves, inputs: Any) -> tuple[Halves, Any]:
            def multiply(hidden: Array) -> tuple[Array, ...]:
                return tuple(self._product(hidden, kernel) for kernel in kernels)

            after, output, gates = step(kind, multiply, own, dropout, state, *inputs)
            return after, (output, (*gates, after[1]) if train else ())

        fixed = self._kernels(weights.recurrent_kernel, units), own_weights(weights)
        inputs = _by_gate(projected, units), marks
        last, (outputs, residuals) = _in_one_kernel(one_step, fixed, dropout, state, inputs, reverse=self.reverse)
        return last, outputs, residuals

    def _backward_loop(
        self, of_steps: Any, weights: Weights, d_state: Halves, marks: Marks, dropout: Array | None
    ) -> tuple[Halves, Array, Array]:
        kind, units = STEPS[self.recurrence], d_state[0].shape[1]

        def one_step(transposed: Any, own: Any, dropout: Any, d_state: Halves, inputs: Any) -> tuple[Halves, Any]:
            def multiply(gates: tuple[Array, ...]) -> Array:
                return reduce(jnp.add, map(self._product, gates, transposed))

            d_before, *d_halves = step_back(kind, multiply, own, dropout, d_state, *inputs)
            return d_before, d_halves[kind.equal_halves :]

        transposed = tuple(kernel.T for kernel in self._kernels(weights.recurrent_kernel, units))
        arguments = (transposed, own_weights(weights)), dropout, d_state, (of_steps, marks)
        d_initial, d_halves = _in_one_kernel(one_step, *arguments, reverse=not self.reverse)
        joined = [jnp.concatenate(gates, axis=-1) for gates in d_halves]
        return d_initial, joined[0], joined[-1]

    def _kernels(self, kernel: Array, units: int) -> tuple[Array, ...]:
        # Rounded here, so that what the GPU keeps is as small.
        return _by_gate(kernel if self.compute_dtype is None else kernel.astype(self.compute_dtype), units)


_once = partial(differentiable_once, backend="persistent", instead="fused")


def _in_one_kernel(
    one_step: Callable[..., tuple[Halves, Any]],
    fixed: Any,
    dropout: Array | None,
    state: Halves,
    inputs: Any,
    *,
    reverse: bool,
) -> tuple[Halves, Any]:
    """Runs `one_step(*fixed, dropout, state, inputs of a step) → (state, outputs of a step)` over all steps.

    Args:
        one_step: a step, of arrays with two axes.
        fixed: recurrent kernels `[h, h]`, and own weights of the units `[1, h]`.
        dropout: mask of the hidden state `[b, h]`; none if None.
        state: state before the first step that is run.
        inputs: of all steps, arrays `[t, b, h]` and booleans `[t, b, 1]`.
        reverse: whether to run from the last step to the first.
    """

    def call(of_batch: Any, by_step: Any, fixed: Any) -> tuple[Any, Any, Any]:
        dropout, state = of_batch
        return *_call(one_step, fixed, dropout, state, by_step, reverse=reverse), ()

    return over_batch(call, (dropout, state), inputs, fixed)[:2]


def _call(
    one_step: Callable[..., tuple[Halves, Any]], fixed: Any, dropout: Any, state: Any, inputs: Any, *, reverse: bool
) -> tuple[Halves, Any]:
    """Calls the kernel on the sequences of a device.

    Units are padded to a power of two, as Triton wants them, and sequences to whole programs, of which there is one at
    least. Units whose weights and input are zero stay zero in every cell, and so do their gradients.
    """
    from jax.experimental.pallas import triton  # Deprecated: its removal should break only this backend.

    b, units = state[0].shape
    t = jax.tree.leaves(inputs)[0].shape[0]
    more_units, more_rows = width_of(units) - units, -b % ROWS if b else ROWS

    def padded(more_rows: int, tree: Any) -> Any:
        def pad(a: Array) -> Array:
            columns = 0 if a.dtype == bool else more_units
            return jnp.pad(a, (*((0, 0) for _ in a.shape[:-2]), (0, more_rows), (0, columns)))

        return jax.tree.map(pad, tree)

    weights = padded(more_units, fixed[0]), padded(0, fixed[1])
    of_batch = tuple(padded(more_rows, tree) for tree in (dropout, state, inputs))
    weights, of_batch = vary_alike((weights, of_batch))

    def kernel(*references: Any) -> None:
        *fixed, inputs, last, every = references
        *given, state = jax.tree.map(lambda reference: reference[...], fixed)

        def run(index: Array, state: Halves) -> Halves:
            now = t - 1 - index if reverse else index
            state, outputs = one_step(*given, state, jax.tree.map(lambda reference: reference[now], inputs))
            _write(every, now, outputs)
            return state

        _write(last, ..., jax.lax.fori_loop(0, t, run, state))

    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), of_batch[2])
    shapes = jax.eval_shape(one_step, *_shapes(weights), *_shapes(of_batch[:2]), first)
    after, every = shapes[0], jax.tree.map(lambda a: jax.ShapeDtypeStruct((t, *a.shape), a.dtype), shapes[1])
    last, every = pl.pallas_call(
        kernel,
        grid=((b + more_rows) // ROWS,),
        in_specs=[*jax.tree.map(_whole, weights), *jax.tree.map(_block, of_batch)],
        out_specs=jax.tree.map(_block, (after, every)),
        out_shape=jax.tree.map(lambda a: shape_varying_as(of_batch[1][0], a.shape), (after, every)),
        compiler_params=triton.CompilerParams(num_warps=8, num_stages=1),
        interpret=jax.default_backend() != "gpu",
    )(*weights, *of_batch)
    return jax.tree.map(lambda a: a[..., :b, :units], (last, every))


def width_of(units: int) -> int:
    """Returns the number of units with those that are added."""
    return max(LEAST_UNITS, pl.next_power_of_2(units))


def unavailable() -> str:
    """Returns the reason why the kernel cannot run on the devices of this process; "" if it can."""
    return "" if jax.default_backend() == "gpu" else f"it needs a GPU, and JAX runs on {jax.default_backend()} here"


def _by_gate(a: Array, units: int) -> tuple[Array, ...]:
    """Splits the last axis, that of gates and units, into the gates."""
    return tuple(jnp.split(a, a.shape[-1] // units, axis=-1))


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def _write(references: Any, index: Any, values: Any) -> None:
    for reference, value in zip(jax.tree.leaves(references), jax.tree.leaves(values), strict=True):
        reference[index] = value


def _whole(a: Array) -> pl.BlockSpec:
    return pl.BlockSpec(a.shape, lambda _: (0,) * a.ndim)


def _block(a: Any) -> pl.BlockSpec:
    """Returns the block of a program: its sequences, which are the axis before the last, and all of the other axes."""
    *steps, _, width = a.shape
    return pl.BlockSpec((*steps, ROWS, width), lambda program: (*(0 for _ in steps), program, 0))


def _run(cell: Cell, call: ScanCall) -> Result:
    passes = PersistentPasses(recurrence_of(cell), call.reverse, call.compute_dtype)
    return run_on_arrays(cell, call, partial(recur, passes))


def _unfit(cell: Cell, call: ScanCall) -> str:
    if reason := no_recurrence_reason(cell) or gaps_reason(call):
        return reason
    rounded = call.compute_dtype is None or call.compute_dtype in (jnp.bfloat16, jnp.float16)
    if dtype_of(cell, call) != jnp.float32 or not rounded:
        return f"it computes in float32, rounded to 16 bits or not, not {described(cell, call)}"
    if reason := unavailable():
        return reason
    gated = without_zoneout(cell)
    width = width_of(gated.hidden)
    size = width * width * len(gated.gate_names) * jnp.dtype(call.compute_dtype or jnp.float32).itemsize
    return "" if size <= ON_CHIP else f"its recurrent weights take {size >> 10} KiB, and at most {ON_CHIP >> 10} fit"


PERSISTENT = Backend(
    "persistent", unfit=_unfit, run=_run, passed_over=lambda cell, call: "it is taken when asked for only"
)
