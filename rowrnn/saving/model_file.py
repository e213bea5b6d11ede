"""Models in files: one safetensors file with the weights, and structure and card in its metadata."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import rowrnn  # For its version, which is known when a model is saved; nothing else is taken from above.
from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError, reason
from rowrnn.saving.card import Card
from rowrnn.saving.structure import build, describe

ENTRY, SCHEMA = "rowrnn", 1
"""Name of the entry of a file's metadata that describes the model, and number of the form of that description."""
WEIGHTS_ONLY = {"format": "rowrnn weights"}
"""Metadata of a file with the weights of a model that cannot be described."""
BUNDLED = Path(__file__).parent / "bundled"
DTYPES = {"float16", "bfloat16", "float32", "float64", "complex64", "bool"}
DTYPES |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
PICKLES = (".pt", ".pth", ".pkl", ".bin", ".ckpt")
PROGRAMS = (".jax", ".stablehlo")


def save(model: Any, path: Path | str, card: Card | None = None, *, seeds: bool = False) -> None:
    """Writes a model to one safetensors file, which `load` reads, atomically.

    Args:
        model: a module of rowrnn or `flax.nnx`, or one of your own of such.
        path: file to write.
        card: what the model is for, what it takes and can do.
        seeds: whether every array has a leading axis: models of several seeds in one, as a run keeps them.

    Raises:
        InputError: if an attribute of the model has no name or kind that a file can hold, a field of the card is of
            another type than it says, or the file cannot be written.
    """
    path = Path(path)
    description, arrays = describe(model)
    stored = {name: np.asarray(jax.device_get(array), order="C") for name, array in arrays.items()}
    for name, array in stored.items():
        if array.dtype.name not in DTYPES:
            raise InputError(f"{name} has the dtype {array.dtype}, which a safetensors file cannot hold.")
    card = dataclasses.replace(card or Card(), rowrnn=rowrnn.__version__)
    Card.from_json(json.loads(json.dumps(card.to_json())))  # What cannot be read back is refused here.
    described = {
        "schema": SCHEMA,
        "rowrnn": rowrnn.__version__,
        "structure": description,
        "card": card.to_json(),
        "sha256": _checksum(stored),
        "seeds": _seeds(jax.tree.leaves(model)) if seeds else None,
    }
    try:
        with whole_file(path) as partial:
            # One entry: safetensors writes several in another order each time.
            save_file(stored, partial, {ENTRY: json.dumps(described)})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written ({reason(error)}).") from error


def load(path: Path | str, model: str | None = None, seed: int = 0, classes: Sequence[Any] = ()) -> tuple[Any, Card]:
    """Loads a model and its card.

    Nothing in a file is executed, and no classes or functions are used but those of rowrnn, `flax.nnx` and JAX, and
    `classes`.

    Args:
        path: a file that `save` wrote, the directory of a run, or the name of a bundled model.
        model: name of the model, where a run keeps several.
        seed: which seed, from 0, where a run trained several.
        classes: your own classes and functions that the model is made of.

    Returns:
        The model, an `nnx.Module`, and its card.

    Raises:
        InputError: if there is no such file, model or seed; if a file is damaged, of another library or a newer
            version; or if the model is made of classes that are not in `classes`.
    """
    file = file_of(path, model)
    with opened(file) as (described, arrays):
        card = _card(file, described)
        seeds = described.get("seeds")
        if not 0 <= seed < (seeds or 1):
            kept = f"the seeds 0 to {seeds - 1}" if seeds and seeds > 1 else "one model, seed 0"
            raise InputError(f"{file} has {kept}, not {seed}.")
        if _checksum(arrays) != described.get("sha256"):
            raise InputError(f"{file} is damaged: its weights are not those that were saved. Copy or make it again.")
        try:
            loaded = build(described["structure"], arrays, classes, seed if seeds else None)
        except InputError as error:
            raise InputError(f"{file} cannot be loaded. {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} is damaged: its structure cannot be read ({error}).") from None
    return loaded, card


def bundled() -> dict[str, Card]:
    """Returns the cards of the models that come with rowrnn, by their names."""
    return {file.stem: read_card(file) for file in sorted(BUNDLED.glob("*.safetensors"))}


def read_card(path: Path | str) -> Card:
    """Returns the card of a model without loading it.

    Raises:
        InputError: as `load`.
    """
    file = file_of(path, None)
    with opened(file) as (described, _):
        return _card(file, described)


@contextmanager
def opened(file: Path) -> Iterator[tuple[dict[str, Any], Mapping[str, np.ndarray]]]:
    """Yields the description in a model's file, and its arrays.

    Raises:
        InputError: if it cannot be read, is of another library, holds weights only, or is of a newer version.
    """
    if file.suffix in PROGRAMS:
        raise InputError(f"{file} is a program, not a model: rowrnn.program.load reads it.")
    try:
        with safe_open(file, framework="np") as content:
            described = _described(file, content.metadata() or {})
            yield described, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        advice = ""
        if file.suffix in PICKLES:
            advice = " It looks like torch's: see rowrnn.interop for weights of other libraries."
        if file.suffix in (".h5", ".keras"):
            advice = " It looks like one of Keras: rowrnn.interop.from_keras takes the weights of its layers."
        raise InputError(
            f"{file} cannot be read as a model of rowrnn, or is damaged ({reason(error)}).{advice}"
        ) from None


def _described(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata == WEIGHTS_ONLY:
        raise InputError(
            f"{file} has the weights of a model whose classes cannot be saved: the program beside it, with the suffix "
            ".stablehlo, has its code; rowrnn export makes both one file."
        )
    if ENTRY not in metadata:
        raise InputError(
            f"{file} has weights, but no structure of a model: rowrnn.save did not write it. Weights with the names of "
            "torch's layers are read by rowrnn.interop.load."
        )
    try:
        described = json.loads(metadata[ENTRY])
        schema, version = described["schema"], described["rowrnn"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is damaged: its description cannot be read ({error}).") from None
    if not isinstance(schema, int) or schema > SCHEMA:
        raise InputError(
            f"{file} has the schema {schema}, written by rowrnn {version}; rowrnn {rowrnn.__version__} reads schemas "
            f"up to {SCHEMA}: update rowrnn."
        )
    return described


def _card(file: Path, described: Mapping[str, Any]) -> Card:
    try:
        return Card.from_json(described["card"])
    except InputError as error:
        raise InputError(f"{file} cannot be loaded. {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file} is damaged: its card cannot be read ({error}).") from None


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    checksum = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        checksum.update(f"{name} {array.dtype} {array.shape}".encode())
        checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()


def _seeds(leaves: Sequence[Any]) -> int:
    sizes = {np.shape(leaf)[:1] for leaf in leaves}
    if len(sizes) != 1 or sizes == {()}:
        raise InputError(f"Models of several seeds have one leading axis of one size, not {sorted(sizes)}.")
    return sizes.pop()[0]


def file_of(path: Path | str, model: str | None) -> Path:
    """Returns the file that is meant by a path, a run's directory or a bundled name.

    Raises:
        InputError: if there is none, or a run keeps several and none is named.
    """
    if re.match(r"[A-Za-z][\w+.-]+:/", str(path)):
        raise InputError(f"{path} is an address: load the file down first, and give its path.")
    path = Path(path)
    if path.is_dir():
        return _of_run(path, model)
    if not path.exists() and (BUNDLED / f"{path}.safetensors").exists():
        path = BUNDLED / f"{path}.safetensors"
    if not path.exists():
        names = ", ".join(file.stem for file in sorted(BUNDLED.glob("*.safetensors"))) or "none"
        raise InputError(f"There is no file {path}, and no bundled model of this name; bundled models: {names}.")
    if model is not None:
        raise InputError(f"{path} is one model; {model!r} can be chosen in the directory of a run only.")
    return path


def _of_run(run: Path, model: str | None) -> Path:
    folder = run / "models" if (run / "models").is_dir() else run
    files = {file.stem: file for file in sorted(folder.glob("*.safetensors"))}
    names = ", ".join(files)
    if not files and (run / "results.json").exists():
        why = f"since its training is not finished: go on with it by --resume {run}, as `rowrnn runs` shows"
        if _is_finished(run / "results.json"):
            why = "since its experiment keeps none"
        raise InputError(f"{run} keeps no model, {why}.")
    if not files:
        raise InputError(f"{run} holds no model: expected the directory of a run, or a file that rowrnn.save wrote.")
    if model is None and len(files) != 1:
        raise InputError(f"{run} keeps {len(files)} models, one of which must be named: {names}.")
    name = next(iter(files)) if model is None else re.sub(r"\W+", "_", model.lower())
    if name not in files:
        raise InputError(f"{run} keeps no model {model!r}; it keeps {names}.")
    return files[name]


def _is_finished(results: Path) -> bool:
    try:
        return bool(json.loads(results.read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
