"""Parity with torch's own `nn.RNN`, `nn.LSTM` and `nn.GRU` after a transfer of weights; run by `make test-interop`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rowrnn import interop
from rowrnn.interop import from_torch, to_torch
from tests.helpers import oracle

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")

BATCH, STEPS, FEATURES, HIDDEN, PROJECTION = 3, 5, 4, 6, 3
LENGTHS = [5, 2, 3]
CASES = [
    *itertools.product(["RNN", "GRU", "LSTM", "projected LSTM"], [1, 2, 3], [False, True], [False, True]),
]


def make_torch(name, layers, bidirectional, bias=True):
    """A torch module of random weights, biases included, drawn so that float32 holds them exactly."""
    projection = {"proj_size": PROJECTION} if name.startswith("projected") else {}
    make = getattr(torch.nn, name.split()[-1])
    module = make(FEATURES, HIDDEN, layers, bidirectional=bidirectional, bias=bias, batch_first=True, **projection)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(0.5 * oracle.draw(rng, *parameter.shape)))
    return module


def arrays_of(module):
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def run_torch(module, x, ragged):
    if not ragged:
        return module(x)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    outputs, last = module(packed)
    return torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=STEPS)[0], last


@pytest.mark.parametrize(("name", "layers", "bidirectional", "ragged"), CASES, ids=str)
def test_values_and_gradients_are_torchs(name, layers, bidirectional, ragged):
    module = make_torch(name, layers, bidirectional)
    rng = np.random.default_rng(1)
    x = oracle.draw(rng, BATCH, STEPS, FEATURES).astype(np.float32)
    theirs = torch.from_numpy(x.copy()).requires_grad_()
    expected, last = run_torch(module, theirs, ragged)
    weights = oracle.draw(rng, *expected.shape).astype(np.float32)
    (expected * torch.from_numpy(weights)).sum().backward()

    layer = from_torch(arrays_of(module))
    lengths = np.asarray(LENGTHS) if ragged else None

    @jax.jit
    def solve(layer, x):
        def loss(layer, x):
            outputs, state = layer(x, lengths=lengths)
            return (outputs * weights).sum(), (outputs, state)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(layer, x)

    (by_layer, by_x), (outputs, state) = solve(layer, jnp.asarray(x))
    np.testing.assert_allclose(outputs, expected.detach().numpy(), rtol=0, atol=1e-5)
    assert theirs.grad is not None
    np.testing.assert_allclose(by_x, theirs.grad.numpy(), rtol=0, atol=1e-4)
    # torch's state of all layers and directions, `[layers·directions, b, ·]`.
    hidden, cell = last if isinstance(last, tuple) else (last, None)
    leaves = jax.tree.leaves(state)
    np.testing.assert_allclose(leaves[:: 1 + (cell is not None)], hidden.detach().numpy(), rtol=0, atol=1e-5)
    if cell is not None:
        np.testing.assert_allclose(leaves[1::2], cell.detach().numpy(), rtol=0, atol=1e-5)
    gradients = to_torch(by_layer)
    for parameter_name, parameter in module.named_parameters():
        # Only the sum of both biases counts, and it is what the first one of ours holds.
        if parameter_name.startswith("bias_hh"):
            continue
        expected_gradient = parameter.grad.numpy()
        np.testing.assert_allclose(
            gradients[parameter_name], expected_gradient, rtol=0, atol=1e-4, err_msg=parameter_name
        )
    if name == "GRU":
        inside = module.bias_hh_l0.grad.numpy()[2 * HIDDEN :]
        np.testing.assert_allclose(gradients["bias_hh_l0"][2 * HIDDEN :], inside, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "projected LSTM"])
def test_our_weights_run_in_torch(name):
    layer = from_torch(arrays_of(make_torch(name, 2, True)))
    module = make_torch(name, 2, True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    module.load_state_dict({key: torch.from_numpy(array) for key, array in to_torch(layer).items()})
    x = oracle.draw(np.random.default_rng(2), BATCH, STEPS, FEATURES).astype(np.float32)
    with torch.no_grad():
        expected, _ = module(torch.from_numpy(x))
    np.testing.assert_allclose(layer(x)[0], expected.numpy(), rtol=0, atol=1e-5)


def test_without_biases():
    module = make_torch("GRU", 1, False, bias=False)
    x = oracle.draw(np.random.default_rng(2), BATCH, STEPS, FEATURES).astype(np.float32)
    with torch.no_grad():
        expected, _ = module(torch.from_numpy(x))
    np.testing.assert_allclose(from_torch(arrays_of(module))(x)[0], expected.numpy(), rtol=0, atol=1e-5)


def test_safetensors_both_ways(tmp_path):
    module = make_torch("LSTM", 2, True)
    save_file(module.state_dict(), tmp_path / "torch.safetensors")
    layer = interop.load(tmp_path / "torch.safetensors")
    interop.save(layer, tmp_path / "ours.safetensors")
    module.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    x = oracle.draw(np.random.default_rng(2), BATCH, STEPS, FEATURES).astype(np.float32)
    with torch.no_grad():
        expected, _ = module(torch.from_numpy(x))
    np.testing.assert_allclose(layer(x)[0], expected.numpy(), rtol=0, atol=1e-5)
