"""The backend "persistent": all steps of a recurrence in one GPU kernel, which reads the recurrent weights once.

A loop of XLA reads the weights from memory in every step and starts kernels in each. Here a program of the kernel takes
a block of sequences through all their steps, with their state in registers and the recurrent weights on the chip
(persistent RNN, Diamos et al. 2016). Both passes are those of `rowrnn.recurrence.fused`; the products over all steps at
once, of the inputs and for the weights' gradients, stay with XLA. Written in Pallas, lowered by its Triton backend, and
compared with an oracle in Pallas's interpreter; not measured on a GPU yet.
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
from rowrnn.recurrence.array_form import (
    Residuals,
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
ON_CHIP = 128 * 1024
"""Most bytes of recurrent weights; the shared memory of a multiprocessor has 164 KiB (A100) or 228 KiB (H100)."""


@dataclass(frozen=True)
class PersistentPasses(FusedPasses):
    """Both passes of a recurrence, with the loop over the steps in one kernel, which is interpreted off GPUs."""

    def _forward_loop(
        self, projected: Array, weights: Weights, state: Halves, marks: Marks, dropout: Array | None, *, train: bool
    ) -> tuple[Halves, Array, Residuals]:
        kind, units = STEPS[self.recurrence], state[0].shape[1]

        def turn(kernels: Any, own: Any, dropout: Any, state: Halves, inputs: Any) -> tuple[Halves, Any]:
            def multiply(hidden: Array) -> tuple[Array, ...]:
                return tuple(self._product(hidden, kernel) for kernel in kernels)

            after, output, gates = step(kind, multiply, own, dropout, state, *inputs)
            return after, (output, (*gates, after[1]) if train else ())

        kernels, inputs = _by_gate(weights.recurrent_kernel, units), (_by_gate(projected, units), marks)
        arguments = kernels, own_weights(weights), dropout, state, inputs
        last, (outputs, residuals) = self._on_chip(turn, *arguments, reverse=self.reverse)
        return last, outputs, residuals

    def _backward_loop(
        self, of_steps: Any, weights: Weights, d_state: Halves, marks: Marks, dropout: Array | None
    ) -> tuple[Halves, Array, Array]:
        kind, units = STEPS[self.recurrence], d_state[0].shape[1]

        def turn(transposed: Any, own: Any, dropout: Any, d_state: Halves, inputs: Any) -> tuple[Halves, Any]:
            def multiply(gates: tuple[Array, ...]) -> Array:
                return reduce(jnp.add, map(self._product, gates, transposed))

            d_before, *d_halves = step_back(kind, multiply, own, dropout, d_state, *inputs)
            return d_before, d_halves

        transposed = tuple(kernel.T for kernel in _by_gate(weights.recurrent_kernel, units))
        arguments = transposed, own_weights(weights), dropout, d_state, (of_steps, marks)
        d_initial, d_halves = self._on_chip(turn, *arguments, reverse=not self.reverse)
        d_input, d_recurrent = (jnp.concatenate(gates, axis=-1) for gates in d_halves)
        return d_initial, d_input, d_recurrent

    def _on_chip(
        self,
        turn: Callable[..., tuple[Halves, Any]],
        kernels: Any,
        own: Any,
        dropout: Array | None,
        state: Halves,
        inputs: Any,
        *,
        reverse: bool,
    ) -> tuple[Halves, Any]:
        """Runs `turn(kernels, own, dropout, state, inputs of a step) → (state, outputs of a step)` over all steps.

        Units are padded to a power of two, as Triton wants them, and sequences to whole programs. Units whose weights
        and input are zero stay zero in every cell, and so do their gradients.

        Args:
            turn: a step, of arrays with two axes.
            kernels: recurrent kernels `[h, h]`.
            own: own weights of the units `[1, h]`.
            dropout: mask of the hidden state `[b, h]`; none if None.
            state: state before the first step that is run.
            inputs: of all steps, arrays `[t, b, h]` and booleans `[t, b, 1]`.
            reverse: whether to run from the last step to the first.
        """
        from jax.experimental.pallas import triton  # Deprecated: its removal should break only this backend.

        b, units = state[0].shape
        t = jax.tree.leaves(inputs)[0].shape[0]
        more_units = max(LEAST_UNITS, pl.next_power_of_2(units)) - units
        more_rows = -b % ROWS

        def padded(more_rows: int, tree: Any) -> Any:
            def pad(a: Array) -> Array:
                if a.dtype == bool:  # Stored as integers: Triton has no booleans in memory.
                    return jnp.pad(a.astype(jnp.int32), ((0, 0), (0, more_rows), (0, 0)))
                return jnp.pad(a, (*((0, 0) for _ in a.shape[:-2]), (0, more_rows), (0, more_units)))

            return jax.tree.map(pad, tree)

        weights = padded(more_units, kernels), padded(0, own)
        of_batch = tuple(padded(more_rows, tree) for tree in (dropout, state, inputs))

        def kernel(*references: Any) -> None:
            *of_all_steps, inputs, last, every = references
            *given, state = jax.tree.map(lambda reference: reference[...], of_all_steps)

            def run(index: Array, state: Halves) -> Halves:
                now = t - 1 - index if reverse else index
                state, outputs = turn(*given, state, _step_of(inputs, now))
                _write(every, now, outputs)
                return state

            _write(last, ..., jax.lax.fori_loop(0, t, run, state))

        after, of_step = jax.eval_shape(turn, *weights, *of_batch[:2], jax.eval_shape(_step_of, of_batch[2], 0))
        every = jax.tree.map(lambda a: jax.ShapeDtypeStruct((t, *a.shape), a.dtype), of_step)
        last, every = pl.pallas_call(
            kernel,
            grid=((b + more_rows) // ROWS,),
            in_specs=[*jax.tree.map(_whole, weights), *jax.tree.map(_block, of_batch)],
            out_specs=jax.tree.map(_block, (after, every)),
            out_shape=(after, every),
            compiler_params=triton.CompilerParams(),
            interpret=jax.default_backend() != "gpu",
        )(*weights, *of_batch)
        return jax.tree.map(lambda a: a[..., :b, :units], (last, every))


def unavailable() -> str:
    """Returns the reason why the kernel cannot run on the devices of this process; "" if it can."""
    return "" if jax.default_backend() == "gpu" else f"it needs a GPU, and JAX runs on {jax.default_backend()} here"


def _by_gate(a: Array, units: int) -> tuple[Array, ...]:
    """Splits the last axis, that of gates and units, into the gates."""
    return tuple(jnp.split(a, a.shape[-1] // units, axis=-1))


def _step_of(inputs: Any, index: Array) -> Any:
    of_step = jax.tree.map(lambda reference: reference[index], inputs)
    return jax.tree.map(lambda a: a != 0 if a.dtype == jnp.int32 else a, of_step)


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
    if dtype_of(cell, call) != jnp.float32:
        return f"it computes in float32, not {described(cell, call)}"
    if reason := unavailable():
        return reason
    width = max(LEAST_UNITS, pl.next_power_of_2(cell.hidden))
    size = width * width * len(cell.gate_names) * jnp.dtype(call.compute_dtype or jnp.float32).itemsize
    return (
        "" if size <= ON_CHIP else f"its recurrent weights take {size >> 10} KiB, and {ON_CHIP >> 10} stay on the chip"
    )


PERSISTENT = Backend(
    "persistent", unfit=_unfit, run=_run, passed_over=lambda cell, call: "it is taken when asked for only"
)
