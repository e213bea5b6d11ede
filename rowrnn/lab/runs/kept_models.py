"""Trained models saved with a run: one file for each with the weights of all seeds, and its card beside it."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import rowrnn
from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError
from rowrnn.lab.errors import StorageError
from rowrnn.lab.leaf_names import leaves_by_name
from rowrnn.lab.runs.file_names import file_name
from rowrnn.program import PLATFORMS, any_batch, read_program, to_program, write_program
from rowrnn.saving import Card, Preprocessing, load, save
from rowrnn.saving.model_file import WEIGHTS_ONLY, file_of
from rowrnn.saving.structure import describe, own_names

FOLDER = "models"
PROGRAM = ".stablehlo"
WORDS = 12  # of a vocabulary that are told
EARLIER_PROGRAM = ".jax"  # of runs of rowrnn 0.1.0


def apply(model: Callable[..., Any], *x: Array) -> Any:
    """Calls a model on arrays."""
    return model(*x)


def keep_model(
    directory: Path,
    name: str,
    models: Any,
    *examples: Any,
    call: Callable[..., Any] = apply,
    card: Card | None = None,
) -> None:
    """Saves the models of all seeds to the directory of a run.

    Writes `models/NAME.safetensors`, which `rowrnn.load` reads, and its card as `models/NAME.card.json`. A model with
    classes of a study, or one that is asked in another way than by a call, can be loaded only together with the code of
    the study: `models/NAME.stablehlo` is then a program that takes the weights and the examples.

    Args:
        directory: directory of the run.
        name: name of the model.
        models: callable models, a pytree of arrays with a leading axis of seeds.
        examples: example arguments, the first axis of each the batch.
        call: function of a model and such arrays to the outputs of the program; calls the model where not given.
        card: what is known of the model; its number of parameters is filled in, and where it has no inputs, those of
            the examples in batches of any size.

    Raises:
        StorageError: if a file cannot be written.
    """
    models = jax.tree.map(jnp.asarray, models)
    leaves = jax.tree.leaves(models)
    card = card or Card(title=name)
    of_examples = tuple(f"{example.dtype}[{','.join(['b', *map(str, example.shape[1:])])}]" for example in examples)
    card = dataclasses.replace(
        card,
        rowrnn=rowrnn.__version__,
        inputs=card.inputs or of_examples,
        parameters=sum(leaf.size for leaf in leaves) // len(leaves[0]),
    )
    stem = directory / FOLDER / file_name(name)
    try:
        stem.parent.mkdir(exist_ok=True)
        described = _is_described(models)
        if described is None:
            _save_weights(models, stem.with_suffix(".safetensors"))
        else:
            save(models, stem.with_suffix(".safetensors"), card, seeds=True)
        if not described or call is not apply:
            write_program(stem.with_suffix(PROGRAM), _of_weights(models, examples, call))
        with whole_file(_card_path(stem)) as path:
            path.write_text(json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, SafetensorError, InputError) as error:
        raise StorageError(f"The model {name!r} cannot be kept in {stem.parent}: {error}") from error


def _is_described(models: Any) -> bool | None:
    """Returns whether `rowrnn.load` needs no classes of the study; None if it cannot load the models at all."""
    try:
        description, arrays = describe(models)
    except InputError:
        return None
    return None if set(arrays) != set(_weights(models)) else not own_names(description)


def _weights(models: Any) -> dict[str, Any]:
    """Returns the arrays of models by the names that `describe` gives to them, in the order of the leaves."""
    return {name.removesuffix(".value"): leaf for name, leaf in leaves_by_name(models).items()}


def _save_weights(models: Any, path: Path) -> None:
    weights = {name: np.asarray(leaf) for name, leaf in _weights(models).items()}
    with whole_file(path) as partial:
        save_file(weights, partial, WEIGHTS_ONLY)


def _of_weights(models: Any, examples: Sequence[Any], call: Callable[..., Any]) -> jax_export.Exported:
    """Returns the program of weights by name, of one seed, and of examples."""
    structure, by_name = jax.tree.structure(models), _weights(models)

    def of_weights(weights: dict[str, Array], *x: Array) -> Any:
        return call(jax.tree.unflatten(structure, [weights[name] for name in by_name]), *x)

    shapes = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in by_name.items()}
    return to_program(of_weights, (shapes, *any_batch(examples)), PLATFORMS)


def _card_path(stem: Path) -> Path:
    return stem.with_suffix(".card.json")


def _card_of(stem: Path) -> Card:
    """Returns the card beside a kept model; an empty one where an early run has none."""
    path = _card_path(stem)
    try:
        return Card.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Card()
    except (OSError, ValueError) as error:
        raise InputError(f"The card {path} cannot be read ({error}).") from None


def export_kept(kept: Path | str, name: str | None, path: Path, seed: int = 0) -> tuple[jax_export.Exported, Card]:
    """Exports a saved model to one file, as `export` does, without the code of its experiment.

    If the model has a preprocessing, the program takes raw images, uint8 `[b, h, w, c]` of any size with the channels
    of the preprocessing, or clips `[b, t, h, w, c]` of such. A program that the run kept itself takes what the model
    takes, and its card has no preprocessing.

    Args:
        kept: directory of a run, file of a model, or name of a bundled one.
        name: name of the model, where a run keeps several.
        path: the file to write.
        seed: index of the seed, from 0.

    Returns:
        The program, and the card of the model.

    Raises:
        InputError: if there is no such model or seed, or a file cannot be read or written.
    """
    if Path(kept).is_dir():
        stem = file_of(kept, name).with_suffix("")
        programs = [stem.with_suffix(suffix) for suffix in (PROGRAM, EARLIER_PROGRAM)]
        if program := next((file for file in programs if file.exists()), None):
            exported = _with_weights(stem, read_program(program), stem.name, seed)
            write_program(path, exported)
            return exported, dataclasses.replace(_card_of(stem), preprocessing=None)
    model, card = load(kept, name, seed)
    exported = _of_model(model, card)
    write_program(path, exported)
    return exported, card


def about_program(exported: jax_export.Exported, card: Card) -> list[str]:
    """Returns sentences that say what a program takes and gives, and what its numbers stand for."""
    takes, gives = (", ".join(map(_in_words, avals)) for avals in (exported.in_avals, exported.out_avals))
    sentences = [f"It takes {takes} and gives {gives}."]
    if card.preprocessing is not None:
        what = "frames" if card.task == "clips" else "pictures"
        colours = "grey ones, c = 1" if card.preprocessing.channels == 1 else "colours as red, green, blue, c = 3"
        sentences.append(f"It prepares {what} of any size by itself: {colours}.")
    if card.classes and card.task == "boxes":
        sentences.append(
            "A box is its left, top, right and bottom edge in pixels of the picture, followed by the number of its "
            f"class, of {', '.join(card.classes)}, and its score; one counts from {card.least_score:.2g} on."
        )
    elif card.classes:
        sentences.append(f"The scores are of the classes {', '.join(card.classes)}.")
    if card.alphabet:
        last = "and last of none, the blank of CTC"
        sentences.append(f"The scores of a strip are of the characters {''.join(card.alphabet)!r}, {last}.")
    if card.vocabulary:
        known = ", ".join(repr(word)[1:-1] for word in card.vocabulary[:WORDS])
        words = f"{known}{', …' if len(card.vocabulary) > WORDS else ''}"
        sentences.append(f"The numbers are of {card.unit or 'word'}s, from 0: {words} (the model's card has all).")
    return sentences


def _in_words(aval: Any) -> str:
    """Returns dtype and shape of an array; an axis that follows from those of the input by a formula is "t"."""
    sizes = [str(size) if str(size).isalnum() else "t" for size in aval.shape]
    return f"{aval.dtype} [{', '.join(sizes)}]"


def _of_model(model: Callable[..., Any], card: Card) -> jax_export.Exported:
    """Returns the program of a model whose card says what it takes; of raw images where it has a preprocessing."""
    scope, preprocessing = jax_export.SymbolicScope(), card.preprocessing
    inputs = list(card.inputs)
    if preprocessing is not None:
        *leading, _, _, _ = inputs[0].partition("[")[2][:-1].split(",")
        inputs[0] = f"uint8[{','.join([*leading, 'h', 'w', str(preprocessing.channels)])}]"
    shapes = []
    for each in inputs:
        dtype, _, dimensions = each.removesuffix("]").partition("[")
        shapes.append(jax.ShapeDtypeStruct(jax_export.symbolic_shape(dimensions, scope=scope), jnp.dtype(dtype)))

    def of_raw(images: Array, *x: Array) -> Any:
        if preprocessing is None:
            return model(images, *x)
        answer = model(_of_frames(preprocessing, images), *x)
        return _in_pixels_before(preprocessing, images, answer) if card.task == "boxes" else answer

    return to_program(of_raw, shapes, PLATFORMS)


def _of_frames(preprocessing: Preprocessing, images: Array) -> Any:
    """Returns preprocessed images, or frames of clips, `[b, ..., h, w, c]`."""
    leading = images.shape[:-3]
    frames = preprocessing(images.reshape(math.prod(leading), *images.shape[-3:]))
    return frames.reshape(*leading, *frames.shape[1:])


def _in_pixels_before(preprocessing: Preprocessing, images: Array, answer: tuple[Array, ...]) -> tuple[Array, ...]:
    """Returns what a detector found with its boxes `[b, k, 4]` in pixels of the raw images."""
    boxes, *others = answer
    _, height, width, _ = images.shape
    scale, shift = preprocessing.scale_and_shift((height, width), jnp)
    before = (boxes - jnp.tile(shift, 2)[None, None]) / jnp.tile(scale, 2)[None, None]
    return (before, *others)


def _with_weights(stem: Path, program: jax_export.Exported, name: str, seed: int) -> jax_export.Exported:
    """Returns a program of weights and arrays with the weights of one seed in it."""
    try:
        weights = load_file(stem.with_suffix(".safetensors"))
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights of {name!r} in {stem.parent} cannot be read ({error}).") from None
    seeds = len(next(iter(weights.values())))
    if not 0 <= seed < seeds:
        raise InputError(f"The run has no seed {seed} of {name!r}: {seeds} were trained, which are counted from 0.")
    of_seed = {name: jnp.asarray(array[seed]) for name, array in weights.items()}
    examples = any_batch(program.in_avals[len(of_seed) :])
    return to_program(lambda *x: program.call(of_seed, *x), examples, program.platforms)
