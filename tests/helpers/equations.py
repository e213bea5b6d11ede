"""Parts of models as equations in NumPy, of parameters by their names."""

import jax
import numpy as np


def numbers_of(model):
    """Parameters by their names, in float64."""
    flat, _ = jax.tree_util.tree_flatten_with_path(model)
    name = [jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in flat]
    return dict(zip(name, [np.asarray(leaf, np.float64) for _, leaf in flat], strict=True))


def norm(x, p, name):
    centred = x - x.mean()
    return p[f"{name}.scale"] * centred / np.sqrt((centred * centred).mean() + 1e-6) + p[f"{name}.bias"]


def linear(x, p, name):
    return x @ p[f"{name}.kernel"] + p[f"{name}.bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
