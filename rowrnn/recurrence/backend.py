"""The contract of a backend: what `scan` asks of it, and how it says that it cannot."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike

from rowrnn.cells import Cell
from rowrnn.typing import State

Result = tuple[State, Array, State | None]
"""The last state, the outputs `[b, t, ...]`, and the state after every step where it was asked for, else None."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["x", "state", "valid", "resets"],
    meta_fields=["gaps", "reverse", "return_states", "compute_dtype"],
)
@dataclasses.dataclass(frozen=True)
class ScanCall:
    """What `scan` was asked to compute, checked and in one form.

    Args:
        x: sequences `[b, t, ...]`.
        state: state before the first step, in the dtype of the computation.
        valid: which steps are valid, `[b, t]`; all where None.
        gaps: whether a step that is not valid may lie before one that is.
        resets: before which steps the state is zero again, in the order of the run, `[b, t]`; none where None.
        reverse: whether the run goes from the last valid step to the first.
        return_states: whether the state after every step is asked for.
        compute_dtype: dtype to which the factors of products are rounded; not rounded where None.
    """

    x: Array
    state: Any = None
    valid: Bool[Array, "b t"] | None = None
    resets: Bool[Array, "b t"] | None = None
    gaps: bool = False
    reverse: bool = False
    return_states: bool = False
    compute_dtype: DTypeLike | None = None


@dataclasses.dataclass(frozen=True)
class Backend:
    """One way to compute a scan.

    Args:
        name: what it is asked for by.
        unfit: a cell and a call to the reason why it cannot compute them here; empty where it can.
        run: computes a cell's call.
        knows_gaps: a cell to whether `run` takes steps that are not valid anywhere; else it is given them at the end.
        passed_over: a cell and a call to the reason why "auto" does not take it although it can; empty where it does.
    """

    name: str
    unfit: Callable[[Cell, ScanCall], str]
    run: Callable[[Cell, ScanCall], Result]
    knows_gaps: Callable[[Cell], bool] = lambda cell: False
    passed_over: Callable[[Cell, ScanCall], str] = lambda cell, call: ""


def dtype_of(cell: Cell, call: ScanCall) -> jnp.dtype:
    """Returns the dtype of the computation: that of the parameters and the sequences together."""
    return jnp.result_type(call.x, *jax.tree.leaves(cell))


def described(cell: Cell, call: ScanCall) -> str:
    """Describes a call for a reason, as "a float32 LSTM in bfloat16"."""
    rounded = "" if call.compute_dtype is None else f" in {jnp.dtype(call.compute_dtype)}"
    return f"a {dtype_of(cell, call)} {type(cell).__name__}{rounded}"


def rounds_nothing(call: ScanCall) -> str:
    """Returns why a backend without `compute_dtype` cannot compute a call; empty where none is asked for."""
    return "" if call.compute_dtype is None else f"it rounds nothing to {jnp.dtype(call.compute_dtype)}"
