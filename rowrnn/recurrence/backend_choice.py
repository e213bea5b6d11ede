"""Which backend computes a scan, and why."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, DTypeLike

from rowrnn.cells import GRU, LSTM, Cell, Elman, LinearCell
from rowrnn.recurrence import cudnn, native

BACKENDS = ("auto", "plain", "fused", "native", "parallel", "cudnn")

default_backend = jax.make_user_context("auto")
"""Backend of the scans inside: `with default_backend("plain"): ...`."""

# Exactly these: a subclass may step otherwise.
_NAMES: dict[type[Cell], str] = {Elman: "elman", LSTM: "lstm", GRU: "gru"}


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
