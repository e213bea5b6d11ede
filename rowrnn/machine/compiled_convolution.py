"""Convolution by compiled code, with derivatives of any order.

A convolution is bilinear, and so are its two gradients: three primitives, each of which is computed by a function of
`kernels/convolution.h`, are one another's derivatives.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla
from jaxtyping import Array, Float

from rowrnn.machine.compiled_call import call_compiled, over_batch
from rowrnn.machine.sharding import reshape_examples, vary_alike

Shape = tuple[int, ...]


def compiled_convolution(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]],
) -> Float[Array, "b y x o"]:
    """Computes the cross-correlation of images with a kernel; the arguments are those of `convolve`.

    They must be float32 and not empty, with at least one output and no negative padding, on a CPU whose library is
    loaded (`native_library.unavailable`).
    """
    (top, _), (left, _) = padding
    form = {
        **{"stride_y": int(strides[0]), "stride_x": int(strides[1]), "top": int(top), "left": int(left)},
        **{"image_size": x.shape[1:3], "kernel_size": kernel.shape[:2]},
        "maps_size": maps_size(x.shape, kernel.shape, strides, padding),
    }

    def call(x: Array, _: Any, kernel: Array) -> tuple[Array, Any, Any]:
        return _FORWARD.bind(*vary_alike((x, kernel)), **form), (), ()

    return over_batch(call, x, (), kernel)[0]


def maps_size(
    images: Shape, kernel: Shape, strides: tuple[int, int], padding: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """Returns the height and width of the feature maps, below 1 where the kernel does not fit into the images."""
    (top, bottom), (left, right) = padding
    height, width = images[1] + top + bottom - kernel[0], images[2] + left + right - kernel[1]
    return height // strides[0] + 1, width // strides[1] + 1


def _primitive(
    name: str, shape_of: Callable[[Shape, Shape, Mapping[str, Any]], Shape], *, by_example: bool
) -> Primitive:
    """Returns a primitive of two arrays and a form, still without derivatives.

    Args:
        name: name of the compiled function after "convolution_".
        shape_of: function of the shapes of both arrays and the form, to the shape of the result.
        by_example: whether each example of the first array gives one of the result, so that more of them are one call.
    """
    primitive = Primitive(f"rowrnn_convolution_{name}")

    def run(a: Array, b: Array, **form: Any) -> Array:
        numbers = {key: np.int64(value) for key, value in form.items() if isinstance(value, int)}
        return call_compiled(f"convolution_{name}", [shape_of(a.shape, b.shape, form)], a, b, **numbers)[0]

    def mapped(arrays: Sequence[Array], axes: Sequence[int | None], **form: Any) -> tuple[Array, int]:
        (size,) = {a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None}
        if by_example and axes[0] is not None and axes[1] is None:
            a = jnp.moveaxis(arrays[0], axes[0], 0)
            found = primitive.bind(reshape_examples(a, (-1, *a.shape[2:])), arrays[1], **form)
            return reshape_examples(found, (*a.shape[:2], *found.shape[1:])), 0
        in_front = [batching.bdim_at_front(a, axis, size) for a, axis in zip(arrays, axes, strict=True)]
        return jax.lax.map(lambda pair: primitive.bind(*pair, **form), tuple(in_front)), 0

    primitive.def_abstract_eval(lambda a, b, **form: a.update(shape=shape_of(a.shape, b.shape, form), weak_type=False))
    primitive.def_impl(partial(xla.apply_primitive, primitive))
    mlir.register_lowering(primitive, mlir.lower_fun(run, multiple_results=False), platform="cpu")
    batching.primitive_batchers[primitive] = mapped
    return primitive


_FORWARD = _primitive("forward", lambda x, kernel, form: (x[0], *form["maps_size"], kernel[3]), by_example=True)
_OF_INPUT = _primitive(
    "input_gradient", lambda maps, kernel, form: (maps[0], *form["image_size"], kernel[2]), by_example=True
)
_OF_KERNEL = _primitive(
    "kernel_gradient", lambda x, maps, form: (*form["kernel_size"], x[3], maps[3]), by_example=False
)

# Each sums images x kernel x maps, and its result takes the place of the array that it is not given.
ad.defbilinear(
    _FORWARD,
    lambda maps, x, kernel, **form: _OF_INPUT.bind(maps, kernel, **form),
    lambda maps, x, kernel, **form: _OF_KERNEL.bind(x, maps, **form),
)
ad.defbilinear(
    _OF_INPUT,
    lambda x, maps, kernel, **form: _FORWARD.bind(x, kernel, **form),
    lambda x, maps, kernel, **form: _OF_KERNEL.bind(x, maps, **form),
)
ad.defbilinear(
    _OF_KERNEL,
    lambda kernel, x, maps, **form: _OF_INPUT.bind(maps, kernel, **form),
    lambda kernel, x, maps, **form: _FORWARD.bind(x, kernel, **form),
)
