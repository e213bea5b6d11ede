"""Trained models saved with a run: one exported program for each, and the weights of all seeds in another file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.flax import load_file, save_file

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError
from rowrnn.lab.errors import StorageError
from rowrnn.lab.leaf_names import leaves_by_name
from rowrnn.lab.runs.file_names import file_name
from rowrnn.program import PLATFORMS, any_batch, read_program, to_program, write_program

FOLDER = "models"


def apply(model: Callable[..., Any], *x: Array) -> Any:
    """Calls a model on arrays."""
    return model(*x)


def keep_model(directory: Path, name: str, models: Any, *examples: Any, call: Callable[..., Any] = apply) -> None:
    """Saves the models of all seeds to the directory of a run.

    Writes the program to `models/NAME.jax` and the weights, with a leading axis of seeds, to `models/NAME.safetensors`.

    Args:
        directory: directory of the run.
        name: name of the model.
        models: callable models, a pytree of arrays with a leading axis of seeds.
        examples: example arguments, the first axis of each the batch.
        call: function of a model and such arrays to the outputs of the program; calls the model where not given.

    Raises:
        StorageError: if a file cannot be written.
    """
    structure = jax.tree.structure(models)
    weights = {name: jnp.asarray(leaf) for name, leaf in leaves_by_name(models).items()}
    names = list(weights)  # in the order of the leaves, which is not that of the alphabet

    def of_weights(weights: dict[str, Array], *x: Array) -> Any:
        return call(jax.tree.unflatten(structure, [weights[name] for name in names]), *x)

    shapes = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in weights.items()}
    program = to_program(of_weights, (shapes, *any_batch(examples)), PLATFORMS)
    stem = directory / FOLDER / file_name(name)
    try:
        stem.parent.mkdir(exist_ok=True)
        with whole_file(stem.with_suffix(".safetensors")) as path:
            save_file(weights, path)
        write_program(stem.with_suffix(".jax"), program)
    except (OSError, SafetensorError, InputError) as error:
        raise StorageError(f"The model {name!r} cannot be kept in {stem.parent}: {error}") from error


def export_kept(run: Path, name: str, path: Path, seed: int = 0) -> None:
    """Exports a saved model of a run to one file, as `export` does, without the code of its experiment.

    Args:
        run: directory of the run.
        name: name of the model.
        path: the file to write.
        seed: index of the seed, from 0.

    Raises:
        InputError: if the run has no such model or seed, or a file cannot be read or written.
    """
    stem = run / FOLDER / file_name(name)
    kept = sorted(file.stem for file in (run / FOLDER).glob("*.jax"))
    if stem.name not in kept:
        raise InputError(f"{run} keeps no model {name!r}; it keeps {', '.join(kept) or 'none'}.")
    kept_program = read_program(stem.with_suffix(".jax"))
    try:
        weights = load_file(stem.with_suffix(".safetensors"))
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights of {name!r} in {run} cannot be read ({error}).") from None
    seeds = len(next(iter(weights.values())))
    if not 0 <= seed < seeds:
        raise InputError(f"The run has the seeds 0 to {seeds - 1} of {name!r}, not {seed}.")
    of_seed = {name: array[seed] for name, array in weights.items()}
    examples = any_batch(kept_program.in_avals[len(of_seed) :])
    program = to_program(lambda *x: kept_program.call(of_seed, *x), examples, kept_program.platforms)
    write_program(path, program)
