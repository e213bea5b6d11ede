"""What `rowrnn.scan` is given, checked and brought into one form."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, DTypeLike, PyTree

from rowrnn.cells import Cell
from rowrnn.typing import Booleans, Integers, Lengths, State


def check_cell(cell: Any) -> None:
    """Raises TypeError for what is no cell of this package, as a layer or a cell of Flax."""
    if not isinstance(cell, Cell):
        raise TypeError(
            f"scan expected a cell of rowrnn.cells, not a {type(cell).__name__} of {type(cell).__module__}: call a "
            "layer itself, read a cell of Flax with rowrnn.interop.from_nnx or from_linen, derive your own from "
            "rowrnn.Cell."
        )


def check_compute_dtype(dtype: DTypeLike | None) -> None:
    """Raises TypeError for a dtype to which factors cannot be rounded."""
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"scan expected a floating-point compute_dtype, as bfloat16, not {jnp.dtype(dtype)}.")


def check_sequence(x: Array, features: int, num_feature_axes: int) -> None:
    """Refuses sequences that do not fit a cell."""
    axes = "d" if num_feature_axes == 1 else "h, w, d"
    if x.ndim != 2 + num_feature_axes or x.shape[1] < 1 or x.shape[-1] != features:
        raise ValueError(
            f"scan expected sequences of shape [b, t, {axes}] with at least one step and d = {features} features, "
            f"and was given {shape(x)}."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"scan expected floating-point sequences and was given {x.dtype}: convert and scale them first."
        )


def as_lengths(lengths: Integers, x: Array) -> Lengths:
    """Returns lengths as int32 `[b]`, checked against the sequences."""
    # Values are known only outside a transformation; inside, a length outside [0, t] acts as the nearest bound.
    known = None if isinstance(lengths, jax.core.Tracer) else np.asarray(lengths)
    lengths = np.asarray(lengths) if isinstance(lengths, Sequence) else lengths
    batch, steps = x.shape[:2]
    if jnp.shape(lengths) != (batch,):
        raise ValueError(f"scan expected one length for each of {batch} sequences, [{batch}], not {shape(lengths)}.")
    if not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise TypeError(f"scan expected integer lengths and was given {jnp.result_type(lengths)}.")
    if known is not None and batch and not ((known >= 0) & (known <= steps)).all():
        raise ValueError(
            f"scan expected lengths between 0 and t = {steps}, the number of steps; they run from "
            f"{known.min()} to {known.max()}. Cut the lengths or pad the sequences."
        )
    return jnp.asarray(lengths).astype(jnp.int32)  # A narrow dtype may be too small to count the steps.


def as_step_mask(name: str, marks: Booleans, x: Array) -> Bool[Array, "b t"]:
    """Returns a mask or resets as booleans `[b, t]`, checked against the sequences."""
    marks = np.asarray(marks) if isinstance(marks, Sequence) else marks
    if jnp.shape(marks) != x.shape[:2]:
        raise ValueError(
            f"scan expected {name} of shape [b, t] = {list(x.shape[:2])}, a boolean for each step, not {shape(marks)}."
        )
    if jnp.result_type(marks) != jnp.bool_:
        raise TypeError(f"scan expected {name} of booleans and was given {jnp.result_type(marks)}.")
    return jnp.asarray(marks)


def valid_steps(
    x: Array, lengths: Integers | None, mask: Booleans | None
) -> tuple[Bool[Array, "b t"] | None, Bool[Array, "b t"] | None]:
    """Which steps lie within the lengths, and which of them the mask marks too; None where all do."""
    within = (
        None if lengths is None else jnp.arange(x.shape[1], dtype=jnp.int32)[None, :] < as_lengths(lengths, x)[:, None]
    )
    if mask is None:
        return within, within
    mask = as_step_mask("a mask", mask, x)
    return within, mask if within is None else mask & within


def as_state(state: Any, like: PyTree[jax.ShapeDtypeStruct]) -> State:
    """A state in the dtype and form of the cell's own."""
    if jax.tree.structure(state) != jax.tree.structure(like):
        raise ValueError(
            f"The cell expected a state of the form {jax.tree.map(shape, like)}, "
            f"and was given {jax.tree.map(shape, state)}."
        )
    for given, expected in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
        if jnp.shape(given) != expected.shape:
            raise ValueError(f"The cell expected a state of shape {shape(expected)} and was given {shape(given)}.")
    return jax.tree.map(lambda given, expected: jnp.asarray(given, expected.dtype), state, like)


def shape(x: Any) -> str:
    """Returns the shape of an array, or of what has one, as text."""
    return str(list(jnp.shape(x)))


def per_layer_states(initial_state: Any, count: int, parts: str) -> Sequence[State | None]:
    """The initial state of each of so many parts of a layer; None for each where there is none.

    Raises:
        ValueError: if it is no tuple or list of as many.
    """
    if initial_state is None:
        return [None] * count
    if not isinstance(initial_state, tuple | list):
        raise ValueError(f"The initial states of {count} {parts} are a tuple, not {type(initial_state).__name__}.")
    if len(initial_state) != count:
        raise ValueError(f"{count} {parts} take as many initial states, not {len(initial_state)}.")
    return initial_state
