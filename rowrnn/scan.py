"""The one door through which everything recurrent goes: `scan(cell, x)`.

Behind it are backends. "plain" is `jax.lax.scan` over the cell's own step, differentiated by JAX: any cell, any
transformation. "fused" is `rowrnn.fused`: Elman, LSTM and GRU with backward passes derived by hand. "native" is the
same, on a CPU in compiled code (`rowrnn.native`). "cudnn" is NVIDIA's library for a float32 LSTM. "auto" takes native
where it can, else fused, else plain; `explain` tells which and why.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, DTypeLike

from rowrnn import cudnn, native
from rowrnn.cells import GRU, LSTM, Cell, Elman, LSTMState
from rowrnn.fused import Recurrence, recur
from rowrnn.typing import Lengths, Outputs, State

BACKENDS = ("auto", "plain", "fused", "native", "cudnn")

default_backend = jax.make_user_context("auto")
"""Backend of the scans inside: `with default_backend("plain"): ...`."""

# Exactly these: a subclass may step otherwise.
_NAMES: dict[type[Cell], str] = {Elman: "elman", LSTM: "lstm", GRU: "gru"}


def scan(
    cell: Cell,
    x: ArrayLike,
    *,
    initial_state: State | None = None,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    backend: str | None = None,
    checkpoint_every: int | None = None,
    compute_dtype: DTypeLike | None = None,
) -> tuple[Outputs, State]:
    """Runs a cell over the steps of a batch of sequences.

    Args:
        cell: any of `rowrnn.cells`.
        x: sequences `[b, t, d]`, `t ≥ 1`, `d = cell.features`.
        initial_state: the cell's state before the first step, its arrays `[b, hidden]`; zeros where not given.
        lengths: number of valid steps of each sequence, integers `[b]` between 0 and t; all t where not given.
            Past its length a sequence's state is frozen and its outputs are zero, whatever the padding holds.
        reverse: run from the last valid step to the first; outputs stay aligned with their inputs.
        backend: what computes it, see this module; `default_backend`'s, "auto", where not given. Only "plain" has
            forward-mode derivatives; "native" and "cudnn" have first derivatives only.
        checkpoint_every: keep the state after every so many steps only, and compute the steps between anew for the
            gradient: for t steps about √t saves most memory, and costs another forward pass (Chen et al. 2016).
        compute_dtype: dtype to which the factors of every product are rounded, as bfloat16; sums, gates and states
            keep theirs. Not rounded where not given. "fused" only.

    Returns:
        All outputs `[b, t, hidden]` and the last state (with `reverse`, that after the first step).

    Raises:
        ValueError: if a shape does not fit, if `lengths`, where known outside `jax.jit`, leaves [0, t], or if a backend
            cannot run this scan here.
        TypeError: if `x` is not floating point or `lengths` not integer.
    """
    x = jnp.asarray(x)
    _check_sequence(cell, x)
    state = cell.initial_state(cell.project(x[:, 0]))
    if initial_state is not None:
        state = _as_state(initial_state, like=state)
    lengths = jnp.zeros((0,), jnp.int32) if lengths is None else _as_lengths(lengths, x)
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"scan expected checkpoint_every of at least 1 step, not {checkpoint_every}.")
    backend, _ = _choose(cell, x, backend, compute_dtype)
    if backend == "plain":
        run = partial(_plain, cell, reverse)
    else:
        run = partial(_on_arrays, cell, backend, reverse, compute_dtype)
    with jax.named_scope("rowrnn.scan"):
        if checkpoint_every is None or checkpoint_every >= x.shape[1]:
            return run(x, state, lengths)
        return _in_segments(run, x, state, lengths, reverse, checkpoint_every)


def explain(cell: Cell, x: ArrayLike, *, backend: str | None = None, compute_dtype: DTypeLike | None = None) -> str:
    """Which backend `scan` takes for these arguments, and why.

    Raises:
        ValueError: if a backend that is asked for cannot run this scan here.
    """
    return ": ".join(_choose(cell, jnp.asarray(x), backend, compute_dtype))


def _choose(cell: Cell, x: Array, backend: str | None, compute_dtype: DTypeLike | None) -> tuple[str, str]:
    """A backend and the reason for it."""
    backend = default_backend.value if backend is None else backend
    dtype = jnp.result_type(x, *jax.tree.leaves(cell))
    what = f"a {dtype} {type(cell).__name__}" + (f" in {jnp.dtype(compute_dtype)}" if compute_dtype else "")
    in_float32 = dtype == jnp.float32 and compute_dtype is None
    platform = jax.default_backend()

    def hindrance(backend: str) -> str:
        if backend == "plain":
            return f"it rounds nothing to {jnp.dtype(compute_dtype)}" if compute_dtype else ""
        if type(cell) not in _NAMES:
            return f"{type(cell).__name__} is none of {', '.join(known.__name__ for known in _NAMES)}"
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
    not_native, not_fused = hindrance("native"), hindrance("fused")
    if not not_native:
        return "native", f"{what} on a CPU"
    if not not_fused:
        return "fused", f"native is out, {not_native}"
    if reason := hindrance("plain"):
        raise ValueError(f"scan cannot compute in {jnp.dtype(compute_dtype)}: {not_fused}.")
    return "plain", not_fused


def _plain(cell: Cell, reverse: bool, x: Array, state: State, lengths: Array) -> tuple[Array, State]:
    """The cell's own step in a loop, differentiated by JAX."""
    x = jnp.swapaxes(x, 0, 1)
    valid = None
    if lengths.size:
        valid = (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None, :])[:, :, None]
        # Masked before the product: its gradient multiplies the padding by zero, and 0 · NaN is NaN.
        x = jnp.where(valid, x, jnp.zeros_like(x))

    def step(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, Array]:
        projected, valid = inputs
        stepped, output = cell.step(state, projected)
        if valid is None:
            return stepped, output
        frozen = jax.tree.map(lambda new, old: jnp.where(valid, new, old), stepped, state)
        return frozen, jnp.where(valid, output, jnp.zeros_like(output))

    state, outputs = jax.lax.scan(step, state, (cell.project(x), valid), reverse=reverse)
    return jnp.swapaxes(outputs, 0, 1), state


def _on_arrays(
    cell: Any,
    backend: str,
    reverse: bool,
    compute_dtype: DTypeLike | None,
    x: Array,
    state: State,
    lengths: Array,
) -> tuple[Array, State]:
    """A cell of ours in the arrays that its recurrence takes: weights, and a state of two halves."""
    dtype = jnp.result_type(x, *jax.tree.leaves(cell))
    lstm = isinstance(cell, LSTM)
    weights = (
        cell.input_kernel[...],
        cell.bias[...],
        cell.recurrent_kernel[...],
        cell.candidate_bias[...] if isinstance(cell, GRU) else jnp.zeros((0,), dtype),
    )
    halves = state if lstm else (state, jnp.zeros((x.shape[0], 0), dtype))
    x, weights, halves = jax.tree.map(lambda a: a.astype(dtype), (x, weights, tuple(halves)))
    if backend == "cudnn":
        outputs, last = cudnn.lstm(x, weights, halves, lengths, reverse=reverse)
    else:
        how = Recurrence(_NAMES[type(cell)], reverse, backend == "native", compute_dtype)
        outputs, last = recur(how, x, weights, halves, lengths)
    return outputs, LSTMState(*last) if lstm else last[0]


def _in_segments(
    run: Callable[[Array, State, Array], tuple[Array, State]],
    x: Array,
    state: State,
    lengths: Array,
    reverse: bool,
    steps: int,
) -> tuple[Array, State]:
    """Segments of so many steps, of which only the first state is kept for the gradient; a shorter one at the end."""
    b, t, d = x.shape
    whole = t // steps * steps

    def segment(state: State, inputs: tuple[Array, Array]) -> tuple[State, Array]:
        x, start = inputs
        within = jnp.clip(lengths - start, 0, x.shape[1])
        outputs, state = run(x, state, within)
        return state, outputs

    rest = x[:, whole:], jnp.asarray(whole, lengths.dtype)
    last: Array | None = None
    if reverse and whole < t:
        state, last = segment(state, rest)
    starts = jnp.arange(0, whole, steps, dtype=lengths.dtype)
    segments = jnp.swapaxes(x[:, :whole].reshape(b, t // steps, steps, d), 0, 1), starts
    # Inside a loop nothing is computed once for both passes, which is what the barrier would prevent.
    state, outputs = jax.lax.scan(jax.checkpoint(segment, prevent_cse=False), state, segments, reverse=reverse)
    outputs = jnp.swapaxes(outputs, 0, 1).reshape(b, whole, outputs.shape[-1])
    if not reverse and whole < t:
        state, last = segment(state, rest)
    return outputs if last is None else jnp.concatenate([outputs, last], axis=1), state


def _check_sequence(cell: Cell, x: Array) -> None:
    if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != cell.features:
        raise ValueError(
            f"scan expected sequences of shape [b, t, d] with at least one step and d = {cell.features} features, "
            f"and was given {_shape(x)}."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"scan expected floating-point sequences and was given {x.dtype}: convert and scale them first."
        )


def _as_lengths(lengths: ArrayLike, x: Array) -> Lengths:
    # Values are known only outside a transformation; inside, a length outside [0, t] acts as the nearest bound.
    known = None if isinstance(lengths, jax.core.Tracer) else np.asarray(lengths)
    batch, steps = x.shape[:2]
    if jnp.shape(lengths) != (batch,):
        raise ValueError(f"scan expected one length for each of {batch} sequences, [{batch}], not {_shape(lengths)}.")
    if not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise TypeError(f"scan expected integer lengths and was given {jnp.result_type(lengths)}.")
    if known is not None and batch and not ((known >= 0) & (known <= steps)).all():
        raise ValueError(
            f"scan expected lengths between 0 and t = {steps}, the number of steps; they run from "
            f"{known.min()} to {known.max()}. Cut the lengths or pad the sequences."
        )
    return jnp.asarray(lengths).astype(jnp.int32)  # A narrow dtype may be too small to count the steps.


def _as_state(state: State, like: State) -> State:
    if jax.tree.structure(state) != jax.tree.structure(like):
        raise ValueError(
            f"scan expected an initial state of the form {jax.tree.map(_shape, like)}, "
            f"and was given {jax.tree.map(_shape, state)}."
        )
    for given, expected in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
        if jnp.shape(given) != expected.shape:
            raise ValueError(
                f"scan expected an initial state of shape {_shape(expected)} and was given {_shape(given)}."
            )
    return jax.tree.map(lambda given, expected: jnp.asarray(given, expected.dtype), state, like)


def _shape(x: ArrayLike) -> str:
    return str(list(jnp.shape(x)))
