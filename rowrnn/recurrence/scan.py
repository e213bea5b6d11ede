"""The one door through which everything recurrent goes: `scan(cell, x)`.

Behind it are backends. "plain" loops over the cell's own step, differentiated by JAX: any cell, any transformation.
"fused" has backward passes derived by hand: Elman, LSTM and GRU (`fused`), and linear cells step by step (`linear`).
"native" is the same for LSTM and GRU, on a CPU in compiled code (`native`). "parallel" computes linear cells in
parallel over time. "cudnn" is NVIDIA's library for a float32 LSTM. "auto" takes the
fastest of those that can; `explain` tells which and why.
"""

import dataclasses
from functools import partial
from typing import TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, DTypeLike

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import (
    as_state,
    as_step_mask,
    check_cell,
    check_compute_dtype,
    check_sequence,
    valid_steps,
)
from rowrnn.recurrence.backend import Backend, ScanCall, dtype_of
from rowrnn.recurrence.backend_choice import choose
from rowrnn.recurrence.masking import forward_fill, permute_steps, valid_first_permutation, zero_where_invalid
from rowrnn.recurrence.segments import run_in_segments
from rowrnn.recurrence.sharding import vary_alike
from rowrnn.typing import Booleans, Integers, Outputs, State


class ScanOptions(TypedDict, total=False):
    """Options of `scan` that layers hand on."""

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
        x: sequences `[b, t, d]`, of a `ConvCell` `[b, t, h, w, d]`, `t ≥ 1`, `d = cell.features`.
        initial_state: the cell's state before the first step, in the form of the cell's own; zeros where not given.
        lengths: number of valid steps of each sequence, integers `[b]` between 0 and t; all t where not given.
        mask: which steps are valid, booleans `[b, t]`; all where not given. At the others, wherever they lie, a
            sequence's state is held and its output is zero, whatever the step contains.
        resets: which steps begin an episode, booleans `[b, t]`: the state is zero before such a step, and with
            `reverse` after it.
        reverse: run from the last valid step to the first; outputs stay aligned with their inputs.
        hold_outputs: show the last valid step's output at steps that are not valid, zeros only before the first.
        return_states: return the state after every step, its arrays with an axis of steps after the batch, in place
            of the last.
        backend: what computes it, see this module; `default_backend`'s, "auto", where not given. Only "plain" has
            forward-mode derivatives; "native" and "cudnn" have first derivatives only.
        checkpoint_every: keep the state after every so many steps only, and compute the steps between anew for the
            gradient: for t steps about √t saves most memory, and costs another forward pass (Chen et al. 2016).
        compute_dtype: dtype to which the factors of every product are rounded, as bfloat16; sums, gates and states
            keep theirs. Not rounded where not given. "fused" only.

    Returns:
        All outputs, `[b, t, outputs]`, of a `ConvCell` `[b, t, h, w, outputs]`, and the last state (with `reverse`,
        that after the first step).

    Raises:
        ValueError: if a shape does not fit, if `lengths`, where known outside `jax.jit`, leaves [0, t], or if a backend
            cannot run this scan here.
        TypeError: if `cell` is no cell, `x` or `compute_dtype` not floating point, `lengths` not integer, or `mask` or
            `resets` not boolean.
    """
    check_cell(cell)
    x = jnp.asarray(x)
    check_sequence(x, cell.features, cell.num_feature_axes)
    check_compute_dtype(compute_dtype)
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
    if initial_state is not None:
        zeros = jax.eval_shape(partial(_zero_state, cell), call)
        call = dataclasses.replace(call, state=as_state(initial_state, like=zeros))
    chosen = choose(cell, call, backend).backend
    return _compute(cell, call, backend=chosen, hold_outputs=hold_outputs, checkpoint_every=checkpoint_every)


# Compiled, so that a call outside of `jax.jit` is not traced and compiled anew each time; inside it leaves no trace.
@partial(jax.jit, static_argnames=("backend", "hold_outputs", "checkpoint_every"), inline=True)
def _compute(
    cell: Cell, call: ScanCall, *, backend: Backend, hold_outputs: bool, checkpoint_every: int | None
) -> tuple[Outputs, State]:
    cell, call = vary_alike((cell, call))
    if call.state is None:
        call = dataclasses.replace(call, state=_zero_state(cell, call))
    valid, before_first = call.valid, None
    if call.resets is not None and call.reverse:
        # On the way back it is the step before an episode's first one that must not see the episode.
        before_first = call.resets[:, 0]
        call = dataclasses.replace(call, resets=jnp.pad(call.resets[:, 1:], ((0, 0), (0, 1))))
    gathered = None
    if call.gaps and valid is not None and not backend.knows_gaps(cell):
        order, prefix, back = valid_first_permutation(valid)
        call = dataclasses.replace(call, x=permute_steps(call.x, order, back), valid=prefix)
        gathered = back, order
    run = partial(backend.run, cell)
    with jax.named_scope("rowrnn.scan"):
        if checkpoint_every is None or checkpoint_every >= call.x.shape[1]:
            last, outputs, states = run(call)
        else:
            last, outputs, states = run_in_segments(run, call, checkpoint_every)
    if before_first is not None:
        last = jax.tree.map(lambda a: zero_where_invalid(a, ~before_first), last)
    if gathered is not None:
        outputs = permute_steps(outputs, *gathered)
    if hold_outputs and valid is not None:
        outputs = forward_fill(outputs, valid, call.reverse)
    return outputs, states if call.return_states else last


def _zero_state(cell: Cell, call: ScanCall) -> State:
    """Returns the state before the first step where none is given."""
    dtype = dtype_of(cell, call)
    return jax.tree.map(lambda a: a.astype(dtype), cell.initial_state(cell.project(call.x[:, 0])))
