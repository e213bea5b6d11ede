"""Convolution by compiled code, with derivatives of any order.

A convolution is bilinear, and so are its two gradients: three primitives, each of which is computed by a function of
`kernels/convolution.h`, are one another's derivatives.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from rowrnn.machine.compiled_call import call_compiled, over_batch
from rowrnn.machine.sharding import vary_alike

Shape = tuple[int, ...]


def compiled_convolution(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]],
) -> Float[Array, "b y x o"]:
    """Computes the cross-correlation of float32 images with a kernel; the arguments are those of `convolve`."""
    (top, bottom), (left, right) = padding
    (_, height, width, _), (kernel_h, kernel_w, *_) = x.shape, kernel.shape
    form = {
        **{"stride_y": strides[0], "stride_x": strides[1], "top": top, "left": left},
        **{"image_size": (height, width), "kernel_size": (kernel_h, kernel_w)},
        "maps_size": (
            (height + top + bottom - kernel_h) // strides[0] + 1,
            (width + left + right - kernel_w) // strides[1] + 1,
        ),
    }

    def call(x: Array, _: Any, kernel: Array) -> tuple[Array, Any, Any]:
        return _FORWARD.bind(*vary_alike((x, kernel)), **form), (), ()

    return over_batch(call, x, (), kernel)[0]


def _primitive(name: str, shape_of: Callable[[Shape, Shape, Mapping[str, Any]], Shape]) -> Primitive:
    """Returns a primitive of two arrays and a form, still without derivatives.

    Args:
        name: name of the compiled function after "convolution_".
        shape_of: function of the shapes of both arrays and the form, to the shape of the result.
    """
    primitive = Primitive(f"rowrnn_convolution_{name}")

    def run(a: Array, b: Array, **form: Any) -> Array:
        numbers = {name: np.int64(value) for name, value in form.items() if isinstance(value, int)}
        return call_compiled(f"convolution_{name}", [shape_of(a.shape, b.shape, form)], a, b, **numbers)[0]

    def mapped(arrays: Sequence[Array], axes: Sequence[int | None], **form: Any) -> tuple[Array, int]:
        (size,) = {a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None}
        in_front = [batching.bdim_at_front(a, axis, size) for a, axis in zip(arrays, axes, strict=True)]
        return jax.lax.map(lambda pair: primitive.bind(*pair, **form), tuple(in_front)), 0

    primitive.def_abstract_eval(lambda a, b, **form: a.update(shape=shape_of(a.shape, b.shape, form), weak_type=False))
    primitive.def_impl(lambda a, b, **form: jax.jit(partial(primitive.bind, **form))(a, b))
    mlir.register_lowering(primitive, mlir.lower_fun(run, multiple_results=False), platform="cpu")
    batching.primitive_batchers[primitive] = mapped
    return primitive


_FORWARD = _primitive("forward", lambda x, kernel, form: (x[0], *form["maps_size"], kernel[3]))
_OF_INPUT = _primitive("input_gradient", lambda maps, kernel, form: (maps[0], *form["image_size"], kernel[2]))
_OF_KERNEL = _primitive("kernel_gradient", lambda x, maps, form: (*form["kernel_size"], x[3], maps[3]))

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
