"""Models as programs: StableHLO in a file, run without the code that made them.

`export` writes a model with its weights in it. A run keeps of each model the program and the weights of every seed
apart (`keep`), and `export_kept` puts one seed's into the program.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jaxtyping import Array, PyTree
from safetensors import SafetensorError
from safetensors.flax import load_file, save_file

from rowrnn.errors import InputError
from rowrnn.names import file_name, named
from rowrnn.scan import default_backend
from rowrnn.whole_file import whole_file

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
FOLDER = "models"


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
    _write(Path(path), _program(lambda *x: model(*x), _of_any_batch(examples), platforms).serialize())


def load(path: Path | str) -> Callable[..., PyTree[Array]]:
    """The function in a file that `export` wrote.

    Raises:
        InputError: if the file cannot be read as one.
    """
    return _read(Path(path)).call


def called(model: Callable[..., Any], *x: Array) -> Any:
    """What a model makes of arrays."""
    return model(*x)


def keep(directory: Path, name: str, models: Any, *examples: Any, call: Callable[..., Any] = called) -> None:
    """Keeps the models of a run in its directory: `models/NAME.jax` and, with a leading axis of seeds, their weights.

    Args:
        directory: directory of the run.
        name: name of the model.
        models: functions of arrays, a pytree of arrays with a leading axis of seeds.
        examples: what they are called with, the first axis of each the batch.
        call: a model and such arrays to what it makes of them, where that is not to call it.
    """
    structure, weights = jax.tree.structure(models), {name: jnp.asarray(leaf) for name, leaf in named(models).items()}
    names = list(weights)  # in the order of the leaves, which is not that of the alphabet

    def of_weights(weights: dict[str, Array], *x: Array) -> Any:
        return call(jax.tree.unflatten(structure, [weights[name] for name in names]), *x)

    shapes = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in weights.items()}
    program = _program(of_weights, (shapes, *_of_any_batch(examples)), PLATFORMS)
    (directory / FOLDER).mkdir(exist_ok=True)
    stem = directory / FOLDER / file_name(name)
    with whole_file(stem.with_suffix(".safetensors")) as path:
        save_file(weights, path)
    _write(stem.with_suffix(".jax"), program.serialize())


def export_kept(run: Path, name: str, path: Path, seed: int = 0) -> None:
    """Writes a model of a run as `export` does, without the code of its experiment.

    Args:
        run: directory of the run.
        name: name of the model.
        path: the file.
        seed: which of the run's seeds, from 0.

    Raises:
        InputError: if the run has no such model or seed, or a file cannot be read or written.
    """
    stem = run / FOLDER / file_name(name)
    kept = sorted(file.stem for file in (run / FOLDER).glob("*.jax"))
    if stem.name not in kept:
        raise InputError(f"{run} keeps no model {name!r}; it keeps {', '.join(kept) or 'none'}.")
    kept_program = _read(stem.with_suffix(".jax"))
    try:
        weights = load_file(stem.with_suffix(".safetensors"))
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights of {name!r} in {run} cannot be read ({error}).") from None
    seeds = len(next(iter(weights.values())))
    if not 0 <= seed < seeds:
        raise InputError(f"The run has the seeds 0 to {seeds - 1} of {name!r}, not {seed}.")
    of_seed = {name: array[seed] for name, array in weights.items()}
    examples = _of_any_batch(kept_program.in_avals[len(of_seed) :])
    program = _program(lambda *x: kept_program.call(of_seed, *x), examples, kept_program.platforms)
    _write(path, program.serialize())


def _program(function: Callable, arguments: Sequence[Any], platforms: Sequence[str]) -> jax_export.Exported:
    with default_backend("plain"):
        return jax_export.export(jax.jit(lambda *x: _unnamed(function(*x))), platforms=platforms)(*arguments)


def _unnamed(tree: Any) -> Any:
    """The same with tuples for named ones, which only rowrnn could name again."""
    if isinstance(tree, tuple | list):
        return tuple(map(_unnamed, tree))
    return {name: _unnamed(value) for name, value in tree.items()} if isinstance(tree, dict) else tree


def _of_any_batch(examples: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    scope = jax_export.SymbolicScope()
    return [
        jax.ShapeDtypeStruct(
            jax_export.symbolic_shape(", ".join(["b", *map(str, example.shape[1:])]), scope=scope), example.dtype
        )
        for example in examples
    ]


def _read(path: Path) -> jax_export.Exported:
    try:
        return jax_export.deserialize(bytearray(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except Exception as error:  # Whatever a reader of other bytes stumbles over.
        raise InputError(f"{path} is no exported program ({type(error).__name__}: {error}).") from None


def _write(path: Path, data: bytes | bytearray) -> None:
    try:
        with whole_file(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from None
