"""Array types, named once.

An axis has one spelling everywhere: `b` batch, `t` steps, `d` features of a step, `h w c` height, width and
channels of an image, `hidden` the size of a cell's state and `outputs` that of its outputs, `n` examples of a data set.
Sequences are batch-major, `[b, t, d]`; time-major arrays, `[t, b, d]`, are private to `scan` and its backends. A cell
takes any leading axes; one over maps has `h w` before the last.
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
Integers = ArrayLike | Sequence[int]
"""Whole numbers as a user gives them: lengths of sequences, heights and widths of images."""
Booleans = ArrayLike | Sequence[Sequence[bool]]
"""Marks of steps as a user gives them."""
State = PyTree[Float[Array, "..."]]
