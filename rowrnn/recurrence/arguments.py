"""Checks and conversions of the arguments of `rowrnn.scan`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, DTypeLike, Float, PyTree

from rowrnn.cells import Cell
from rowrnn.machine.sharding import place_examples
from rowrnn.typing import Booleans, Integers, Lengths, State


def check_cell(caller: str, cell: Any) -> None:
    """Raises TypeError unless `cell` is a `rowrnn.Cell`; layers and cells of Flax are not.

    Args:
        caller: name of the function or layer that takes the cell, for the message.
        cell: what it was given.
    """
    if isinstance(cell, Cell):
        return
    given = f"the class {cell.__name__}" if isinstance(cell, type) else f"{type(cell).__module__}.{type(cell).__name__}"
    if isinstance(cell, type):
        advice = "make one, with features, hidden and rngs"
    elif isinstance(getattr(cell, "cell", None), Cell):
        advice = "give its cell, or call the layer itself"
    else:
        advice = "rowrnn.interop.from_nnx and from_linen read those of Flax; derive your own from rowrnn.Cell"
    raise TypeError(f"{caller} takes cells of rowrnn, not {given}: {advice}.")


def check_cell_class(caller: str, cell: Any) -> None:
    """Raises TypeError unless `cell` is a class derived from `rowrnn.Cell`.

    Args:
        caller: name of the function or layer that makes the cells, for the message.
        cell: what it was given.
    """
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        given = repr(cell) if isinstance(cell, str | type) else f"an object of {type(cell).__name__}"
        raise TypeError(
            f"{caller} takes a class of cells, such as rowrnn.GRU, not {given}: rowrnn.CELLS has classes by name."
        )


def check_positive(layer: str, **sizes: int) -> None:
    """Raises ValueError unless all sizes of a layer are at least 1."""
    if min(sizes.values()) < 1:
        raise ValueError(f"A {layer} has sizes of at least 1, not {sizes}.")


def check_rate(name: str, rate: float) -> None:
    """Raises ValueError unless `rate` is in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} is a probability in [0, 1), not {rate}.")


def check_any_state(caller: str, cell: Cell) -> None:
    """Raises ValueError unless a cell can begin with a state that was computed elsewhere."""
    if not cell.any_state:
        raise ValueError(
            f"{caller} begins its cell with a state of its own, and the arrays of the state of a {type(cell).__name__} "
            "share a factor: give it another cell."
        )


def as_compute_dtype(dtype: DTypeLike | None) -> jnp.dtype | None:
    """Returns a dtype, also of its name; raises TypeError unless it is floating point or None."""
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"scan expected a floating-point compute_dtype, as bfloat16, not {jnp.dtype(dtype)}.")
    return None if dtype is None else jnp.dtype(dtype)


def check_sequence(x: Array, features: int, num_feature_axes: int) -> None:
    """Checks that `x` is `[b, t, d]`, or `[b, t, h, w, d]` for three feature axes, with t ≥ 1 and d = `features`.

    Raises:
        ValueError: if the shape does not fit.
        TypeError: if `x` is not floating point.
    """
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


def as_array(given: Any) -> Any:
    """Converts lists and numbers to NumPy, whose values are known; those with tracers, as in `jax.jit`, to JAX."""
    if isinstance(given, jax.Array):
        return given
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(given))
    return jnp.asarray(given) if traced else np.asarray(given)


def known_values(array: Any) -> np.ndarray | None:
    """Returns the values of an array; None where they are unknown, as inside `jax.jit`, or lie with other processes."""
    if isinstance(array, jax.core.Tracer) or not getattr(array, "is_fully_addressable", True):
        return None
    return np.asarray(array)


def as_lengths(lengths: Integers, x: Array) -> Lengths:
    """Returns lengths as int32 `[b]`.

    Raises:
        ValueError: if there is not one length for each sequence, or a length is outside [0, t]; inside `jax.jit`, where
            values are unknown, such a length acts as the nearest bound.
        TypeError: if lengths are not integers.
    """
    array = as_array(lengths)
    known = known_values(array)  # An unknown length outside [0, t] acts as the nearest bound.
    batch, steps = x.shape[:2]
    if jnp.shape(array) != (batch,):
        raise ValueError(f"scan expected one length for each of {batch} sequences, [{batch}], not {shape(array)}.")
    if not jnp.issubdtype(jnp.result_type(array), jnp.integer):
        raise TypeError(f"scan expected integer lengths and was given {jnp.result_type(array)}.")
    if known is not None and batch and not ((known >= 0) & (known <= steps)).all():
        raise ValueError(
            f"scan expected lengths between 0 and t = {steps}, the number of steps; they run from "
            f"{known.min()} to {known.max()}. Cut the lengths or pad the sequences."
        )
    # A narrower dtype may overflow.
    return place_examples(jnp.asarray(array).astype(jnp.int32), x)


def as_step_mask(name: str, marks: Booleans, x: Array) -> Bool[Array, "b t"]:
    """Returns a boolean for each step, `[b, t]`.

    Args:
        name: name of the argument, for the error message.
        marks: mask or resets as the user passed them.
        x: sequences `[b, t, ...]`.

    Raises:
        ValueError: if the shape is not `[b, t]`.
        TypeError: if the dtype is not boolean.
    """
    array = as_array(marks)
    if jnp.shape(array) != x.shape[:2]:
        raise ValueError(
            f"scan expected {name} of shape [b, t] = {list(x.shape[:2])}, a boolean for each step, not {shape(array)}."
        )
    if jnp.result_type(array) != jnp.bool_:
        raise TypeError(f"scan expected {name} of booleans and was given {jnp.result_type(array)}.")
    return place_examples(jnp.asarray(array), x)


def check_dropout_mask(cell: Cell, x: Array, mask: ArrayLike) -> Float[Array, "b outputs"]:
    """Returns a mask of dropout as a constant, which has no gradient.

    Raises:
        ValueError: if the cell has no recurrent product of vectors, or the shape is not `[b, outputs]`.
    """
    if not cell.takes_dropout or cell.num_feature_axes != 1:
        raise ValueError(f"scan takes a dropout_mask for gated cells over vectors, not for {type(cell).__name__}.")
    if jnp.shape(mask) != (x.shape[0], cell.outputs):
        raise ValueError(
            f"scan expected a dropout_mask of shape [b, outputs] = {[x.shape[0], cell.outputs]}, not {shape(mask)}."
        )
    return place_examples(jax.lax.stop_gradient(jnp.asarray(mask)), x)


def valid_steps(
    x: Array, lengths: Integers | None, mask: Booleans | None
) -> tuple[Bool[Array, "b t"] | None, Bool[Array, "b t"] | None]:
    """Computes the masks of valid steps, `[b, t]`.

    Returns:
        The steps within the lengths, None without lengths; and those of them that the mask marks, None without both.

    Raises:
        ValueError: if lengths or mask have another shape, or a known length is outside [0, t].
        TypeError: if lengths are not integers, or the mask is not boolean.
    """
    within = (
        None if lengths is None else jnp.arange(x.shape[1], dtype=jnp.int32)[None, :] < as_lengths(lengths, x)[:, None]
    )
    if mask is None:
        return within, within
    mask = as_step_mask("a mask", mask, x)
    return within, mask if within is None else mask & within


def as_state(state: Any, like: PyTree[jax.ShapeDtypeStruct]) -> State:
    """Casts a state to the dtypes of the cell's own state, `like`.

    Raises:
        ValueError: if its structure or a shape differs from those of `like`.
    """
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
    """Returns the shape of an array as text."""
    return str(list(jnp.shape(x)))


def per_layer_states(initial_state: Any, count: int, parts: str) -> Sequence[State | None]:
    """Returns the initial state of each part of a layer; None for each part if `initial_state` is None.

    Args:
        initial_state: tuple or list of `count` states, or None.
        count: number of parts.
        parts: name of the parts, for the error message.

    Raises:
        ValueError: if `initial_state` is no tuple or list, or has another length.
    """
    if initial_state is None:
        return [None] * count
    if not isinstance(initial_state, tuple | list):
        raise ValueError(f"The initial states of {count} {parts} are a tuple, not {type(initial_state).__name__}.")
    if len(initial_state) != count:
        raise ValueError(f"{count} {parts} take as many initial states, not {len(initial_state)}.")
    return initial_state
