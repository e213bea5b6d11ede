"""Named arrays of another library, checked; and cells made of arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import ArrayLike

from rowrnn.cells import Cell
from rowrnn.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]


def checked(source: str, arrays: Mapping[str, ArrayLike], expected: Shapes) -> dict[str, np.ndarray]:
    """The arrays as NumPy's, if their names and shapes are those expected.

    Raises:
        InputError: naming every array that is missing, unknown, of another shape or not floating point.
    """
    found = {name: np.asarray(array) for name, array in arrays.items()}
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in expected]
    wrong += [
        f"{name} has shape {list(found[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != tuple(shape)
    ]
    wrong += [
        f"{name} is {array.dtype}, expected floating point"
        for name, array in found.items()
        if not jnp.issubdtype(array.dtype, jnp.floating)
    ]
    if wrong:
        raise InputError(f"These are not the weights of {source}: {'; '.join(wrong)}.")
    return found


def cell_of(cell: type[Cell], *sizes: Any, **arrays: np.ndarray) -> Any:
    """A cell of these sizes and parameters, in the arrays' dtype."""
    dtype = jnp.asarray(arrays["input_kernel"]).dtype
    made = jax.eval_shape(lambda: cell(*sizes, dtype=dtype, rngs=nnx.Rngs(0)))
    for name, array in arrays.items():
        setattr(made, name, nnx.Param(jnp.asarray(array, dtype)))
    return made


def check_plain(library: str, layer: Any) -> None:
    """Refuses what a layer does beside its cell and another library's does not.

    Raises:
        InputError: naming it.
    """
    for name, what in (("learn_initial_state", "learned initial state"), ("zoneout", "zoneout")):
        if getattr(layer, name, False):
            raise InputError(f"{library}'s recurrences have no {what}.")


def numpy_of(cell: Cell, name: str) -> np.ndarray:
    """A parameter of a cell, a copy that may be written to."""
    return np.array(getattr(cell, name)[...])
