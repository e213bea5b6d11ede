"""Models as programs: StableHLO in a file, run without the code that made them.

`export` writes a model with its weights in it, `load` reads it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export as jax_export
from jaxtyping import Array, PyTree

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError
from rowrnn.recurrence.backend_choice import default_backend

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    model: Callable[..., PyTree[Array]], path: Path | str, *examples: Any, platforms: Sequence[str] = PLATFORMS
) -> None:
    """Writes a model and its weights as one file, for batches of any size.

    Where rowrnn is not installed, `jax.export.deserialize(bytearray(Path(path).read_bytes())).call(x)` runs it;
    `load` does the same. Named tuples come out as plain ones. Recurrences are loops of XLA: code compiled for this
    machine does not travel. A model whose scans round to a `compute_dtype` cannot be exported.

    Args:
        model: a function of arrays, as every module of this package.
        path: the file.
        examples: arrays of the form that the function takes, or `jax.ShapeDtypeStruct`s; the first axis of each is the
            batch, of any size.
        platforms: where the program is to run.

    Raises:
        InputError: if there is no example, one has no axes, or the file cannot be written.
    """
    if not examples or any(len(example.shape) < 1 for example in examples):
        raise InputError("export needs an example of each argument, an array whose first axis is the batch.")
    write_program(Path(path), to_program(lambda *x: model(*x), any_batch(examples), platforms).serialize())


def load(path: Path | str) -> Callable[..., PyTree[Array]]:
    """The function in a file that `export` wrote.

    Raises:
        InputError: if the file cannot be read as one.
    """
    return read_program(Path(path)).call


def to_program(function: Callable, arguments: Sequence[Any], platforms: Sequence[str]) -> jax_export.Exported:
    """Traces a function of arrays into a program whose recurrences are loops of XLA."""
    with default_backend("plain"):
        return jax_export.export(jax.jit(lambda *x: _unnamed(function(*x))), platforms=platforms)(*arguments)


def _unnamed(tree: Any) -> Any:
    """The same with tuples for named ones, which only rowrnn could name again."""
    if isinstance(tree, tuple | list):
        return tuple(map(_unnamed, tree))
    return {name: _unnamed(value) for name, value in tree.items()} if isinstance(tree, dict) else tree


def any_batch(examples: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    """Returns the examples' shapes and dtypes with a first axis of any size, the same one for all."""
    scope = jax_export.SymbolicScope()
    return [
        jax.ShapeDtypeStruct(
            jax_export.symbolic_shape(", ".join(["b", *map(str, example.shape[1:])]), scope=scope), example.dtype
        )
        for example in examples
    ]


def read_program(path: Path) -> jax_export.Exported:
    """Reads a program from its file.

    Raises:
        InputError: if the file cannot be read as one.
    """
    try:
        return jax_export.deserialize(bytearray(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except Exception as error:  # Whatever a reader of other bytes stumbles over.
        raise InputError(f"{path} is no exported program ({type(error).__name__}: {error}).") from None


def write_program(path: Path, data: bytes | bytearray) -> None:
    """Writes the bytes of a program, whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    try:
        with whole_file(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from None
