"""The programs that are compiled, not the clock: residuals, products, loops, memory and platforms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn
from jax.extend.core import jaxprs_in_params

from rowrnn.machine.default import default_backend
from rowrnn.recurrence import cudnn
from rowrnn.recurrence.array_form import Weights
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, FEATURES, HIDDEN, STEPS, Problem, make_cell
from tests.helpers.scans import FUSED, LINEAR, every_cell, fused_cell, needs_compiler


def equations(jaxpr):
    """All equations of a program, those of its loops and calls included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.parametrize("steps", [7, 50])
@fused_cell
def test_fused_keeps_few_residuals_and_multiplies_once_a_step(kind, steps):
    def products(equations):
        return sum(equation.primitive.name == "dot_general" for equation in equations)

    problem = Problem(kind, (BATCH, steps, FEATURES, 11), backend="fused", given_state=False)
    cell, x, state = problem.arguments(jnp.float32)
    program = jax.make_jaxpr(jax.grad(lambda cell: problem.loss(cell, x, state)[0]))(cell).jaxpr
    loops = [equation for equation in equations(program) if equation.primitive.name == "scan"]
    insides = [loop.params["jaxpr"].jaxpr for loop in loops]
    # What a step returns is stacked, and has an axis more outside; the state has not.
    stacked = [
        sum(outer.aval.ndim > inner.aval.ndim for outer, inner in zip(loop.outvars, inside.outvars, strict=True))
        for loop, inside in zip(loops, insides, strict=True)
    ]
    bodies = [list(equations(inside)) for inside in insides]
    # Forward: outputs and cells, and four gates, of a GRU one of them its candidate's recurrent half. Backward: the
    # gradients of the gates.
    forward, backward = stacked
    assert forward <= {"elman": 2, "lstm": 6, "peephole_lstm": 6, "gru": 6}[kind]
    assert backward <= 2
    # Besides, two before the loop, one for the form of the initial state, which XLA drops, and two after it for the
    # weights' gradient; none for x, for whose gradient nobody asks.
    assert [products(body) for body in bodies] == [1, 1]
    assert products(equations(program)) <= 6


@pytest.mark.parametrize("kind", LINEAR)
def test_parallel_has_no_loop(kind):
    def primitives(backend):
        problem = Problem(kind, (BATCH, 40, FEATURES, HIDDEN), backend=backend)
        cell, x, state = problem.arguments(jnp.float32)
        program = jax.make_jaxpr(jax.grad(lambda cell: problem.loss(cell, x, state)[0]))(cell).jaxpr
        return {equation.primitive.name for equation in equations(program)}

    assert not {"scan", "while"} & primitives("parallel")
    assert "scan" in primitives("fused")


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_checkpoints_keep_little(backend):
    def planned(every):
        problem = Problem("gru", (BATCH, 100, FEATURES, 16), backend=backend, checkpoint_every=every)
        run = jax.jit(jax.grad(lambda *arguments: problem.loss(*arguments)[0]))
        memory: Any = run.lower(*problem.arguments(jnp.float32)).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert planned(10) < 0.5 * planned(None)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@needs_compiler
def test_native_is_one_call_each_way_whatever_the_steps(kind):
    def calls(steps):
        problem = Problem(kind, (BATCH, steps, FEATURES, HIDDEN), given_state=False)
        cell, x, state = problem.arguments(jnp.float32)
        program = jax.jit(jax.grad(lambda cell: problem.loss(cell, x, state)[0])).lower(cell).as_text()
        assert "while" not in program
        # Nobody asks for the gradient of x, and nothing multiplies for it.
        assert "dot_general" not in program
        return program.count(f"@rowrnn.{kind}")

    assert calls(3) == calls(50) == 2


def test_cudnn_weights_are_in_its_order():
    """cuDNN runs on CUDA only; JAX's reference of it reads the same flat weights."""
    cell = make_cell("lstm")
    arrays = [cell.input_kernel[...], cell.bias[...], cell.recurrent_kernel[...], jnp.zeros(0)]
    unpacked = rnn.unpack_lstm_weights(cudnn.flat_weights(Weights(*arrays)), FEATURES, HIDDEN, 1, False)
    x = oracle.draw(np.random.default_rng(9), BATCH, STEPS, FEATURES)
    state = jnp.zeros((1, BATCH, HIDDEN))
    full = jnp.full((BATCH,), STEPS, jnp.int32)
    sizes = (FEATURES, HIDDEN, 1, 0.0, False)
    outputs, _, _ = rnn.lstm_ref(jnp.asarray(x, jnp.float32), state, state, *unpacked, full, *sizes)
    expected, _ = oracle.run("lstm", oracle.parameters_of(cell), x)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("platform", thinned(["cuda", "tpu", "cpu"], 3))
@every_cell
def test_lowers_for_every_platform(kind, platform):
    def gradient(cell, x, lengths):
        def loss(cell, x):
            outputs, _ = scan(cell, x, lengths=lengths, reverse=True, checkpoint_every=2)
            return outputs.sum()

        return jax.grad(loss, argnums=(0, 1))(cell, x)

    arguments = make_cell(kind), jnp.zeros((BATCH, STEPS, FEATURES)), jnp.asarray([4, 0, 2])
    # Compiled code of this machine cannot be exported.
    with default_backend("auto" if platform != "cpu" else "fused" if kind in (*FUSED, *LINEAR) else "plain"):
        exported = jax.export.export(jax.jit(gradient), platforms=[platform])(*arguments)
    assert exported.platforms == (platform,)
