"""What public functions are called with, and how a call may end."""

import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from hypothesis import strategies as st

import rowrnn
from tests.helpers import ROOT

PACKAGE = str(Path(rowrnn.__file__).parent)
DOCUMENTED = (ValueError, TypeError)  # InputError is a ValueError.

sizes = st.integers(0, 4)
counts = st.integers(-2, 5)
positive = st.integers(0, 3)
rates = st.floats(0, 0.9) | st.floats()
mistakes = st.integers(0, 7).map(lambda number: number == 7)
floats = mistakes.map(lambda mistake: np.int32 if mistake else np.float32)
booleans = mistakes.map(lambda mistake: np.int32 if mistake else np.bool_)
integers = mistakes.map(lambda mistake: np.float32 if mistake else np.uint8)
shapes = st.lists(sizes, max_size=5).map(tuple)
dtypes = st.sampled_from([np.float32, np.float64, np.int32, np.uint8, np.bool_, np.complex64, np.float16])
numbers = st.one_of(st.floats(), st.integers(-(2**40), 2**40))
words = st.one_of(st.sampled_from(["", "gru", "rows", "sum", "last", "native", "auto", "plain", "fused"]), st.text())


@st.composite
def arrays(draw: Any, near: tuple[int, ...] = (), kinds: Any = dtypes) -> np.ndarray:
    """An array of any shape, or of nearly this one; now and then with values that are no numbers."""
    shape = draw(shapes) if draw(mistakes) else near
    array = np.asarray(draw(st.integers(0, 3)) * np.ones(shape)).astype(draw(kinds))
    if np.issubdtype(array.dtype, np.floating) and array.size and draw(mistakes):
        array.ravel()[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return array


def maybe(strategy: Any) -> Any:
    return st.one_of(st.none(), strategy)


def traced(call: Callable[[], Any]) -> None:
    """Calls without computing: what is refused is refused while JAX traces."""
    jax.eval_shape(lambda: jax.tree.leaves(call()))


def rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


TARGETS: dict[str, tuple[Callable[..., Any], Any, float]] = {}


def calls(*strategies: Any, weight: float = 1.0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks a function to be called with what the strategies draw, `weight` times as often as others."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        TARGETS[function.__name__] = function, st.tuples(*strategies), weight
        return function

    return mark


def case_of(function: Callable[..., Any], ended: Counter[str]) -> Callable[[Any], None]:
    """A call of the function, which may only refuse what it is given, and in our own words."""

    def case(arguments: Any) -> None:
        try:
            function(*arguments)
        except DOCUMENTED as error:
            *_, last = traceback.extract_tb(error.__traceback__)
            ours = last.filename.startswith((PACKAGE, str(ROOT / "experiments")))
            if not ours or not (last.line or "").startswith("raise"):  # Not an accident of ours either.
                raise
            ended["refused"] += 1
        else:
            ended["done"] += 1

    return case
