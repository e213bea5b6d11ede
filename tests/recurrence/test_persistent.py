"""The backend "persistent": interpreted by Pallas against the oracle, and lowered for a GPU that is not here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from rowrnn.recurrence import persistent
from rowrnn.recurrence.scan import scan
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, EPISODES, FEATURES, GAPS, HIDDEN, RAGGED, STEPS, Problem, deviation, make_cell
from tests.helpers.scans import FUSED, fused_cell

# One sequence of one unit, and more than one program's sequences with units that are no power of two.
SIZES = {"one of one": (1, 3, 2, 1), "two programs": (17, 3, 2, 20), "small": (BATCH, STEPS, FEATURES, HIDDEN)}
CASES = [
    ("small", {"mask": GAPS, "lengths": RAGGED, "reverse": True}),
    ("small", {"resets": EPISODES, "lengths": RAGGED}),
    ("one of one", {"given_state": False}),
    ("two programs", {"reverse": True}),
]


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(persistent, "unavailable", lambda: "")


@pytest.mark.parametrize(("sizes", "options"), thinned(CASES, 2))
@fused_cell
@pytest.mark.usefixtures("interpreted")
def test_equals_the_oracle_in_values_and_gradients(kind, sizes, options):
    problem = Problem(kind, SIZES[sizes], backend="persistent", **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 5e-5


@pytest.mark.parametrize("kind", thinned(FUSED, 2))
@pytest.mark.usefixtures("interpreted")
def test_states_of_all_steps_and_dropout_are_those_of_plain(kind):
    cell, x = make_cell(kind), np.random.default_rng(2).normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
    dropped = 2 * np.random.default_rng(3).integers(0, 2, (BATCH, HIDDEN)).astype(np.float32)

    def loss(cell, backend):
        outputs, states = scan(
            cell, x, lengths=jnp.asarray(RAGGED), dropout_mask=dropped, return_states=True, backend=backend
        )
        return sum((leaf**2).sum() for leaf in jax.tree.leaves((outputs, states)))

    of_both = (jax.value_and_grad(loss)(cell, backend) for backend in ("persistent", "plain"))
    for actual, expected in zip(*map(jax.tree.leaves, of_both), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("interpreted")
def test_factors_are_rounded_as_in_fused():
    problems = [Problem("gru", backend=name, compute_dtype=jnp.bfloat16) for name in ("persistent", "fused")]
    (values, gradients), (values_of_fused, gradients_of_fused) = (problem.solve(jnp.float32) for problem in problems)
    assert deviation(values, values_of_fused) < 1e-6
    assert deviation(gradients, gradients_of_fused) < 2e-2  # The order of rounding and adding up differs.
    assert deviation(values, problems[0].expected_values()) > 1e-4


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@fused_cell
def test_is_one_kernel_each_way_on_a_gpu(kind, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    cell, x, lengths = make_cell(kind), jnp.zeros((BATCH, STEPS, FEATURES)), jnp.asarray(RAGGED)

    def loss(cell):
        return scan(cell, x, lengths=lengths, backend="persistent")[0].sum()

    card = AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")
    with use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=card)):
        program = jax.jit(jax.grad(loss)).trace(cell).lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("@__gpu$xla.gpu.triton") == 2
    assert "stablehlo.while" not in program


@pytest.mark.usefixtures("interpreted")
def test_weights_that_do_not_fit_are_refused():
    cell, x = make_cell("lstm", hidden=65), np.zeros((BATCH, STEPS, FEATURES), np.float32)
    with pytest.raises(ValueError, match=r"'persistent': its recurrent weights take 256 KiB, and at most 64 fit"):
        scan(cell, x, backend="persistent")
    with pytest.raises(ValueError, match=r"'persistent': it computes in float32, rounded to 16 bits or not"):
        scan(make_cell("lstm"), x, backend="persistent", compute_dtype=jnp.float64)


@pytest.mark.usefixtures("interpreted")
def test_no_sequences():
    cell, x = make_cell("lstm"), jnp.zeros((0, STEPS, FEATURES))
    gradient = jax.grad(lambda cell: scan(cell, x, backend="persistent")[0].sum())(cell)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.usefixtures("interpreted")
def test_second_derivatives_are_refused():
    cell = make_cell("gru")

    def gradient(x):
        return jax.grad(lambda x: scan(cell, x, backend="persistent")[0].sum())(x).sum()

    with pytest.raises(TypeError, match=r"'persistent' has first derivatives only"):
        jax.grad(gradient)(jnp.ones((BATCH, STEPS, FEATURES)))
