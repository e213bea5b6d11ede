"""Weights of torch's `nn.RNN`, `nn.LSTM` and `nn.GRU`, as state dicts.

Each layer and direction has a matrix `[gates·hidden, d]` for the input, a matrix `[gates·hidden, outputs]` for the
state, and a bias for each; the order of the gates is that of rowrnn. In an RNN and an LSTM only the sum of both biases
matters. In a GRU the reset gate multiplies the candidate's second bias, which is therefore a separate parameter here.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from rowrnn.cells import GRU, LSTM, Cell, Elman, ProjectedLSTM
from rowrnn.errors import InputError
from rowrnn.image.rows import Rows
from rowrnn.interop.arrays import cell_of, check_plain, checked, numpy_of
from rowrnn.sequence import Bidirectional, Recurrent, Stack

_BY_GATES: dict[int, type[Cell]] = {1: Elman, 3: GRU, 4: LSTM}


def from_torch(state_dict: Mapping[str, ArrayLike]) -> Stack:
    """Makes a stack from the state dict of a torch module, with any number of layers and one or both directions.

    A state dict does not show the nonlinearity of an `nn.RNN`; tanh is assumed.

    Args:
        state_dict: arrays by torch's names, such as `weight_ih_l0`. Biases are zero if the module has none.

    Raises:
        InputError: if names are missing or unknown, shapes do not fit, or an array is not floating point.
    """
    projected, biased = "weight_hr_l0" in state_dict, "bias_ih_l0" in state_dict
    for name in ("weight_ih_l0", "weight_hh_l0", *["weight_hr_l0"] * projected):
        if name not in state_dict:
            raise InputError(f"These are not the weights of a torch recurrence: {name} is missing.")
        if np.ndim(state_dict[name]) != 2 or 0 in np.shape(state_dict[name]):
            raise InputError(f"{name} has shape {list(np.shape(state_dict[name]))}, expected two axes, none of them 0.")
    hidden = np.shape(state_dict["weight_hr_l0" if projected else "weight_hh_l0"])[1]
    rows = np.shape(state_dict["weight_ih_l0"])[0]
    gates, odd = divmod(rows, hidden)
    if odd or gates not in _BY_GATES or (projected and gates != 4):
        raise InputError(
            f"weight_ih_l0 has {rows} rows for a hidden size of {hidden}: an RNN has as many, a GRU 3 times and an "
            "LSTM 4 times as many."
        )
    numbers = [int(found[1]) for name in state_dict if (found := re.fullmatch(r"weight_ih_l(\d+)", name))]
    layers, directions = max(numbers) + 1, 1 + ("weight_ih_l0_reverse" in state_dict)
    outputs = np.shape(state_dict["weight_hr_l0"])[0] if projected else hidden
    features = np.shape(state_dict["weight_ih_l0"])[1]
    suffixes = [
        (f"l{layer}{reverse}", features if layer == 0 else directions * outputs)
        for layer in range(layers)
        for reverse in ("", "_reverse")[:directions]
    ]
    expected: dict[str, tuple[int, ...]] = {}
    for suffix, width in suffixes:
        expected[f"weight_ih_{suffix}"] = gates * hidden, width
        expected[f"weight_hh_{suffix}"] = gates * hidden, outputs
        if biased:
            expected[f"bias_ih_{suffix}"] = expected[f"bias_hh_{suffix}"] = (gates * hidden,)
        if projected:
            expected[f"weight_hr_{suffix}"] = outputs, hidden
    arrays = checked("a torch recurrence", state_dict, expected)
    cells = [_cell(_BY_GATES[gates], width, hidden, suffix, arrays) for suffix, width in suffixes]
    return Stack(
        [
            Bidirectional(*cells[n : n + 2]) if directions == 2 else Recurrent(cells[n])
            for n in range(0, len(cells), directions)
        ]
    )


def _cell(kind: type[Cell], features: int, hidden: int, suffix: str, arrays: Mapping[str, np.ndarray]) -> Cell:
    kernels = {
        "input_kernel": arrays[f"weight_ih_{suffix}"].T,
        "recurrent_kernel": arrays[f"weight_hh_{suffix}"].T,
    }
    zeros = np.zeros(kernels["input_kernel"].shape[1], kernels["input_kernel"].dtype)
    first, second = arrays.get(f"bias_ih_{suffix}", zeros), arrays.get(f"bias_hh_{suffix}", zeros)
    if kind is GRU:
        candidate = slice(2 * hidden, None)
        bias = first + np.where(np.arange(3 * hidden) < 2 * hidden, second, 0).astype(second.dtype)
        return cell_of(GRU, features, hidden, **kernels, bias=bias, candidate_bias=second[candidate])
    if f"weight_hr_{suffix}" not in arrays:
        return cell_of(kind, features, hidden, **kernels, bias=first + second)
    projection = arrays[f"weight_hr_{suffix}"]
    sizes = features, hidden, len(projection)
    return cell_of(ProjectedLSTM, *sizes, **kernels, bias=first + second, projection_kernel=projection.T)


def to_torch(stack: Any) -> dict[str, np.ndarray]:
    """Returns the weights of a layer by torch's names; with `torch.from_numpy` they fit `load_state_dict`.

    Args:
        stack: a cell `Elman`, `LSTM`, `ProjectedLSTM` or `GRU`, a `Recurrent`, `Bidirectional` or `Rows` layer of such,
            or a `Stack`.

    Raises:
        InputError: if torch has no such layer.
    """
    layers = list(stack.layers) if isinstance(stack, Stack) else [stack.cell if isinstance(stack, Rows) else stack]
    for layer in layers:
        if not isinstance(layer, Cell | Recurrent | Bidirectional):
            raise InputError(
                f"torch has no {type(layer).__name__}: give a cell, a Recurrent, Bidirectional or Rows layer, or a "
                "Stack of Recurrent or Bidirectional layers."
            )
    if isinstance(stack, Stack) and stack.connection != "plain":
        raise InputError(f"torch's recurrences have no {stack.connection} connections.")
    directions = 1 + isinstance(layers[0], Bidirectional)
    arrays: dict[str, np.ndarray] = {}
    kinds = set()
    for number, layer in enumerate(layers):
        for cell, reverse in zip(_directions(layer, directions), ("", "_reverse"), strict=False):
            kinds.add((type(cell), cell.hidden, cell.outputs))
            arrays |= _arrays(cell, f"l{number}{reverse}")
    if len(kinds) > 1:
        raise InputError("All layers of a torch recurrence have cells of one class and size.")
    return arrays


def _directions(layer: Stack | Bidirectional | Recurrent | Cell, directions: int) -> list[Cell]:
    if isinstance(layer, Bidirectional) and directions == 2:
        if layer.merge != "concatenate":
            raise InputError(
                f"torch concatenates the outputs of both directions; this layer takes their {layer.merge}."
            )
        layers = [layer.forward, layer.backward]
    elif isinstance(layer, Recurrent | Cell) and directions == 1:
        layers = [layer]
    else:
        raise InputError("All layers of a torch recurrence have one direction, or all have both.")
    if directions == 1 and isinstance(layer, Recurrent) and layer.reverse:
        raise InputError("A torch recurrence of one direction does not run in reverse.")
    for each in layers:
        check_plain("torch", each)
    return [layer.cell if isinstance(layer, Recurrent) else layer for layer in layers]


def _arrays(cell: Cell, suffix: str) -> dict[str, np.ndarray]:
    if type(cell) not in (Elman, LSTM, GRU, ProjectedLSTM):
        raise InputError(f"torch has no recurrence of {type(cell).__name__}.")
    bias = numpy_of(cell, "bias")
    second = np.zeros_like(bias)
    if isinstance(cell, GRU):
        second[2 * cell.hidden :] = numpy_of(cell, "candidate_bias")
    arrays = {
        f"weight_ih_{suffix}": np.ascontiguousarray(numpy_of(cell, "input_kernel").T),
        f"weight_hh_{suffix}": np.ascontiguousarray(numpy_of(cell, "recurrent_kernel").T),
        f"bias_ih_{suffix}": bias,
        f"bias_hh_{suffix}": second,
    }
    if isinstance(cell, ProjectedLSTM):
        arrays[f"weight_hr_{suffix}"] = np.ascontiguousarray(numpy_of(cell, "projection_kernel").T)
    return arrays
