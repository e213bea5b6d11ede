"""Names of the arrays of a pytree."""

from typing import Any

import jax
from jaxtyping import PyTree


def leaves_by_name(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves of a pytree by their paths, such as "model.rows.cell.kernel"."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}
