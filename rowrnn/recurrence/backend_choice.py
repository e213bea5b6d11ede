"""Selection of the backend of a scan."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, DTypeLike

from rowrnn.cells import Cell
from rowrnn.machine.default import default_backend
from rowrnn.recurrence.arguments import as_compute_dtype, check_cell, check_sequence
from rowrnn.recurrence.backend import Backend, ScanCall, described, name_of
from rowrnn.recurrence.chunkwise import CHUNKWISE
from rowrnn.recurrence.cost import described_cost
from rowrnn.recurrence.cudnn import CUDNN
from rowrnn.recurrence.fused import FUSED
from rowrnn.recurrence.linear import PARALLEL
from rowrnn.recurrence.native import NATIVE
from rowrnn.recurrence.persistent import PERSISTENT
from rowrnn.recurrence.plain import PLAIN

BACKENDS: tuple[Backend, ...] = (CUDNN, PERSISTENT, PARALLEL, CHUNKWISE, NATIVE, FUSED, PLAIN)
"""All backends, fastest first: "auto" selects the first that can compute the call and does not pass it over."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The selected backend and the reason for it."""

    backend: Backend
    reason: str

    def __str__(self) -> str:
        return f"{self.backend.name}: {self.reason}"


def explain(
    cell: Cell,
    x: ArrayLike,
    *,
    resets: bool = False,
    return_states: bool = False,
    backend: str | None = None,
    compute_dtype: DTypeLike | None = None,
    cost: bool = False,
) -> str:
    """Returns which backend `scan` selects for these arguments, and why, such as "native: a float32 LSTM on cpu".

    A mask or dropout may leave a call to another one, see the page on scan.

    Args:
        cell: any of `rowrnn.cells`.
        x: sequences `[b, t, d]`, for a `ConvCell` `[b, t, h, w, d]`.
        resets: whether `scan` is called with resets.
        return_states: whether `scan` returns the state after every step.
        backend: name of a backend; default: that of `default_backend`, "auto".
        compute_dtype: dtype to which the factors of products are rounded; default: not rounded.
        cost: whether to add, in lines, what the scan computes and how long it should take, forward and with gradients;
            for this the machine is measured for about a second, see `rowrnn.recurrence.cost`.

    Raises:
        ValueError: if a shape does not fit, the backend is unknown or cannot compute this scan on this machine, or its
            cost is asked for and not known: it is for Elman, LSTM with and without peepholes and GRU in compiled code.
        TypeError: if `cell` is no cell, or `x` or `compute_dtype` is not floating point.
    """
    check_cell("explain", cell)
    x = jnp.asarray(x)
    check_sequence(x, cell.features, cell.num_feature_axes)
    compute_dtype = as_compute_dtype(compute_dtype)
    marks = jnp.zeros(x.shape[:2], bool) if resets else None
    call = ScanCall(x, resets=marks, return_states=return_states, compute_dtype=compute_dtype)
    choice = choose(cell, call, backend)
    return f"{choice}\n{described_cost(cell, call, choice.backend)}" if cost else str(choice)


def choose(cell: Cell, call: ScanCall, name: str | None = None) -> Choice:
    """Selects the backend with this name; default: that of `default_backend`. "auto" selects the fastest possible.

    Raises:
        ValueError: if the backend is unknown, or cannot compute the call on this machine.
    """
    name = default_backend.value if name is None else name
    if name != "auto":
        asked_for = next((backend for backend in BACKENDS if backend.name == name), None)
        if asked_for is None:
            names = ", ".join(["auto", *(backend.name for backend in reversed(BACKENDS))])
            raise ValueError(f"scan knows no backend {name!r}; there are {names}.")
        if reason := asked_for.unfit(cell, call):
            raise ValueError(f"scan cannot take the backend {name!r}: {reason}.")
        return Choice(asked_for, "asked for")
    out: dict[str, str] = {}
    for backend in BACKENDS:
        reason = backend.unfit(cell, call) or backend.passed_over(cell, call)
        if not reason:
            faster = backend.instead_of
            on_platform = f"{described(cell, call)} on {jax.default_backend()}"
            return Choice(backend, f"{faster} is out, {out[faster]}" if faster else on_platform)
        out[backend.name] = reason
    raise ValueError(
        f"scan cannot round the products of {name_of(cell)} to {jnp.dtype(call.compute_dtype)}: {out['fused']}. Leave "
        "compute_dtype out, or cast parameters and inputs instead."
    )
