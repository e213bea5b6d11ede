"""The one door through which everything recurrent goes: `scan(cell, x)`.

Behind it are backends. "plain" loops over the cell's own step, differentiated by JAX: any cell, any transformation.
"fused" has backward passes derived by hand: Elman, LSTM and GRU (`rowrnn.fused`), and linear cells step by step
(`rowrnn.linear_recurrence`). "native" is the same for LSTM and GRU, on a CPU in compiled code (`rowrnn.native`).
"parallel" computes linear cells in parallel over time. "cudnn" is NVIDIA's library for a float32 LSTM. "auto" takes the
fastest of those that can; `explain` tells which and why.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, DTypeLike

from rowrnn import cudnn, loop, native
from rowrnn.arguments import as_marks, as_state, check_sequence, valid_steps
from rowrnn.cells import GRU, LSTM, Cell, Elman, LinearCell, LSTMState
from rowrnn.fused import Recurrence, recur
from rowrnn.linear_recurrence import linear_recurrence
from rowrnn.masking import compacted, held, over, permuted, zeroed
from rowrnn.typing import Outputs, State

BACKENDS = ("auto", "plain", "fused", "native", "parallel", "cudnn")

default_backend = jax.make_user_context("auto")
"""Backend of the scans inside: `with default_backend("plain"): ...`."""

# Exactly these: a subclass may step otherwise.
_NAMES: dict[type[Cell], str] = {Elman: "elman", LSTM: "lstm", GRU: "gru"}

Run = Callable[..., tuple[State, tuple[Array, State | None]]]


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
        resets = as_marks("resets", resets, x)
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
            order, prefix, back = compacted(valid)
            inputs, way = (permuted(x, order, back), prefix, None), (back, order)
    with jax.named_scope("rowrnn.scan"):
        if checkpoint_every is None or checkpoint_every >= x.shape[1]:
            last, (outputs, states) = run(state, inputs)
        else:
            last, (outputs, states) = _in_segments(run, state, inputs, reverse, checkpoint_every)
    if resets is not None and reverse:
        last = jax.tree.map(lambda a: zeroed(a, ~before_first), last)
    outputs = outputs if way is None else permuted(outputs, *way)
    if hold_outputs and valid is not None:
        outputs = held(outputs, valid, reverse)
    return outputs, states if return_states else last


def explain(
    cell: Cell,
    x: ArrayLike,
    *,
    resets: bool = False,
    return_states: bool = False,
    backend: str | None = None,
    compute_dtype: DTypeLike | None = None,
) -> str:
    """Which backend `scan` takes for these arguments, and why.

    Args:
        cell: as for `scan`.
        x: as for `scan`.
        resets: whether there are any.
        return_states: as for `scan`.
        backend: as for `scan`.
        compute_dtype: as for `scan`.

    Raises:
        ValueError: if a backend that is asked for cannot run this scan here.
    """
    return ": ".join(_choose(cell, jnp.asarray(x), backend, compute_dtype, resets, return_states))


def _choose(
    cell: Cell, x: Array, backend: str | None, compute_dtype: DTypeLike | None, resets: bool, return_states: bool
) -> tuple[str, str]:
    """A backend and the reason for it."""
    backend = default_backend.value if backend is None else backend
    dtype = jnp.result_type(x, *jax.tree.leaves(cell))
    what = f"a {dtype} {type(cell).__name__}" + (f" in {jnp.dtype(compute_dtype)}" if compute_dtype else "")
    in_float32 = dtype == jnp.float32 and compute_dtype is None
    platform = jax.default_backend()
    linear = isinstance(cell, LinearCell) and _is_linear(cell)

    def hindrance(backend: str) -> str:
        if backend == "parallel" and not linear:
            return f"{type(cell).__name__} is no linear cell"
        if backend in ("parallel", "plain") or (backend == "fused" and linear):
            return f"it rounds nothing to {jnp.dtype(compute_dtype)}" if compute_dtype else ""
        if type(cell) not in _NAMES:
            return f"{type(cell).__name__} is none of {', '.join(known.__name__ for known in _NAMES)}"
        if resets or return_states:
            return f"it has no {'resets' if resets else 'states to return but the last'}"
        if backend == "fused":
            return ""
        if backend == "cudnn":
            fits = in_float32 and type(cell) is LSTM
            return cudnn.unavailable() if fits else f"it runs a float32 LSTM, not {what}"
        if not in_float32 or type(cell) is Elman:
            return f"it runs a float32 LSTM or GRU, not {what}"
        return native.unavailable() if platform == "cpu" else f"it runs on a CPU, and JAX on {platform}"

    if backend not in BACKENDS:
        raise ValueError(f"scan knows no backend {backend!r}; there are {', '.join(BACKENDS)}.")
    if backend != "auto":
        if reason := hindrance(backend):
            raise ValueError(f"scan cannot take the backend {backend!r}: {reason}.")
        return backend, "asked for"
    if linear and not hindrance("parallel"):
        # On a CPU one step after the other reads each coefficient once, from the cache; those of complex units are not
        # even written.
        in_turn = "plain" if cell.complex_units else "fused"
        return (in_turn if platform == "cpu" else "parallel"), f"{what} on {platform}"
    not_native, not_fused = hindrance("native"), hindrance("fused")
    if not not_native:
        return "native", f"{what} on a CPU"
    if not not_fused:
        return "fused", f"native is out, {not_native}"
    if compute_dtype is not None:
        raise ValueError(
            f"scan cannot round the products of {type(cell).__name__} to {jnp.dtype(compute_dtype)}, which "
            f"{', '.join(known.__name__ for known in _NAMES)} can: cast its parameters and inputs instead."
        )
    return "plain", not_fused


def _is_linear(cell: Cell) -> bool:
    # A subclass may step otherwise.
    return isinstance(cell, LinearCell) and type(cell).step is LinearCell.step


def _on_arrays(
    cell: Any,
    backend: str,
    reverse: bool,
    compute_dtype: DTypeLike | None,
    state: State,
    inputs: tuple[Array, Array | None, Any],
) -> tuple[State, tuple[Array, None]]:
    """A cell of ours in the arrays that its recurrence takes: weights, a state of two halves, and lengths."""
    x, valid, _ = inputs
    lengths = jnp.zeros((0,), jnp.int32) if valid is None else valid.sum(axis=1, dtype=jnp.int32)
    dtype = jnp.result_type(x, *jax.tree.leaves(cell))
    lstm = isinstance(cell, LSTM)
    weights = (
        cell.input_kernel[...],
        cell.bias[...],
        cell.recurrent_kernel[...],
        cell.candidate_bias[...] if isinstance(cell, GRU) else jnp.zeros((0,), dtype),
    )
    halves = state if lstm else (state, state[:, :0])
    x, weights, halves = jax.tree.map(lambda a: a.astype(dtype), (x, weights, tuple(halves)))
    if backend == "cudnn":
        outputs, last = cudnn.lstm(x, weights, halves, lengths, reverse=reverse)
    else:
        how = Recurrence(_NAMES[type(cell)], reverse, backend == "native", compute_dtype)
        outputs, last = recur(how, x, weights, halves, lengths)
    return LSTMState(*last) if lstm else last[0], (outputs, None)


def _linear(
    cell: Any, parallel: bool, reverse: bool, state: Array, inputs: tuple[Array, Array | None, Array | None]
) -> tuple[Array, tuple[Array, Array]]:
    """A cell whose steps are known before the first: a step that is not valid multiplies by 1 and adds 0."""
    x, valid, resets = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
    coefficients = cell.coefficients(cell.project(zeroed(x, valid)))
    units = cell.units(state)
    decay, drive = (coefficient.astype(units.dtype) for coefficient in coefficients)
    if valid is not None:
        decay, drive = jnp.where(over(valid, decay), decay, jnp.ones_like(decay)), zeroed(drive, valid)
    decay = decay if resets is None else zeroed(decay, ~resets)
    states = cell.parts(linear_recurrence(decay, drive, units, reverse, parallel), state.dtype)
    shown = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (zeroed(states, valid), states))
    return states[0 if reverse else -1], shown


def _in_segments(
    run: Run, state: State, inputs: Any, reverse: bool, steps: int
) -> tuple[State, tuple[Array, State | None]]:
    """Segments of so many steps, of which only the first state is kept for the gradient; a shorter one at the end."""
    b, t = inputs[0].shape[:2]
    count = t // steps

    def cut(a: Array) -> Array:
        return jnp.swapaxes(a[:, : count * steps].reshape(b, count, steps, *a.shape[2:]), 0, 1)

    def joined(a: Array) -> Array:
        return jnp.swapaxes(a, 0, 1).reshape(b, count * steps, *a.shape[3:])

    rest = jax.tree.map(lambda a: a[:, count * steps :], inputs) if t % steps else None
    shown: Any = None
    if reverse and rest is not None:
        state, shown = run(state, rest)
    # Inside a loop nothing is computed once for both passes, which is what the barrier would prevent.
    segment = jax.checkpoint(run, prevent_cse=False)
    state, whole = jax.lax.scan(segment, state, jax.tree.map(cut, inputs), reverse=reverse)
    whole = jax.tree.map(joined, whole)
    if not reverse and rest is not None:
        state, shown = run(state, rest)
    return state, whole if shown is None else jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), whole, shown)
