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
        model: a function of arrays, as every module of this package, or of pytrees of them, as a layer's `step`.
        path: the file.
        examples: arrays of the form that the function takes, or `jax.ShapeDtypeStruct`s, or pytrees of such, as the
            state of a `step`; the first axis of each array is the batch, of any size.
        platforms: where the program is to run.

    Raises:
        InputError: if there is no example, one has no axes, flatbuffers is not installed, or the file cannot be
            written.
    """
    leaves, structure = jax.tree.flatten(examples)
    if not leaves or any(len(getattr(leaf, "shape", ())) < 1 for leaf in leaves):
        raise InputError("export needs an example of each argument, arrays whose first axis is the batch.")

    def of_plain(*arguments: Any) -> Any:
        """The model of arguments whose named tuples are plain ones: only rowrnn could name them again."""
        return model(*jax.tree.unflatten(structure, jax.tree.leaves(arguments)))

    write_program(Path(path), to_program(of_plain, any_batch(_unnamed(examples)), platforms))


def load(path: Path | str) -> Callable[..., PyTree[Array]]:
    """The function in a file that `export` wrote.

    Named tuples come out as plain ones, and either are taken: the state that one step returns is the next one's.

    Raises:
        InputError: as `read_program`.
    """
    program = read_program(Path(path))
    return lambda *arguments: program.call(*_unnamed(arguments))


def to_program(function: Callable, arguments: Sequence[Any], platforms: Sequence[str]) -> jax_export.Exported:
    """Traces a function of arrays into a program whose recurrences are loops of XLA."""
    with default_backend("plain"):
        return jax_export.export(jax.jit(lambda *x: _unnamed(function(*x))), platforms=platforms)(*arguments)


def _unnamed(tree: Any) -> Any:
    """The same with tuples for named ones, which only rowrnn could name again."""
    if isinstance(tree, tuple | list):
        return tuple(map(_unnamed, tree))
    return {name: _unnamed(value) for name, value in tree.items()} if isinstance(tree, dict) else tree


def any_batch(examples: Sequence[PyTree[Any]]) -> tuple[PyTree[jax.ShapeDtypeStruct], ...]:
    """Returns the examples' shapes and dtypes with a first axis of any size, the same one for all arrays."""
    scope = jax_export.SymbolicScope()

    def of_array(example: Any) -> jax.ShapeDtypeStruct:
        shape = jax_export.symbolic_shape(", ".join(["b", *map(str, example.shape[1:])]), scope=scope)
        return jax.ShapeDtypeStruct(shape, example.dtype)

    return jax.tree.map(of_array, tuple(examples))


def read_program(path: Path) -> jax_export.Exported:
    """Reads a program from its file.

    Raises:
        InputError: if the file cannot be read as one, flatbuffers is not installed, or a newer JAX wrote it.
    """
    try:
        program = jax_export.deserialize(bytearray(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except ImportError:
        raise _needs_flatbuffers() from None
    except Exception as error:  # Whatever a reader of other bytes stumbles over.
        raise InputError(f"{path} is no exported program ({type(error).__name__}: {error}).") from None
    try:
        program.mlir_module()  # Otherwise only the first call would fail.
    except Exception:
        raise InputError(
            f"The operations in {path} cannot be read by JAX {jax.__version__}: a newer JAX wrote it (update jax, or "
            "export the model again with this version), or it is damaged."
        ) from None
    return program


def _needs_flatbuffers() -> InputError:
    return InputError("Files of programs need flatbuffers, which is not installed: pip install flatbuffers.")


def write_program(path: Path, program: jax_export.Exported) -> None:
    """Writes a program, whole or not at all.

    Raises:
        InputError: if flatbuffers is not installed, or the file cannot be written.
    """
    try:
        data = program.serialize()
    except ImportError:
        raise _needs_flatbuffers() from None
    try:
        with whole_file(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from None
