"""Array types, named once.

An axis has one spelling everywhere: `b` batch, `t` steps, `d` features of a step, `h w c` height, width and
channels of an image, `hidden` the size of a cell's state, `n` examples of a data set. Outside `scan` sequences are
batch-major, `[b, t, d]`; only a cell's `project` and `scan` itself see time-major arrays, `[t, b, d]`.
"""

from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped

Batch = PyTree[Shaped[Array, "b ..."]]
Images = Float[Array, "b h w c"]
Labels = Int[Array, "b"]
Lengths = Int[Array, "b"]
Logits = Float[Array, "b classes"]
Mask = Bool[Array, "b"]
Sequence = Float[Array, "b t d"]
Outputs = Float[Array, "b t hidden"]
Hidden = Float[Array, "*b hidden"]
Projected = Float[Array, "*b gates"]
State = PyTree[Float[Array, "..."]]
