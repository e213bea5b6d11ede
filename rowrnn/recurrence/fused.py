"""The recurrences with backward passes derived by hand: what `rowrnn.scan` runs unless told otherwise.

JAX's own derivative of the loop keeps twice the residuals that are needed and multiplies for the weights' gradient in
every step. Here, with δ the gradient of the loss and `a = W x + b + U h` the gates before activation,

    Elman   h' = tanh(a)                     δa = δh' (1 − h'²)
    LSTM    c' = f c + i g, h' = o tanh(c')  δc' += δh' o (1 − tanh² c'), δc = δc' f,
                                             δa_i = δc' g i (1 − i),   δa_f = δc' c f (1 − f),
                                             δa_g = δc' i (1 − g²),    δa_o = δh' tanh(c') o (1 − o)
    GRU     h' = n + z (h − n),              δa_z = δh' (h − n) z (1 − z),   δa_n = δh' (1 − z) (1 − n²),
            n = tanh(W x + b + r q),         δa_r = δa_n q r (1 − r),        δq = δa_n r,
            q = U h + b_hn                   δh = δh' z + …

and `δh = Uᵀ δa` (of a GRU's candidate `Uᵀ δq`); past a sequence's end δh' and δc' pass unchanged. The weights'
gradients are one product each after the loop, over all steps and sequences: `δW = xᵀ δa`, `δU = hᵀ δa`. Residuals are
the activated gates, the outputs and the cells. On a CPU, in float32, `rowrnn.recurrence.native` computes both
passes of LSTM and GRU by the same equations.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array, DTypeLike

from rowrnn.recurrence import native

Arrays = tuple[Array, ...]
Activated = tuple[Array, Array, Arrays]


class Recurrence(NamedTuple):
    """Which cell to run and how.

    Args:
        cell: "elman", "lstm" or "gru".
        reverse: from the last valid step to the first.
        native: whether `rowrnn.recurrence.native` runs it where the platform is a CPU.
        compute_dtype: dtype of the factors of each product, that of the arrays where not given; sums, gates and
            states keep the arrays' dtype.
    """

    cell: str
    reverse: bool
    native: bool = False
    compute_dtype: DTypeLike | None = None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def recur(how: Recurrence, x: Array, weights: Arrays, state: Arrays, lengths: Array) -> tuple[Array, Arrays]:
    """Outputs `[b, t, h]` and the last state of a cell run over sequences.

    Args:
        how: which cell to run and how.
        x: sequences `[b, t, d]`; what lies past their lengths has no influence.
        weights: input kernel `[d, gates·h]`, bias `[gates·h]`, recurrent kernel `[h, gates·h]`, and the bias of a
            GRU's candidate, `[h]`, of others `[0]`.
        state: hidden `[b, h]`, and the cell of an LSTM, `[b, h]`, of others `[b, 0]`.
        lengths: number of valid steps, int32 `[b]`, or `[0]` where all are.
    """
    outputs, last, _ = _run(how, _forward, native.forward, x, weights, state, lengths, train=False)
    return outputs, last


def _recur_forward(how: Recurrence, *primals: Any) -> tuple[Any, Any]:
    x, weights, state, lengths = jax.tree.map(
        lambda primal: primal.value, primals, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal)
    )
    outputs, last, residuals = _run(how, _forward, native.forward, x, weights, state, lengths, train=True)
    # Whether anybody asks for the gradient of x: a structure, since residuals hold no booleans.
    asked = () if primals[0].perturbed else None
    return (outputs, last), (asked, (x, weights, state, lengths, outputs, residuals))


def _recur_backward(how: Recurrence, residuals: Any, gradients: Any) -> tuple[Any, ...]:
    asked, saved = residuals
    d_outputs, d_state = jax.tree.map(
        lambda d: jnp.zeros(d.shape, saved[0].dtype) if isinstance(d, SymbolicZero) else d,
        gradients,
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    d_x, d_weights, d_state = _run(
        how, _backward, native.backward, *saved, d_outputs, d_state, input_gradient=asked is not None
    )
    return d_x, d_weights, d_state, None


recur.defvjp(_recur_forward, _recur_backward, symbolic_zeros=True)


def _run(how: Recurrence, code: Callable, compiled: Callable, *arguments: Any, **options: bool) -> Any:
    code = partial(code, how, **options)
    if not how.native:
        return code(*arguments)
    compiled = partial(compiled, how.cell, reverse=how.reverse, **options)
    return jax.lax.platform_dependent(*arguments, cpu=compiled, default=code)


def _forward(
    how: Recurrence, x: Array, weights: Arrays, state: Arrays, lengths: Array, *, train: bool
) -> tuple[Array, Arrays, Arrays]:
    """Outputs, last state and, to train, residuals, time-major `[t, b, h]`: the gates and the cell after every step."""
    input_kernel, bias, recurrent_kernel, recurrent_bias = weights
    x, valid = _valid(x, lengths)
    projected = _product(how, x, input_kernel)
    activate = _CELLS[how.cell].activate

    def step(state: Arrays, inputs: tuple[Array, Array | None]) -> tuple[Arrays, tuple[Array, Arrays]]:
        projected, valid = inputs
        recurrent = _product(how, state[0], recurrent_kernel)
        hidden, cell, gates = activate(projected, recurrent, recurrent_bias, *state)
        output = hidden
        if valid is not None:
            output = jnp.where(valid, hidden, jnp.zeros_like(hidden))
            hidden, cell = jnp.where(valid, hidden, state[0]), jnp.where(valid, cell, state[1])
        return (hidden, cell), (output, (*gates, cell) if train else ())

    last, (outputs, residuals) = jax.lax.scan(step, state, (projected + bias[None, None], valid), reverse=how.reverse)
    return jnp.swapaxes(outputs, 0, 1), last, residuals


def _backward(
    how: Recurrence,
    x: Array,
    weights: Arrays,
    state: Arrays,
    lengths: Array,
    outputs: Array,
    residuals: Arrays,
    d_outputs: Array,
    d_state: Arrays,
    *,
    input_gradient: bool,
) -> tuple[Array, Arrays, Arrays]:
    input_kernel, _, recurrent_kernel, recurrent_bias = weights
    masked, valid = _valid(x, lengths)
    outputs, d_outputs = jnp.swapaxes(outputs, 0, 1), jnp.swapaxes(d_outputs, 0, 1)
    gates, cells = residuals[:-1], residuals[-1]
    hidden_before = _before(outputs, state[0], lengths, how.reverse)
    cells_before = _before(cells, state[1], lengths, how.reverse)
    differentiate = _CELLS[how.cell].differentiate

    def step(d_state: Arrays, inputs: Any) -> tuple[Arrays, tuple[Array, Array]]:
        gates, output, hidden, cell, cell_before, d_output, valid = inputs
        d_hidden = d_state[0] + d_output
        d_input, d_recurrent, direct, d_cell = differentiate(
            gates, output, hidden, cell, cell_before, d_hidden, d_state[1]
        )
        if valid is not None:
            d_input, d_recurrent = (jnp.where(valid, d, jnp.zeros_like(d)) for d in (d_input, d_recurrent))
        d_before = _product(how, d_recurrent, recurrent_kernel.T)
        d_hidden = direct + d_before
        if valid is not None:
            d_hidden, d_cell = jnp.where(valid, d_hidden, d_state[0]), jnp.where(valid, d_cell, d_state[1])
        return (d_hidden, d_cell), (d_input, d_recurrent)

    inputs = (gates, outputs, hidden_before, cells, cells_before, d_outputs, valid)
    d_initial, (d_input, d_recurrent) = jax.lax.scan(step, d_state, inputs, reverse=not how.reverse)
    d_weights = (
        _outer(how, masked, d_input),
        d_input.sum(axis=(0, 1)),
        _outer(how, hidden_before, d_recurrent),
        d_recurrent[..., d_recurrent.shape[-1] - recurrent_bias.size :].sum(axis=(0, 1)),
    )
    if not input_gradient:
        return jnp.zeros_like(x), d_weights, d_initial
    return jnp.swapaxes(_product(how, d_input, input_kernel.T), 0, 1), d_weights, d_initial


# Of each cell, `activate(projected, recurrent, recurrent bias, hidden, cell) → (hidden, cell, gates)` and
# `differentiate(gates, output, hidden before, cell, cell before, δ hidden, δ cell) → (δ projected, δ recurrent, what
# reaches the hidden state before without the recurrent product, δ cell before)`.


class _Elman:
    @staticmethod
    def activate(projected: Array, recurrent: Array, _: Array, hidden: Array, cell: Array) -> Activated:
        return jnp.tanh(projected + recurrent), cell, ()

    @staticmethod
    def differentiate(
        _gates: Arrays, output: Array, _hidden: Array, _cell: Array, _cell_before: Array, d_hidden: Array, d_cell: Array
    ) -> Arrays:
        d = d_hidden * (1 - output * output)
        return d, d, jnp.zeros_like(d), d_cell


class _LSTM:
    @staticmethod
    def activate(projected: Array, recurrent: Array, _: Array, hidden: Array, cell: Array) -> Activated:
        i, f, g, o = jnp.split(projected + recurrent, 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        return o * jnp.tanh(cell), cell, (i, f, g, o)

    @staticmethod
    def differentiate(
        gates: Arrays, _output: Array, _hidden: Array, cell: Array, cell_before: Array, d_hidden: Array, d_cell: Array
    ) -> Arrays:
        i, f, g, o = gates
        shown = jnp.tanh(cell)
        d_cell = d_cell + d_hidden * o * (1 - shown * shown)
        d_i, d_f = d_cell * g * i * (1 - i), d_cell * cell_before * f * (1 - f)
        d_g, d_o = d_cell * i * (1 - g * g), d_hidden * shown * o * (1 - o)
        d = jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1)
        return d, d, jnp.zeros_like(d_hidden), d_cell * f


class _GRU:
    @staticmethod
    def activate(projected: Array, recurrent: Array, bias: Array, hidden: Array, cell: Array) -> Activated:
        x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(recurrent, 3, axis=-1)
        r, z, q = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z), h_n + bias[None]
        n = jnp.tanh(x_n + r * q)
        return n + z * (hidden - n), cell, (r, z, n, q)

    @staticmethod
    def differentiate(
        gates: Arrays, _output: Array, hidden: Array, _cell: Array, _cell_before: Array, d_hidden: Array, d_cell: Array
    ) -> Arrays:
        r, z, n, q = gates
        d_z, d_n = d_hidden * (hidden - n) * z * (1 - z), d_hidden * (1 - z) * (1 - n * n)
        d_r, d_q = d_n * q * r * (1 - r), d_n * r
        d_input, d_recurrent = (jnp.concatenate([d_r, d_z, d], axis=-1) for d in (d_n, d_q))
        return d_input, d_recurrent, d_hidden * z, d_cell


_CELLS: dict[str, type[_Elman | _LSTM | _GRU]] = {"elman": _Elman, "lstm": _LSTM, "gru": _GRU}


def _valid(x: Array, lengths: Array) -> tuple[Array, Array | None]:
    """Sequences time-major, and which steps are valid, `[t, b, 1]`; the others are zero, and none is None."""
    x = jnp.swapaxes(x, 0, 1)
    if not lengths.size:
        return x, None
    valid = (jnp.arange(x.shape[0], dtype=lengths.dtype)[:, None] < lengths[None, :])[:, :, None]
    # The products for the weights' gradient multiply the padding by zero, and 0 · NaN is NaN.
    return jnp.where(valid, x, jnp.zeros_like(x)), valid


def _before(after: Array, initial: Array, lengths: Array, reverse: bool) -> Array:
    """What was before every step, `[t, b, h]`, of what was after it."""
    if not reverse:
        return jnp.concatenate([initial[None], after[:-1]])
    before = jnp.concatenate([after[1:], initial[None]])
    if not lengths.size:
        return before
    first = jnp.arange(after.shape[0], dtype=lengths.dtype)[:, None] == lengths[None, :] - 1
    return jnp.where(first[:, :, None], initial[None], before)


def _product(how: Recurrence, a: Array, b: Array) -> Array:
    """`a b` with factors in the dtype of computation and sums in their own."""
    factors = (a, b) if how.compute_dtype is None else (a.astype(how.compute_dtype), b.astype(how.compute_dtype))
    return jnp.matmul(*factors, preferred_element_type=a.dtype)


def _outer(how: Recurrence, a: Array, b: Array) -> Array:
    """Products over all steps and sequences, `[t, b, m], [t, b, n] → [m, n]`."""
    return _product(how, a.reshape(-1, a.shape[-1]).T, b.reshape(-1, b.shape[-1]))
