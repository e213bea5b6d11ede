"""The one door through which everything recurrent goes: `scan(cell, x)`.

Behind it are backends. "plain" loops over the cell's own step, differentiated by JAX: any cell, any transformation.
"fused" has backward passes derived by hand: Elman, LSTM and GRU (`fused`), and linear cells step by step (`linear`).
"native" is the same for LSTM and GRU, on a CPU in compiled code (`native`). "parallel" computes linear cells in
parallel over time. "cudnn" is NVIDIA's library for a float32 LSTM. "auto" takes the
fastest of those that can; `explain` tells which and why.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, DTypeLike

from rowrnn.cells import Cell
from rowrnn.recurrence import plain as loop
from rowrnn.recurrence.arguments import as_state, as_step_mask, check_sequence, valid_steps
from rowrnn.recurrence.array_form import _on_arrays
from rowrnn.recurrence.backend_choice import _choose, _is_linear
from rowrnn.recurrence.linear import _linear
from rowrnn.recurrence.masking import forward_fill, permute_steps, valid_first_permutation, zero_where_invalid
from rowrnn.recurrence.segments import _in_segments
from rowrnn.typing import Outputs, State


def scan(
    cell: Cell,
    x: ArrayLike,
    *,
    initial_state: State | None = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
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
        TypeError: if `x` is not floating point, `lengths` not integer, or `mask` or `resets` not boolean.
    """
    x = jnp.asarray(x)
    check_sequence(x, cell.features, cell.num_feature_axes)
    dtype = jnp.result_type(x, *jax.tree.leaves(cell))
    state = jax.tree.map(lambda a: a.astype(dtype), cell.initial_state(cell.project(x[:, 0])))
    if initial_state is not None:
        state = as_state(initial_state, like=state)
    within, valid = valid_steps(x, lengths, mask)
    if resets is not None:
        resets = as_step_mask("resets", resets, x)
        resets = resets if within is None else resets & within
        # On the way back it is the step before an episode's first one that must not see the episode.
        before_first = resets[:, 0]
        resets = jnp.pad(resets[:, 1:], ((0, 0), (0, 1))) if reverse else resets
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"scan expected checkpoint_every of at least 1 step, not {checkpoint_every}.")
    backend, _ = _choose(cell, x, backend, compute_dtype, resets is not None, return_states)

    inputs, way = (x, valid, resets), None
    if _is_linear(cell) and backend != "plain":
        run = partial(_linear, cell, backend == "parallel", reverse)
    elif backend == "plain":
        run = partial(loop.run, cell, reverse, states=return_states)
    else:
        run = partial(_on_arrays, cell, backend, reverse, compute_dtype)
        if mask is not None and valid is not None:  # Its gaps are moved to the end: these backends know lengths.
            order, prefix, back = valid_first_permutation(valid)
            inputs, way = (permute_steps(x, order, back), prefix, None), (back, order)
    with jax.named_scope("rowrnn.scan"):
        if checkpoint_every is None or checkpoint_every >= x.shape[1]:
            last, (outputs, states) = run(state, inputs)
        else:
            last, (outputs, states) = _in_segments(run, state, inputs, reverse, checkpoint_every)
    if resets is not None and reverse:
        last = jax.tree.map(lambda a: zero_where_invalid(a, ~before_first), last)
    outputs = outputs if way is None else permute_steps(outputs, *way)
    if hold_outputs and valid is not None:
        outputs = forward_fill(outputs, valid, reverse)
    return outputs, states if return_states else last
