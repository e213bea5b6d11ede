"""Array types, each defined once.

Axis names are the same everywhere: `b` batch, `t` steps, `d` features of a step, `h w c` height, width and channels of
an image, `hidden` size of a cell's state, `outputs` size of its output, `n` examples of a data set. Sequences are
batch-major, `[b, t, d]`; time-major arrays, `[t, b, d]`, occur only inside `rowrnn.recurrence`. A cell takes any
leading axes; a convolutional cell has the axes `h w` before the last.
"""

from collections.abc import Sequence

from jaxtyping import Array, ArrayLike, Float, Int, PyTree

Images = Float[Array, "b h w c"]
Lengths = Int[Array, "b"]
Logits = Float[Array, "b classes"]
Outputs = Float[Array, "b t *grid outputs"]
Hidden = Float[Array, "*b hidden"]
Output = Float[Array, "*b outputs"]
Projected = Float[Array, "*b gates"]
Integers = ArrayLike | Sequence[ArrayLike]
"""Integers as a user passes them: lengths of sequences, heights and widths of images."""
Booleans = ArrayLike | Sequence[Sequence[ArrayLike]]
"""Booleans for each step as a user passes them: masks and resets."""
State = PyTree[Float[Array, "..."]]
