"""What the files of a run and the leaves of a model are called."""

from typing import Any

import jax
from jaxtyping import PyTree


def leaves_by_name(tree: PyTree) -> dict[str, Any]:
    """The leaves by their place in the tree, as "model.rows.cell.kernel"."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}
