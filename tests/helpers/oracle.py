"""The textbook equations as plain NumPy loops in float64, and their exact gradients, to judge the package against.

Nothing here is shared with the package: every gate has its own matrices `W [hidden, d]`, `U [hidden, hidden]` and
bias, and every sequence and step its own turn. States are tuples of `[b, hidden]` arrays: `(h,)`, `(h, c)` for
an LSTM, `(h, c, n, m)` for an sLSTM; of an mLSTM, which has one head here, they are `(C, n, m)` of `[b, hidden²]`,
`[b, hidden]` and `[b, 1]`.
"""

import jax
import jax.numpy as jnp
import numpy as np

LSTMS = ("lstm", "peephole_lstm", "projected_lstm", "layer_norm_lstm")
GATES = {
    "elman": ("h",),
    **dict.fromkeys(LSTMS, ("i", "f", "g", "o")),
    **dict.fromkeys(("gru", "layer_norm_gru", "reset_first_gru"), ("r", "z", "n")),
    "mgu": ("f", "n"),
    "min_gru": ("z", "n"),
    "min_lstm": ("f", "i", "n"),
    "rg_lru": ("r", "i", "n"),
    "lru": ("re", "im"),
    "slstm": ("i", "f", "g", "o"),
    "mlstm": ("q", "k", "v", "o", "i", "f"),
}
STATES = {kind: 2 if kind in LSTMS else 1 for kind in GATES} | {"slstm": 4, "mlstm": 3}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def normalised(a, scale):
    centred = a - a.mean()
    return scale * centred / np.sqrt((centred * centred).mean() + 1e-5)


def step(kind, parameters, x, state):
    """`(output, next state)` of one sequence: x `[d]`, state a tuple of arrays."""
    if kind == "mlstm":
        return mlstm(parameters, x, state)
    state = gated(kind, parameters, x, state)
    return state[0], state


def mlstm(parameters, x, state):
    hidden = len(state[1])
    C, n, m = state[0].reshape(hidden, hidden), state[1], state[2]
    a = parameters["input_kernel"].T.dot(x) + parameters["bias"]
    q, k, v, o = (a[part * hidden : (part + 1) * hidden] for part in range(4))
    i, f = a[-2:-1], a[-1:]
    k = k / np.sqrt(hidden)
    m_next = np.maximum(np.log(sigmoid(f)) + m, i)
    f, i = sigmoid(f) * np.exp(m - m_next), np.exp(i - m_next)
    C = f * C + i * np.outer(k, v)
    n = f * n + i * k
    weight = n.dot(q)
    weight = weight if weight.real > 0 else -weight  # of complex numbers, as `gradients` has them, no absolute value
    return sigmoid(o) * C.T.dot(q) / np.maximum(weight, np.exp(-m_next)), (C.ravel(), n, m_next)


def gated(kind, parameters, x, state):
    """Next state of one sequence, of which the first array is the output."""
    gates = GATES[kind]
    hidden = len(parameters["bias"]) // len(gates)
    h = state[0]
    wx, uh, b, U = {}, {}, {}, {}
    for index, gate in enumerate(gates):
        columns = slice(index * hidden, (index + 1) * hidden)
        b[gate] = parameters["bias"][columns]
        wx[gate] = parameters["input_kernel"][:, columns].T.dot(x)
        if "recurrent_kernel" in parameters:
            U[gate] = parameters["recurrent_kernel"][:, columns].T
            uh[gate] = U[gate].dot(h)
        if kind.startswith("layer_norm"):
            wx[gate] = normalised(wx[gate], parameters["input_scale"][columns])
            uh[gate] = normalised(uh[gate], parameters["recurrent_scale"][columns])
    a = {gate: wx[gate] + b[gate] for gate in gates}
    if kind == "elman":
        return (np.tanh(a["h"] + uh["h"]),)
    if kind in LSTMS:
        c = state[1]
        p_i, p_f, p_o = parameters.get("peephole", np.zeros((3, hidden)))
        i = sigmoid(a["i"] + uh["i"] + p_i * c)
        f = sigmoid(a["f"] + uh["f"] + p_f * c)
        new_c = f * c + i * np.tanh(a["g"] + uh["g"])
        o = sigmoid(a["o"] + uh["o"] + p_o * new_c)
        shown = new_c
        if kind == "layer_norm_lstm":
            shown = normalised(new_c, parameters["cell_scale"]) + parameters["cell_bias"]
        new_h = o * np.tanh(shown)
        return parameters["projection_kernel"].T.dot(new_h) if kind == "projected_lstm" else new_h, new_c
    if kind == "slstm":
        _, c, n, m = state
        m_next = np.maximum(np.log(sigmoid(a["f"] + uh["f"])) + m, a["i"] + uh["i"])
        i, f = np.exp(a["i"] + uh["i"] - m_next), sigmoid(a["f"] + uh["f"]) * np.exp(m - m_next)
        c, n = f * c + i * np.tanh(a["g"] + uh["g"]), f * n + i
        return sigmoid(a["o"] + uh["o"]) * c / n, c, n, m_next
    if kind == "mgu":
        f = sigmoid(a["f"] + uh["f"])
        return ((1 - f) * h + f * np.tanh(a["n"] + U["n"].dot(f * h)),)
    if kind == "min_gru":
        z = sigmoid(a["z"])
        return ((1 - z) * h + z * a["n"],)
    if kind == "min_lstm":
        f, i = sigmoid(a["f"]), sigmoid(a["i"])
        return (f / (f + i) * h + i / (f + i) * a["n"],)
    if kind == "rg_lru":
        decay = np.exp(-8 * np.log(1 + np.exp(parameters["decay"])) * sigmoid(a["r"]))
        return (decay * h + np.sqrt(1 - decay * decay) * sigmoid(a["i"]) * a["n"],)
    if kind == "lru":
        radius, phase = np.exp(-np.exp(parameters["decay"])), np.exp(parameters["phase"])
        re, im, room = h[:hidden], h[hidden:], np.sqrt(1 - radius * radius)
        re_next = radius * (np.cos(phase) * re - np.sin(phase) * im) + room * a["re"]
        return (np.concatenate([re_next, radius * (np.sin(phase) * re + np.cos(phase) * im) + room * a["im"]]),)
    r, z = sigmoid(a["r"] + uh["r"]), sigmoid(a["z"] + uh["z"])
    if kind == "reset_first_gru":
        n = np.tanh(a["n"] + U["n"].dot(r * h))
    else:
        n = np.tanh(a["n"] + r * (uh["n"] + parameters["candidate_bias"]))
    return ((1 - z) * n + z * h,)


def width(kind, parameters):
    """Size of an output."""
    if kind == "projected_lstm":
        return parameters["projection_kernel"].shape[1]
    if kind == "mlstm":
        return (len(parameters["bias"]) - 2) // 4
    hidden = len(parameters["bias"]) // len(GATES[kind])
    return 2 * hidden if kind == "lru" else hidden  # Real and imaginary parts side by side.


def sizes(kind, parameters):
    """Sizes of the arrays of a state."""
    outputs = width(kind, parameters)
    if kind == "mlstm":
        return outputs * outputs, outputs, 1
    hidden = len(parameters["bias"]) // len(GATES[kind])
    return (outputs, *(hidden,) * (STATES[kind] - 1))


def draw_state(kind, parameters, rng, *leading):
    """A state of normal numbers; a normalizer, by which an sLSTM divides, is at least 1."""
    state = [draw(rng, *leading, size) for size in sizes(kind, parameters)]
    if kind == "slstm":
        state[2] = 1 + np.abs(state[2])
    return tuple(state)


def run(kind, parameters, x, initial=None, lengths=None, reverse=False, mask=None, resets=None, holds=None):
    """Outputs `[b, t, hidden]` and the last state, a tuple of `[b, hidden]`.

    Only the first `lengths[k]` steps of sequence k that `mask[k]` marks are taken, backwards from the last of them with
    `reverse`; the outputs of the others stay zero. Where `resets[k]` marks an episode's first step, its state is zero
    before it, and backwards after it. With `holds`, of each array of the state `[b, t, size]`, zoneout: a step leads to
    (1 - hold) times the new state and hold times the one before. Complex input gives complex output, which
    `gradients` needs.
    """
    dtype = np.result_type(np.float64, x, *parameters.values(), *(initial or ()))
    parameters = {name: np.asarray(value, dtype) for name, value in parameters.items()}
    x = np.asarray(x, dtype)
    batch, steps, _ = x.shape
    of_state = sizes(kind, parameters)
    outputs = np.zeros((batch, steps, width(kind, parameters)), dtype)
    last = tuple(np.zeros((batch, size), dtype) for size in of_state)
    for k in range(batch):
        zeros = tuple(np.zeros(size, dtype) for size in of_state)
        state = zeros if initial is None else tuple(array[k] for array in initial)
        within = list(range(steps if lengths is None else lengths[k]))
        for t in reversed(within) if reverse else within:
            first = t + 1 if reverse else t  # On the way back an episode's first step has just been left.
            if resets is not None and first in within and resets[k, first]:
                state = zeros
            if mask is None or mask[k, t]:
                outputs[k, t], new = step(kind, parameters, x[k, t], state)
                if holds is not None:
                    new = tuple(
                        (1 - hold[k, t]) * a + hold[k, t] * b for a, b, hold in zip(new, state, holds, strict=True)
                    )
                    outputs[k, t] = new[0]
                state = new
        if reverse and resets is not None and within and resets[k, 0]:
            state = zeros
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

NAMES = (
    "input_kernel",
    "recurrent_kernel",
    "bias",
    "candidate_bias",
    "peephole",
    "projection_kernel",
    "input_scale",
    "recurrent_scale",
    "cell_scale",
    "cell_bias",
    "decay",
    "phase",
)


def parameters_of(cell):
    """Parameters of a cell (or a gradient of that form) as float64 arrays by name."""
    return {name: np.asarray(getattr(cell, name)[...], np.float64) for name in NAMES if hasattr(cell, name)}


def draw(rng, *shape):
    """Normal numbers that float32 holds exactly, so that both precisions are given the same problem."""
    return rng.normal(size=shape).astype(np.float32).astype(np.float64)


def random_cell(make_cell, rng, scale=0.5):
    """The cell of `make_cell()` with every parameter normal: a bias of zero would hide one left out or misplaced."""
    # Spares the compilation of initializers whose values are not used.
    return random_like(jax.eval_shape(make_cell), rng, scale)


def random_like(module, rng, scale=0.5):
    """The module, or one of that form, with every parameter normal."""
    return jax.tree.map(lambda leaf: jnp.asarray(scale * draw(rng, *leaf.shape), leaf.dtype), module)
