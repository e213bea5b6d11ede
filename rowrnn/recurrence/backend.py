"""The interface of a backend of `scan`."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike

from rowrnn.cells import Cell
from rowrnn.cells.zoneout import ZoneoutCell
from rowrnn.typing import State

Result = tuple[State, Array, State | None]
"""The last state, the outputs `[b, t, ...]`, and, if `return_states`, the state after every step, else None."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["x", "state", "valid", "resets", "dropout_mask"],
    meta_fields=["gaps", "reverse", "return_states", "compute_dtype"],
)
@dataclasses.dataclass(frozen=True)
class ScanCall:
    """Arguments of `scan`, checked and converted.

    Args:
        x: sequences `[b, t, ...]`.
        state: state before the first step, in the dtype of the computation.
        valid: mask of valid steps, `[b, t]`; all if None.
        gaps: whether an invalid step may precede a valid one.
        resets: mask of the steps before which, in the order of computation, the state is set to zero, `[b, t]`; none if
            None.
        dropout_mask: `[b, outputs]`, in the dtype of the computation, multiplied with the hidden state of a gated cell
            where that enters a product; no dropout if None.
        reverse: whether to run from the last valid step to the first.
        return_states: whether to return the state after every step.
        compute_dtype: dtype to which the factors of products are rounded; not rounded if None.
    """

    x: Array
    state: Any = None
    valid: Bool[Array, "b t"] | None = None
    resets: Bool[Array, "b t"] | None = None
    dropout_mask: Array | None = None
    gaps: bool = False
    reverse: bool = False
    return_states: bool = False
    compute_dtype: DTypeLike | None = None


@dataclasses.dataclass(frozen=True)
class Backend:
    """A way to compute a scan.

    Args:
        name: name by which users select it.
        unfit: function `(cell, call)` that returns the reason why the backend cannot compute this call on this machine;
            "" if it can.
        run: function `(cell, call)` that computes the call.
        knows_gaps: function `(cell)` that returns whether `run` accepts invalid steps anywhere; otherwise they are
            moved to the end first.
        passed_over: function `(cell, call)` that returns the reason why "auto" skips the backend although it could
            compute the call; "" if it does not.
        instead_of: name of the faster backend for the same cells; where this one is selected, the reason says why that
            one was not.
        takes_all_cores: whether it computes with all cores of a CPU from one JAX device.
    """

    name: str
    unfit: Callable[[Cell, ScanCall], str]
    run: Callable[[Cell, ScanCall], Result]
    knows_gaps: Callable[[Cell], bool] = lambda cell: False
    passed_over: Callable[[Cell, ScanCall], str] = lambda cell, call: ""
    instead_of: str = ""
    takes_all_cores: bool = False


def dtype_of(cell: Cell, call: ScanCall) -> jnp.dtype:
    """Returns the dtype of the computation, promoted from the parameters and the sequences."""
    return jnp.result_type(call.x, *jax.tree.leaves(cell))


def described(cell: Cell, call: ScanCall) -> str:
    """Describes a call for use in a reason, such as "a float32 LSTM in bfloat16"."""
    rounded = "" if call.compute_dtype is None else f" in {jnp.dtype(call.compute_dtype)}"
    return f"a {dtype_of(cell, call)} {name_of(cell)}{rounded}"


def name_of(cell: Cell) -> str:
    """Returns the name of a cell for use in a reason."""
    return f"{type(cell.cell).__name__} with zoneout" if isinstance(cell, ZoneoutCell) else type(cell).__name__


def no_rounding_reason(call: ScanCall) -> str:
    """Returns the reason why a backend without `compute_dtype` cannot compute a call; "" if none is requested."""
    return "" if call.compute_dtype is None else f"it rounds nothing to {jnp.dtype(call.compute_dtype)}"
