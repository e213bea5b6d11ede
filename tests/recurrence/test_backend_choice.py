"""Which backend a scan takes, and what is said about it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import CELLS, LSTM, MinGRU
from rowrnn.machine.default import default_backend
from rowrnn.recurrence.backend_choice import explain
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.problem import BATCH, FEATURES, GAPS, HIDDEN, STEPS, make_cell
from tests.helpers.scans import needs_compiler, zeros


class Subclass(LSTM):
    """A cell that may step otherwise than its base."""


class Bounded(MinGRU):
    """A linear cell that shows another output."""

    def step(self, state, projected):
        state, output = super().step(state, projected)
        return state, jnp.tanh(output)


def test_a_cell_that_steps_otherwise_is_run_by_its_step():
    cell = Bounded(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    x = jnp.asarray(oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES), jnp.float32)
    assert explain(cell, x) == "plain: fused is out, Bounded is none of Elman, LSTM, GRU, PeepholeLSTM"
    outputs, _ = scan(cell, x)
    expected, _ = oracle.run("min_gru", oracle.parameters_of(cell), np.asarray(x))
    np.testing.assert_allclose(outputs, np.tanh(expected), rtol=0, atol=1e-5)


def test_explain_says_what_auto_takes_and_why():
    x = jnp.zeros((BATCH, STEPS, FEATURES))
    make = {"elman": CELLS["elman"], "lstm": LSTM, "subclass": Subclass}
    cells = {name: cell(FEATURES, HIDDEN, rngs=nnx.Rngs(0)) for name, cell in make.items()}
    assert explain(cells["elman"], x, compute_dtype=jnp.float16).startswith(
        "fused: native is out, it rounds nothing to float16"
    )
    assert explain(cells["lstm"], x, compute_dtype=jnp.bfloat16).startswith("fused: ")
    assert explain(cells["subclass"], x) == "plain: fused is out, Subclass is none of Elman, LSTM, GRU, PeepholeLSTM"
    assert explain(cells["lstm"], x, backend="plain") == "plain: asked for"
    with default_backend("fused"):
        assert explain(cells["lstm"], x) == "fused: asked for"


def test_explain_knows_what_is_asked():
    cell, x = make_cell("gru"), jnp.zeros((BATCH, STEPS, FEATURES))
    with default_backend("fused"):
        assert explain(cell, x, resets=True, return_states=True) == "fused: asked for"
    assert explain(make_cell("rg_lru"), x, resets=True) == "fused: native is out, it has no compiled code for RGLRU"


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (zeros(BATCH, STEPS, 2), {}, ValueError, r"d = 3 features, and was given \[3, 4, 2\]"),
        (zeros(BATCH, STEPS, FEATURES, dtype=np.int32), {}, TypeError, "floating-point sequences and was given int32"),
        (zeros(BATCH, STEPS, FEATURES), {"compute_dtype": jnp.int8}, TypeError, "floating-point compute_dtype"),
    ],
    ids=["shape", "dtype", "compute_dtype"],
)
def test_explain_refuses_what_scan_refuses(x, options, error, message):
    for function in (scan, explain):
        with pytest.raises(error, match=message):
            function(make_cell("lstm"), x, **options)


@pytest.mark.usefixtures("unchecked_types")
def test_explain_takes_cells_of_rowrnn_alone():
    cell: Any = nnx.GRUCell(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"explain takes cells of rowrnn, not flax.nnx.*GRUCell"):
        explain(cell, zeros(BATCH, STEPS, FEATURES))


@needs_compiler
def test_auto_takes_native_on_a_cpu():
    cell, x = make_cell("gru"), jnp.zeros((BATCH, STEPS, FEATURES))
    assert explain(cell, x) == "native: a float32 GRU on cpu"
    assert "rowrnn.gru_forward" in jax.jit(partial(scan, cell)).lower(x).as_text()


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        (
            "warp",
            {},
            r"knows no backend 'warp'; there are auto, plain, fused, native, chunkwise, parallel, persistent, cudnn",
        ),
        ("cudnn", {}, r"'cudnn': cuDNN needs a CUDA GPU, and JAX runs on cpu here"),
        ("persistent", {}, r"'persistent': it needs a GPU, and JAX runs on cpu here"),
        (
            "native",
            {"compute_dtype": jnp.bfloat16},
            r"'native': it rounds nothing to b",
        ),
        ("plain", {"compute_dtype": jnp.bfloat16}, r"'plain': it rounds nothing to bfloat16"),
        ("auto", {"checkpoint_every": 0}, r"checkpoint_every of at least 1 step, not 0"),
    ],
    ids=["unknown", "cudnn", "persistent", "native", "plain", "checkpoint"],
)
def test_backends_that_cannot_be_taken(backend, options, message):
    with pytest.raises(ValueError, match=message):
        scan(make_cell("lstm"), zeros(BATCH, STEPS, FEATURES), backend=backend, **options)


@pytest.mark.parametrize(
    ("kind", "backend", "options", "message"),
    [
        ("gru", "native", {"return_states": True, "mask": GAPS}, "'native': it has no states to return beside a mask"),
        ("lstm", "fused", {"return_states": True, "mask": GAPS}, "'fused': it has no states to return beside a mask"),
        ("gru", "parallel", {}, "'parallel': GRU is no linear cell"),
        (
            "mgu",
            "auto",
            {"compute_dtype": jnp.bfloat16},
            "round the products of MGU to bfloat16: MGU is none of Elman, LSTM, GRU, PeepholeLSTM",
        ),
        (
            "lstm",
            "auto",
            {"compute_dtype": "bfloat16", "return_states": True, "mask": GAPS},
            "round the products of LSTM to bfloat16: it has no states to return beside a mask",
        ),
        ("mgu", "fused", {}, "'fused': MGU is none of Elman, LSTM, GRU, PeepholeLSTM"),
        ("min_gru", "native", {}, "'native': it has no compiled code for MinGRU"),
    ],
)
def test_backends_that_lack_what_is_asked(kind, backend, options, message):
    with pytest.raises(ValueError, match=message):
        scan(make_cell(kind), zeros(BATCH, STEPS, FEATURES), backend=backend, **options)
