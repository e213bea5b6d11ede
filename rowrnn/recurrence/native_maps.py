"""The backend "native" of cells over maps, ConvLSTM and ConvGRU: whole sequences in C++ (`kernels/maps.h`).

What a step reads of its input is a convolution of all steps at once, `project`; the compiled code runs the recurrence.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rowrnn.cells import Cell, ConvGRU, ConvLSTM
from rowrnn.machine.compiled_call import call_compiled, differentiable_once, or_empty, over_batch
from rowrnn.recurrence import plain
from rowrnn.recurrence.array_form import outputs_only_reason
from rowrnn.recurrence.backend import Result, ScanCall, dtype_of


class MapRecurrence(NamedTuple):
    """Static arguments of a recurrence over maps.

    Args:
        recurrence: "lstm" or "gru".
        top: how far above a place its recurrent product begins.
        left: how far to the left.
        reverse: whether to run from the last step to the first.
    """

    recurrence: str
    top: int
    left: int
    reverse: bool

    def call(self, which: str, shapes: Any, *arrays: Array) -> Any:
        """Calls the compiled function "forward" or "backward"."""
        numbers = {"top": np.int64(self.top), "left": np.int64(self.left), "reverse": self.reverse}
        return call_compiled(f"{self.recurrence}_maps_{which}", shapes, *arrays, **numbers)


def map_recurrence_of(cell: Cell) -> str:
    """Returns the name of the recurrence over maps with the equations of this cell; "" if there is none."""
    return vars(type(cell)).get("map_recurrence", "")  # Not inherited: a subclass may have other equations.


def unfit(call: ScanCall) -> str:
    """Returns the reason why a call over maps cannot be computed; "" if it can."""
    if call.valid is not None:
        return "over maps it has no mask"
    if 0 in call.x.shape:
        return "over maps it needs a step and a place"
    return outputs_only_reason(call)


def run(cell: Cell, call: ScanCall) -> Result:
    """Computes a call of a cell over maps, `[b, t, h, w, features]`; on other platforms than a CPU as "plain" does."""
    # Checkpointed, so that a gradient outside of `jax.jit` has no zeros in place of what the loop would save.
    return jax.lax.platform_dependent(cell, call, cpu=_compiled, default=jax.checkpoint(plain.run))


def _compiled(cell: Cell, call: ScanCall) -> Result:
    assert isinstance(cell, ConvLSTM | ConvGRU)
    weights = cell.recurrent_kernel[...], cell.as_arrays().recurrent_bias
    x, state, (kernel, bias) = jax.tree.map(lambda a: a.astype(dtype_of(cell, call)), (call.x, call.state, weights))
    projected, (hidden, memory) = cell.project(x), cell.split_state(state)
    (top, _), (left, _) = cell.recurrent_padding
    # A column of places is computed as a row, whose products are of many places at once.
    column = hidden.shape[2] == kernel.shape[1] == 1
    if column:
        top, left = left, top
        projected, hidden, memory = jax.tree.map(_turned, (projected, hidden, memory))
        kernel = jnp.swapaxes(kernel, 0, 1)
    recurrence = MapRecurrence(map_recurrence_of(cell), top, left, call.reverse)
    outputs, last, last_memory = _recur(recurrence, projected, kernel, bias, hidden, memory)
    if column:
        outputs, last, last_memory = jax.tree.map(_turned, (outputs, last, last_memory))
    return cell.merge_state(last, last_memory), outputs, None


def _turned(maps: Array) -> Array:
    """Exchanges height and width, one of which is 1, of maps `[..., h, w, c]`."""
    *front, height, width, channels = maps.shape
    return maps.reshape(*front, width, height, channels)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(
    recurrence: MapRecurrence, projected: Array, kernel: Array, bias: Array | None, hidden: Array, memory: Array | None
) -> tuple[Array, Array, Array | None]:
    """Computes outputs `[b, t, h, w, k]`, the last hidden state and the last cell state."""
    return _passed(recurrence, projected, kernel, bias, hidden, memory, train=False)[0]


def _passed(recurrence: MapRecurrence, *arrays: Array | None, train: bool) -> Any:
    return differentiable_once(partial(_forward, recurrence, train=train), instead="plain")(*arrays)


def _forward(
    recurrence: MapRecurrence,
    projected: Array,
    kernel: Array,
    bias: Array | None,
    hidden: Array,
    memory: Array | None,
    *,
    train: bool,
) -> tuple[tuple[Array, Array, Array | None], tuple[Array, Array | None] | None]:
    """Computes the results, and for the backward pass the four gates and the cell states of every step."""

    def call(of_batch: Any, _: Any, weights: Any) -> tuple[Any, Any, Any]:
        projected, hidden, memory = of_batch
        kernel, bias = weights
        before = or_empty(memory, hidden, *hidden.shape[:3])
        places, units = projected.shape[:4], hidden.shape[-1]
        of_gates = ((*places, 4 * units), (*places, before.shape[-1])) if train else ((0,), (0,))
        shapes = ((*places, units), hidden.shape, before.shape, *of_gates)
        arguments = projected, kernel, or_empty(bias, kernel), hidden, before
        outputs, last, last_memory, gates, memories = recurrence.call("forward", shapes, *arguments)
        results = outputs, last, None if memory is None else last_memory
        return (results, (gates, None if memory is None else memories) if train else None), (), ()

    return over_batch(call, (projected, hidden, memory), (), (kernel, bias))[0]


def _recur_forward(recurrence: MapRecurrence, *arrays: Array | None) -> tuple[Any, Any]:
    results, saved = _passed(recurrence, *arrays, train=True)
    return results, (*arrays[1:], results[0], *saved)


def _recur_backward(recurrence: MapRecurrence, saved: Any, gradients: Any) -> tuple[Array | None, ...]:
    return differentiable_once(partial(_backward, recurrence), instead="plain")(*saved, *gradients)


def _backward(
    recurrence: MapRecurrence,
    kernel: Array,
    bias: Array | None,
    hidden: Array,
    memory: Array | None,
    outputs: Array,
    gates: Array,
    memories: Array | None,
    *gradients: Array | None,
) -> tuple[Array | None, ...]:
    """Computes the gradients of what is projected, the weights and the initial state."""

    def call(of_batch: Any, _: Any, weights: Any) -> tuple[Any, Any, Any]:
        hidden, memory, outputs, gates, memories, d_outputs, d_last, d_last_memory = of_batch
        kernel, bias = weights
        before, no_bias = or_empty(memory, hidden, *hidden.shape[:3]), or_empty(bias, kernel)
        arguments = (
            *(kernel, hidden, before, outputs, gates, or_empty(memories, outputs, *outputs.shape[:4])),
            *(d_outputs, d_last, or_empty(d_last_memory, hidden, *hidden.shape[:3])),
        )
        of_steps = (*outputs.shape[:4], kernel.shape[-1])
        shapes = of_steps, kernel.shape, no_bias.shape, hidden.shape, before.shape
        d_projected, d_kernel, d_bias, d_hidden, d_memory = recurrence.call("backward", shapes, *arguments)
        of_state = d_hidden, None if memory is None else d_memory
        return (d_projected, *of_state), (), (d_kernel, None if bias is None else d_bias)

    of_batch = (hidden, memory, outputs, gates, memories, *gradients)
    (d_projected, d_hidden, d_memory), _, d_weights = over_batch(call, of_batch, (), (kernel, bias))
    return d_projected, *d_weights, d_hidden, d_memory


_recur.defvjp(_recur_forward, _recur_backward)
