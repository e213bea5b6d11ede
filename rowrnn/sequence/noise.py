"""The keys that noise of recurrent layers is drawn with."""

from collections.abc import Sequence

import jax
from jaxtyping import Array


def split_key(key: Array | None, count: int) -> Sequence[Array | None]:
    """Splits a key into `count` keys; without a key returns `count` times None."""
    return [None] * count if key is None else list(jax.random.split(key, count))
