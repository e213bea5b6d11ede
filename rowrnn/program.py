"""Export of models as StableHLO programs: a file that holds the weights and runs without the code of the model.

`export` writes such a file, `load` reads it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export as jax_export
from jaxtyping import Array, PyTree

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError
from rowrnn.machine.default import default_backend

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    model: Callable[..., PyTree[Array]], path: Path | str, *examples: Any, platforms: Sequence[str] = PLATFORMS
) -> None:
    """Writes a model and its weights to one file, for any batch size.

    `load` reads the file. Without rowrnn, `jax.export.deserialize(bytearray(Path(path).read_bytes())).call(x)` runs it.
    Named tuples are returned as plain tuples. Recurrences and convolutions are exported with the backend "plain", since
    compiled code of this machine is not portable. A model that calls `scan` with `compute_dtype` cannot be exported.

    Args:
        model: function of arrays or of pytrees of arrays, such as a module of this package or the `step` of a layer.
        path: file to write.
        examples: one example of each argument: arrays, `jax.ShapeDtypeStruct`s or pytrees of them. The first axis of
            every array is the batch axis; its size in the example does not matter.
        platforms: platforms on which the program can run.

    Raises:
        InputError: if there is no example, an example has no axes, flatbuffers is not installed, or the file cannot be
            written.
    """
    leaves, structure = jax.tree.flatten(examples)
    if not leaves or any(len(getattr(leaf, "shape", ())) < 1 for leaf in leaves):
        raise InputError("export needs an example of each argument, arrays whose first axis is the batch.")

    # Plain dicts list their leaves by sorted keys, those of other classes may not.
    places = jax.tree.leaves(_unnamed(jax.tree.unflatten(structure, range(len(leaves)))))

    def of_plain(*arguments: Any) -> Any:
        """Calls the model on arguments whose named tuples and dicts were replaced by plain ones."""
        in_order = sorted(zip(places, jax.tree.leaves(arguments), strict=True))
        return model(*jax.tree.unflatten(structure, [leaf for _, leaf in in_order]))

    write_program(Path(path), to_program(of_plain, any_batch(_unnamed(examples)), platforms))


def load(path: Path | str) -> Callable[..., PyTree[Array]]:
    """Loads a program written by `export` as a function.

    The function returns plain tuples for named tuples and accepts both, so the state returned by one step can be passed
    to the next.

    Args:
        path: file to read.

    Raises:
        InputError: if the file cannot be read, is not an exported program, flatbuffers is not installed, or a newer JAX
            wrote it.
    """
    program = read_program(Path(path))
    return lambda *arguments: program.call(*_unnamed(arguments))


def to_program(function: Callable, arguments: Sequence[Any], platforms: Sequence[str]) -> jax_export.Exported:
    """Exports a function of arrays with `jax.export`, its recurrences and convolutions computed by XLA."""
    with default_backend("plain"):
        return jax_export.export(jax.jit(lambda *x: _unnamed(function(*x))), platforms=platforms)(*arguments)


def _unnamed(tree: Any) -> Any:
    """Replaces tuples and dicts in a tree by plain ones; a program without rowrnn cannot create those with a name."""
    if isinstance(tree, tuple | list):
        return tuple(map(_unnamed, tree))
    return {name: _unnamed(value) for name, value in tree.items()} if isinstance(tree, dict) else tree


def any_batch(examples: Sequence[PyTree[Any]]) -> tuple[PyTree[jax.ShapeDtypeStruct], ...]:
    """Returns the examples as shapes and dtypes with a symbolic first axis, the same one for all arrays."""
    scope = jax_export.SymbolicScope()

    def of_array(example: Any) -> jax.ShapeDtypeStruct:
        shape = jax_export.symbolic_shape(", ".join(["b", *map(str, example.shape[1:])]), scope=scope)
        return jax.ShapeDtypeStruct(shape, example.dtype)

    return jax.tree.map(of_array, tuple(examples))


def read_program(path: Path) -> jax_export.Exported:
    """Reads a program from a file.

    Raises:
        InputError: if the file cannot be read, is not an exported program, flatbuffers is not installed, or a newer JAX
            wrote it.
    """
    try:
        program = jax_export.deserialize(bytearray(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except ImportError:
        raise _needs_flatbuffers() from None
    except Exception as error:  # Bytes in another format can raise any exception.
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
    """Writes a program to a file atomically.

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
