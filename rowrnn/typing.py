"""Array types, named once.

An axis has one spelling everywhere: `b` batch, `t` steps, `d` features of a step, `h w c` height, width and
channels of an image, `hidden` the size of a cell's state and `outputs` that of its outputs, `n` examples of a data set.
Sequences are batch-major, `[b, t, d]`; time-major arrays, `[t, b, d]`, are private to `scan` and its backends. A cell
takes any leading axes; one over maps has `h w` before the last.
"""

from jaxtyping import Array, Float, Int, PyTree

Images = Float[Array, "b h w c"]
Lengths = Int[Array, "b"]
Logits = Float[Array, "b classes"]
Outputs = Float[Array, "b t *grid outputs"]
Hidden = Float[Array, "*b hidden"]
Output = Float[Array, "*b outputs"]
Projected = Float[Array, "*b gates"]
State = PyTree[Float[Array, "..."]]
