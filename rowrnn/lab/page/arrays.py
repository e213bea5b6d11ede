"""Arrays in the JSON of a page."""

import base64

import numpy as np
from jaxtyping import ArrayLike

LARGEST = 127  # of a whole number of 8 bits


def base64_of(array: np.ndarray) -> str:
    """Returns the bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def floats(array: ArrayLike) -> dict[str, str]:
    """Returns an array as it is, float32."""
    return {"floats": base64_of(np.asarray(array, "<f4"))}


def rounded(kernel: ArrayLike) -> dict[str, str]:
    """Returns a kernel rounded to 8 bits, with the scale of each column of its last axis."""
    whole, scales = _in_eight_bits(np.asarray(kernel, np.float32))
    return {"bytes": base64_of(whole), "scales": base64_of(scales)}


def as_rounded(kernel: ArrayLike) -> np.ndarray:
    """Returns the kernel that a page computes with, where `rounded` is kept."""
    whole, scales = _in_eight_bits(np.asarray(kernel, np.float32))
    return whole * scales


def _in_eight_bits(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    most = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scales = np.where(most > 0, most / LARGEST, 1).astype("<f4")
    return np.rint(kernel / scales).astype(np.int8), scales
