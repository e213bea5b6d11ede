"""Checks of another library's arrays, and conversion between arrays and cells."""

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
    """Returns arrays as NumPy arrays after checking their names, shapes and dtypes.

    Args:
        source: whose weights they should be, such as "a torch recurrence", for the message.
        arrays: the arrays by name.
        expected: the expected shapes by name.

    Raises:
        InputError: if an array is missing, unknown, of another shape or not floating point; the message lists them all.
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
    """Makes a cell from arrays, in the dtype of its input kernel.

    Args:
        cell: class of the cell.
        sizes: positional arguments of the class: features, hidden size and any further sizes.
        arrays: all parameters of the cell, by name.

    Raises:
        InputError: if there is no such cell of these sizes.
    """
    dtype = jnp.asarray(arrays["input_kernel"]).dtype
    try:
        made = jax.eval_shape(lambda: cell(*sizes, dtype=dtype, rngs=nnx.Rngs(0)))
    except ValueError as error:
        raise InputError(str(error)) from None
    for name, array in arrays.items():
        setattr(made, name, nnx.Param(jnp.asarray(array, dtype)))
    return made


def check_plain(library: str, layer: Any) -> None:
    """Checks that a layer has no option that other libraries lack.

    Args:
        library: name of the other library, for the message.
        layer: the layer.

    Raises:
        InputError: if the layer has a learned initial state or zoneout.
    """
    for name, what in (("learn_initial_state", "learned initial state"), ("zoneout", "zoneout")):
        if getattr(layer, name, False):
            raise InputError(f"{library}'s recurrences have no {what}.")


def numpy_of(cell: Cell, name: str) -> np.ndarray:
    """Returns a parameter of a cell as a writable NumPy array, a copy."""
    return np.array(getattr(cell, name)[...])
