"""`scan` runs a cell over a batch of sequences, by one of the backends of `rowrnn.recurrence.backend_choice`."""

import dataclasses
from functools import partial
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, DTypeLike

from rowrnn.cells import Cell
from rowrnn.machine.sharding import place_examples, vary_alike
from rowrnn.recurrence.arguments import (
    as_compute_dtype,
    as_state,
    as_step_mask,
    check_cell,
    check_dropout_mask,
    check_sequence,
    valid_steps,
)
from rowrnn.recurrence.backend import Backend, ScanCall, dtype_of
from rowrnn.recurrence.backend_choice import choose
from rowrnn.recurrence.masking import (
    carry_resets,
    forward_fill,
    permute_steps,
    valid_first_permutation,
    zero_where_invalid,
)
from rowrnn.recurrence.segments import run_in_segments
from rowrnn.typing import Booleans, Integers, Outputs, State


class ScanOptions(TypedDict, total=False):
    """Options of `scan` that layers pass on, see there."""

    lengths: Integers | None
    mask: Booleans | None
    resets: Booleans | None
    hold_outputs: bool
    return_states: bool
    backend: str | None
    checkpoint_every: int | None
    compute_dtype: DTypeLike | None


def scan(
    cell: Cell,
    x: ArrayLike,
    *,
    initial_state: State | None = None,
    lengths: Integers | None = None,
    mask: Booleans | None = None,
    resets: Booleans | None = None,
    dropout_mask: ArrayLike | None = None,
    reverse: bool = False,
    hold_outputs: bool = False,
    return_states: bool = False,
    backend: str | None = None,
    checkpoint_every: int | None = None,
    compute_dtype: DTypeLike | None = None,
) -> tuple[Outputs, State]:
    """Runs a cell over the steps of a batch of sequences.

    Args:
        cell: any of `rowrnn.cells`.
        x: sequences `[b, t, d]`, for a `ConvCell` `[b, t, h, w, d]`, with `t ≥ 1` and `d = cell.features`.
        initial_state: state before the first step, with the structure of the cell's own; default: zeros.
        lengths: number of valid steps of each sequence, integers `[b]` between 0 and t; default: t.
        mask: booleans `[b, t]`, true at valid steps; default: all valid. At invalid steps, which may be anywhere, the
            state does not change and the output is zero, whatever the input.
        resets: booleans `[b, t]`, true at the first step of an episode: the state is zero before such a step (with
            `reverse`, after it); default: no resets.
        dropout_mask: `[b, outputs]`, multiplied with the hidden state of a gated cell where that enters a product, and
            only there (variational dropout, Gal & Ghahramani 2016); `Recurrent` draws one. It has no gradient. Default:
            no dropout.
        reverse: whether to run from the last valid step to the first; outputs stay aligned with their inputs.
        hold_outputs: whether to repeat the output of the last valid step at invalid steps; zeros remain before the
            first valid step.
        return_states: whether to return the state after every step instead of the last; its arrays have the axis of
            steps after that of the batch.
        backend: name of a backend, see this module; default: that of `default_backend`, "auto". Only "plain" has
            forward-mode derivatives; "native", "persistent" and "cudnn" have first derivatives only.
        checkpoint_every: number of steps between saved states; the steps between are recomputed for the gradient. About
            √t saves most memory, at the cost of a second forward pass (Chen et al. 2016). Default: no recomputation.
        compute_dtype: dtype to which the factors of every product are rounded, such as bfloat16; sums, gates and states
            keep theirs. "fused" and "persistent" only. Default: not rounded.

    Arrays of 16 bits are computed in float32, and only the results are rounded.

    Returns:
        Outputs of all steps, `[b, t, outputs]`, for a `ConvCell` `[b, t, h, w, outputs]`, and the state after the last
        step that is run, which with `reverse` is the first of the sequence.

    Raises:
        ValueError: if a shape does not fit, a length known outside `jax.jit` is outside [0, t], `checkpoint_every` is
            below 1, or the backend is unknown or cannot compute this scan on this machine.
        TypeError: if `cell` is no cell, `x` or `compute_dtype` is not floating point, `lengths` are not integers, or
            `mask` or `resets` are not boolean.
    """
    check_cell("scan", cell)
    x = jnp.asarray(x)
    check_sequence(x, cell.features, cell.num_feature_axes)
    compute_dtype = as_compute_dtype(compute_dtype)
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"scan expected checkpoint_every of at least 1 step, not {checkpoint_every}.")
    within, valid = valid_steps(x, lengths, mask)
    if resets is not None:
        resets = as_step_mask("resets", resets, x)
        resets = resets if within is None else resets & within
    call = ScanCall(
        x,
        valid=valid,
        resets=resets,
        gaps=mask is not None,
        reverse=reverse,
        return_states=return_states,
        compute_dtype=compute_dtype,
    )
    if dropout_mask is not None:
        mask = check_dropout_mask(cell, x, dropout_mask).astype(dtype_of(cell, call))
        call = dataclasses.replace(call, dropout_mask=mask)
    if initial_state is not None:
        zeros = jax.eval_shape(zero_state, cell, call)
        call = dataclasses.replace(call, state=as_state(initial_state, like=zeros))
    chosen = choose(cell, call, backend).backend
    return _compute(cell, call, backend=chosen, hold_outputs=hold_outputs, checkpoint_every=checkpoint_every)


# Compiled, so that calls outside `jax.jit` are not traced each time; inside, `inline` leaves no nested call.
@partial(jax.jit, static_argnames=("backend", "hold_outputs", "checkpoint_every"), inline=True)
def _compute(
    cell: Cell, call: ScanCall, *, backend: Backend, hold_outputs: bool, checkpoint_every: int | None
) -> tuple[Outputs, State]:
    # A state that is rounded to 16 bits at every step forgets what changes it little.
    dtype = dtype_of(cell, call)
    narrow = jnp.finfo(dtype).bits < 32
    if narrow:
        cell, call = _floats_to(jnp.float32, (cell, call))
    state = zero_state(cell, call) if call.state is None else call.state
    cell, call = vary_alike((cell, dataclasses.replace(call, state=place_examples(state, call.x))))
    valid, forgets = call.valid, None
    if call.resets is not None and call.reverse:
        # In reverse the state is set to zero before the step that precedes an episode's first step.
        forgets = call.resets[:, 0]
        call = dataclasses.replace(call, resets=jnp.pad(call.resets[:, 1:], ((0, 0), (0, 1))))
    gathered = None
    if call.gaps and valid is not None and not backend.knows_gaps(cell):
        order, prefix, back = valid_first_permutation(valid)
        resets = call.resets
        if resets is not None:
            resets, at_end = carry_resets(resets, order, prefix, reverse=call.reverse)
            forgets = at_end if forgets is None else forgets | at_end
        call = dataclasses.replace(call, x=permute_steps(call.x, order, back), valid=prefix, resets=resets)
        gathered = back, order
    run = partial(backend.run, cell)
    with jax.named_scope("rowrnn.scan"):
        if checkpoint_every is None or checkpoint_every >= call.x.shape[1]:
            last, outputs, states = run(call)
        else:
            last, outputs, states = run_in_segments(run, call, checkpoint_every)
    if forgets is not None:
        last = jax.tree.map(lambda a: zero_where_invalid(a, ~forgets), last)
    if gathered is not None:
        outputs = permute_steps(outputs, *gathered)
    if hold_outputs and valid is not None:
        outputs = forward_fill(outputs, valid, call.reverse)
    shown = outputs, states if call.return_states else last
    return _floats_to(dtype, shown) if narrow else shown


def _floats_to(dtype: DTypeLike, tree: Any) -> Any:
    """Casts floating-point arrays; marks and lengths stay as they are."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def zero_state(cell: Cell, call: ScanCall) -> State:
    """Returns the zero state before the first step, in the dtype of the computation."""
    dtype = dtype_of(cell, call)
    return jax.tree.map(lambda a: a.astype(dtype), cell.initial_state(cell.project(call.x[:, 0])))
