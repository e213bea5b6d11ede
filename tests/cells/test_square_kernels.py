"""One number is a kernel of equal sides."""

import jax
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import ConvGRU, ConvLSTM


@pytest.mark.parametrize("make", [ConvLSTM, ConvGRU])
def test_one_number_is_a_kernel_of_equal_sides(make):
    one, two = (make(1, 2, kernel, rngs=nnx.Rngs(0)) for kernel in (5, (5, 5)))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"a kernel of odd sides, not \(2, 2\)"):
        make(1, 2, 2, rngs=nnx.Rngs(0))
