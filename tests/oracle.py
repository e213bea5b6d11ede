"""The textbook equations as plain NumPy loops in float64, and their exact gradients, to judge the package against.

Nothing here is shared with the package: every gate has its own matrices `W [hidden, d]`, `U [hidden, hidden]` and
bias, and every sequence and step its own turn. States are tuples of `[b, hidden]` arrays: `(h,)`, or `(h, c)` for
the LSTM.
"""

import jax
import jax.numpy as jnp
import numpy as np

GATES = {"elman": ("h",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}
STATES = {"elman": 1, "lstm": 2, "gru": 1}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step(kind, parameters, x, state):
    """Next state of one sequence: x `[d]`, state a tuple of `[hidden]`; its first array is the output."""
    hidden = len(state[0])
    W, U, b = {}, {}, {}
    for index, gate in enumerate(GATES[kind]):
        columns = slice(index * hidden, (index + 1) * hidden)
        W[gate] = parameters["input_kernel"][:, columns].T
        U[gate] = parameters["recurrent_kernel"][:, columns].T
        b[gate] = parameters["bias"][columns]
    h = state[0]
    if kind == "elman":
        return (np.tanh(W["h"].dot(x) + U["h"].dot(h) + b["h"]),)
    if kind == "lstm":
        c = state[1]
        i = sigmoid(W["i"].dot(x) + U["i"].dot(h) + b["i"])
        f = sigmoid(W["f"].dot(x) + U["f"].dot(h) + b["f"])
        g = np.tanh(W["g"].dot(x) + U["g"].dot(h) + b["g"])
        o = sigmoid(W["o"].dot(x) + U["o"].dot(h) + b["o"])
        new_c = f * c + i * g
        return o * np.tanh(new_c), new_c
    r = sigmoid(W["r"].dot(x) + U["r"].dot(h) + b["r"])
    z = sigmoid(W["z"].dot(x) + U["z"].dot(h) + b["z"])
    n = np.tanh(W["n"].dot(x) + b["n"] + r * (U["n"].dot(h) + parameters["candidate_bias"]))
    return ((1 - z) * n + z * h,)


def run(kind, parameters, x, initial=None, lengths=None, reverse=False):
    """Outputs `[b, t, hidden]` and the last state, a tuple of `[b, hidden]`.

    Only the first `lengths[k]` steps of sequence k are taken, backwards from the last of them with `reverse`; the
    outputs of the others stay zero. Complex input gives complex output, which `gradients` needs.
    """
    dtype = np.result_type(np.float64, x, *parameters.values(), *(initial or ()))
    parameters = {name: np.asarray(value, dtype) for name, value in parameters.items()}
    x = np.asarray(x, dtype)
    batch, steps, _ = x.shape
    hidden = parameters["recurrent_kernel"].shape[0]
    outputs = np.zeros((batch, steps, hidden), dtype)
    last = tuple(np.zeros((batch, hidden), dtype) for _ in range(STATES[kind]))
    for k in range(batch):
        state = tuple(np.zeros(hidden, dtype) if initial is None else initial[n][k] for n in range(STATES[kind]))
        valid = list(range(steps if lengths is None else lengths[k]))
        for t in reversed(valid) if reverse else valid:
            state = step(kind, parameters, x[k, t], state)
            outputs[k, t] = state[0]
        for n in range(STATES[kind]):
            last[n][k] = state[n]
    return outputs, last


def loss(kind, parameters, x, initial, weights, **options):
    """Σ weights · (outputs, last state): one number that every output and every state takes part in."""
    outputs, last = run(kind, parameters, x, initial, **options)
    return sum(np.sum(weight * value) for weight, value in zip(weights, (outputs, *last), strict=True))


def gradients(kind, parameters, x, initial, weights, **options):
    """Derivatives of `loss` by complex steps: `(parameters, x, initial)`.

    Im f(a + iε) / ε has no difference of near-equal numbers in it, so that ε = 1e-30 gives all digits.
    """
    epsilon = 1e-30

    def derivative(array, loss_at):
        result = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            stepped = np.array(array, np.complex128)
            stepped[index] += 1j * epsilon
            result[index] = loss_at(stepped).imag / epsilon
        return result

    def at(parameters=parameters, x=x, initial=initial):
        return loss(kind, parameters, x, initial, weights, **options)

    by_parameters = {
        name: derivative(value, lambda a, name=name: at(parameters={**parameters, name: a}))
        for name, value in parameters.items()
    }
    by_x = derivative(x, lambda a: at(x=a))
    if initial is None:
        return by_parameters, by_x, None
    by_initial = tuple(
        derivative(value, lambda a, n=n: at(initial=(*initial[:n], a, *initial[n + 1 :])))
        for n, value in enumerate(initial)
    )
    return by_parameters, by_x, by_initial


# The way from a cell to the oracle.


def parameters_of(cell):
    """Parameters of a cell (or a gradient of that form) as float64 arrays by name."""
    names = ("input_kernel", "recurrent_kernel", "bias", "candidate_bias")
    return {name: np.asarray(getattr(cell, name)[...], np.float64) for name in names if hasattr(cell, name)}


def draw(rng, *shape):
    """Normal numbers that float32 holds exactly, so that both precisions are given the same problem."""
    return rng.normal(size=shape).astype(np.float32).astype(np.float64)


def random_cell(make_cell, rng, scale=0.5):
    """The cell of `make_cell()` with every parameter normal: a bias of zero would hide one left out or misplaced."""
    shapes = jax.eval_shape(make_cell)  # Spares the compilation of initializers whose values are not used.
    return jax.tree.map(lambda leaf: jnp.asarray(scale * draw(rng, *leaf.shape), leaf.dtype), shapes)
