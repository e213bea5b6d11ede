"""A reader of lines as its page reads it: kernels are rounded to 8 bits, so that the page stays small."""

from typing import Any

import jax
import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.page.arrays import as_rounded, floats, rounded
from rowrnn.lab.page.classifier_page import KINDS
from rowrnn.models.line_reader import FAINT, KERNEL
from rowrnn.saving.card import Card
from rowrnn.sequence import Bidirectional, Recurrent, Stack


def content(path: str, model: Any, card: Card) -> dict[str, Any]:
    """Returns a `LineReader` in terms of JSON.

    Raises:
        InputError: if it has other layers than LSTM or GRU, or a card that does not say what it reads.
    """
    if card.preprocessing is None or not card.alphabet:
        raise InputError(f"{path} has no card with an alphabet: rowrnn.save it with that of its training.")
    if card.right_to_left:
        raise InputError(f"{path} reads from right to left: a page shows readers of lines from left to right.")
    layers = [
        _directions(path, layer) for layer in (model.layer.layers if isinstance(model.layer, Stack) else [model.layer])
    ]
    kinds = {KINDS[type(cell)] for pair in layers for cell in pair if cell is not None}
    return {
        "alphabet": card.alphabet,
        "height": model.height,
        "preprocessing": card.preprocessing.to_json(),
        "epsilon": FAINT,
        "kind": kinds.pop(),
        "stages": [_stage(model, number) for number in range(len(model.convolutions))],
        "layers": [{"forward": _cell(there), "backward": back and _cell(back)} for there, back in layers],
        "head": {"kernel": rounded(model.head.kernel[...]), "bias": floats(model.head.bias[...])},
    }


def as_on_page(model: Any) -> Any:
    """Returns the model that a page computes with: kernels rounded, and all else as it is."""
    return jax.tree.map(lambda leaf: as_rounded(leaf) if np.ndim(leaf) > 1 else leaf, model)


def _directions(path: str, layer: Any) -> tuple[Any, Any]:
    """Returns the cells that read a layer's inputs from the left and from the right; None where none does."""
    cells: tuple[Any, Any] = (None, None)
    if isinstance(layer, Bidirectional) and layer.merge == "concatenate":
        cells = layer.forward.cell, layer.backward.cell
    elif isinstance(layer, Recurrent) and not layer.reverse:
        cells = layer.cell, None
    if type(cells[0]) not in KINDS or type(cells[1]) not in {type(cells[0]), type(None)}:
        raise InputError(
            f"{path} has a layer of another kind than LSTM or GRU: a page shows readers that rowrnn train lines makes "
            "by --model lstm or gru."
        )
    return cells


def _cell(cell: Any) -> dict[str, Any]:
    weights = cell.as_arrays()
    found = {
        "input": rounded(weights.input_kernel),
        "recurrent": rounded(weights.recurrent_kernel),
        "bias": floats(weights.bias),
    }
    if weights.recurrent_bias is not None:
        found["candidate_bias"] = floats(weights.recurrent_bias)
    return found


def _stage(model: Any, number: int) -> dict[str, Any]:
    convolution = model.convolutions[number]
    norm = model.norms[number - 1] if number else None
    down, right = (*model.strides, (1, 1))[number]
    return {
        "kernel": rounded(convolution.kernel[...]),
        "bias": floats(convolution.bias[...]),
        "size": convolution.kernel.shape[:2],
        "strides": (down, right),
        "above": convolution.padding[0][0],
        "left": KERNEL - right,
        "scale": None if norm is None else floats(norm.scale[...]),
        "shift": None if norm is None else floats(norm.bias[...]),
        "adds": bool(model.adds[number]),
    }
