"""Weights in safetensors files with torch's parameter names.

Unlike a pickle, a safetensors file cannot run code when it is read.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError, reason
from rowrnn.interop.torch import from_torch, to_torch
from rowrnn.sequence import Stack


def load(path: Path | str) -> Stack:
    """Loads a stack of recurrent layers from a safetensors file, written by `save` or from a torch state dict.

    Args:
        path: file to read.

    Raises:
        InputError: if the file cannot be read, is not a safetensors file, or does not hold the weights of an `nn.RNN`,
            `nn.LSTM` or `nn.GRU`.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        if "rowrnn" in metadata or metadata.get("format", "").startswith("rowrnn"):
            raise InputError(f"{path} is a model of rowrnn with its structure: rowrnn.load reads it.")
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        advice = ""
        if path.suffix in (".pt", ".pth", ".pkl", ".bin", ".ckpt"):
            advice = (
                " A pickle can run code when it is read: convert it with torch.load(..., weights_only=True) and "
                "safetensors.torch.save_file."
            )
        raise InputError(f"{path} cannot be read as safetensors ({reason(error)}).{advice}") from None
    return from_torch(arrays)


def save(layer: Any, path: Path | str) -> None:
    """Writes the weights of a layer to a safetensors file, atomically.

    Args:
        layer: a layer or cell that `to_torch` accepts.
        path: file to write.

    Raises:
        InputError: if torch has no such layer, or the file cannot be written.
    """
    path = Path(path)
    arrays = {name: np.ascontiguousarray(array) for name, array in to_torch(layer).items()}
    try:
        with whole_file(path) as partial:
            save_file(arrays, partial)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written ({reason(error)}).") from None
