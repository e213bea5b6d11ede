"""Weights of Keras' `SimpleRNN`, `LSTM`, `GRU`, `ConvLSTM2D` and `Bidirectional`, as `get_weights()` returns them.

A Keras layer has the arrays `[kernel, recurrent kernel, bias]`. An LSTM of Keras has the gate order of rowrnn, a GRU
the order z r n instead of r z n. With `reset_after=True`, the default, a GRU has two biases, of the input and of the
recurrent product, and corresponds to `GRU`; with `reset_after=False` it has one and corresponds to `ResetFirstGRU`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike

from rowrnn.cells import GRU, LSTM, Cell, ConvLSTM, Elman, ResetFirstGRU
from rowrnn.errors import InputError
from rowrnn.image.rows import Rows
from rowrnn.interop.arrays import cell_of, check_plain, checked, numpy_of
from rowrnn.sequence import Bidirectional, Recurrent

_NAMES = ("kernel", "recurrent_kernel", "bias")


def from_keras(weights: Sequence[ArrayLike]) -> Recurrent | Bidirectional:
    """Makes a layer from the weights of a Keras layer.

    The weights do not show the layer's activations, direction, merge mode and padding. Keras' defaults are assumed,
    except for a `ConvLSTM2D` the padding "same". A GRU without biases is assumed to have `reset_after=True`.

    Args:
        weights: arrays of `layer.get_weights()`: three, for a `Bidirectional` six; with `use_bias=False` two or four.

    Returns:
        A `Bidirectional` layer for the weights of a `Bidirectional`, otherwise a `Recurrent` layer.

    Raises:
        InputError: if the number of arrays or a shape does not fit.
    """
    if len(weights) not in (2, 3, 4, 6):
        raise InputError(
            f"A Keras recurrence has 3 arrays, {', '.join(_NAMES)}, without bias 2, or twice as many, not "
            f"{len(weights)}."
        )
    if len(weights) > 3:
        half = len(weights) // 2
        return Bidirectional(_cell(weights[:half]), _cell(weights[half:]))
    return Recurrent(_cell(weights))


def _cell(weights: Sequence[ArrayLike]) -> Cell:
    kernel, recurrent, *biases = (np.asarray(array) for array in weights)
    for name, array in (("kernel", kernel), ("recurrent_kernel", recurrent)):
        if array.ndim not in (2, 4):
            raise InputError(f"{name} has shape {list(array.shape)}, expected two axes or four.")
    features, columns = kernel.shape[-2:]
    hidden = recurrent.shape[-2]
    gates, odd = divmod(columns, hidden)
    if odd or gates not in (1, 3, 4) or (kernel.ndim == 4 and gates != 4):
        raise InputError(
            f"kernel has {columns} columns for a hidden size of {hidden}: a SimpleRNN has as many, a GRU 3 times and "
            "an LSTM or ConvLSTM2D 4 times as many."
        )
    zeros = np.zeros((2, columns) if gates == 3 else columns, kernel.dtype)
    bias = biases[0] if biases else zeros
    expected = {
        "kernel": (*kernel.shape[:-2], features, columns),
        "recurrent_kernel": (*kernel.shape[:-2], hidden, columns),
        "bias": (2, columns) if gates == 3 and bias.ndim == 2 else (columns,),
    }
    checked("a Keras recurrence", dict(zip(_NAMES, (kernel, recurrent, bias), strict=True)), expected)
    if kernel.ndim == 4:
        return cell_of(
            ConvLSTM, features, hidden, kernel.shape[:2], input_kernel=kernel, recurrent_kernel=recurrent, bias=bias
        )
    if gates != 3:
        kind = {1: Elman, 4: LSTM}[gates]
        return cell_of(kind, features, hidden, input_kernel=kernel, recurrent_kernel=recurrent, bias=bias)
    kernels = {"input_kernel": _swapped(kernel), "recurrent_kernel": _swapped(recurrent)}
    if bias.ndim == 1:
        return cell_of(ResetFirstGRU, features, hidden, **kernels, bias=_swapped(bias))
    first, second = _swapped(bias)
    second, candidate = second.copy(), second[2 * hidden :]
    second[2 * hidden :] = 0
    return cell_of(GRU, features, hidden, **kernels, bias=first + second, candidate_bias=candidate)


def to_keras(layer: Recurrent | Bidirectional | Rows | Cell) -> list[np.ndarray]:
    """Returns the weights of a layer as arrays for `set_weights` of a Keras layer.

    The Keras layer must be made to match: `reset_after=True` for a `GRU` and `reset_after=False` for a `ResetFirstGRU`,
    `go_backwards` for a layer that runs in reverse, and `merge_mode` for a `Bidirectional` one.

    Args:
        layer: a layer or cell of class `Elman`, `LSTM`, `GRU`, `ResetFirstGRU` or `ConvLSTM`.

    Raises:
        InputError: if Keras has no such layer.
    """
    if isinstance(layer, Bidirectional):
        return to_keras(layer.forward) + to_keras(layer.backward)
    check_plain("Keras", layer)
    cell = layer.cell if isinstance(layer, Recurrent | Rows) else layer
    if type(cell) not in (Elman, LSTM, GRU, ResetFirstGRU, ConvLSTM):
        raise InputError(f"Keras has no layer of {type(cell).__name__}.")
    arrays = [numpy_of(cell, name) for name in ("input_kernel", "recurrent_kernel", "bias")]
    if not isinstance(cell, GRU | ResetFirstGRU):
        return arrays
    if isinstance(cell, GRU):
        second = np.zeros_like(arrays[2])
        second[2 * cell.hidden :] = numpy_of(cell, "candidate_bias")
        arrays[2] = np.stack([arrays[2], second])
    return [_swapped(array) for array in arrays]


def _swapped(array: np.ndarray) -> np.ndarray:
    """Swaps the first two of three gates on the last axis, which converts between the orders r z n and z r n."""
    first, second, last = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, last], axis=-1)
