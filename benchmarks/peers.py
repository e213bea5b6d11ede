"""The contenders of the benchmarks: one layer of LSTM or GRU and a linear head, in every library alike.

Run as a program, it is one contender's process: it reads a case as a line of JSON, prepares it, and then times as many
steps as each further line asks for. `Peer` is the other end.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

CLASSES, LEARNING_RATE = 10, 1e-3
CONTENDERS = ("rowrnn", "torch", "flax nnx", "flax linen", "keras", "lax.scan", "floor")


class Case(NamedTuple):
    """What is computed: `cell` "lstm" or "gru", on `[batch, t, d]`, `mode` "forward" or "train"."""

    cell: str
    batch: int
    hidden: int
    t: int
    d: int
    mode: str


class Variant(NamedTuple):
    """One way to compute a case: `run(steps)` returns when so many steps are done."""

    name: str
    run: Callable[[int], None]
    compile_seconds: float = 0.0
    memory_mib: float | None = None


class Peer:
    """A contender in a process of its own, so that thread pools and allocators do not disturb each other."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        # A pool whose threads spin while they wait would take the cores from whoever is timed next.
        waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"} if name != "torch" else {}
        environment = {**os.environ, **waiting, "OMP_NUM_THREADS": str(threads), "KERAS_BACKEND": "jax"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **message: Any) -> Any:
        """Sends a message and returns the answer.

        Raises:
            RuntimeError: if the process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"The process of {self.name} ended with code {self.process.wait()}; see its error above."
            )
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.kill()
        self.process.wait()


def missing(name: str) -> str:
    """The package that a contender lacks, empty where it lacks none."""
    package = name if name in ("torch", "keras") else ""
    return package if package and find_spec(package) is None else ""


def serve(variants_of: Callable[[Case], Iterator[Variant]], answers: Any) -> None:
    """Answers `prepare` with the names of the variants, `time` with the seconds and page faults of so many steps."""
    variants: dict[str, Variant] = {}
    for line in sys.stdin:
        message = json.loads(line)
        if "prepare" in message:
            variants.clear()
            variants.update({variant.name: variant for variant in variants_of(Case(**message["prepare"]))})
            answer: Any = [[v.name, v.compile_seconds, v.memory_mib] for v in variants.values()]
        else:
            run, steps = variants[message["variant"]].run, message["steps"]
            # Whoever was timed before may still spin, and threads and caches of this process are cold.
            time.sleep(0.02)
            run(1)
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            started = time.perf_counter()
            run(steps)
            seconds = time.perf_counter() - started
            answer = seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(json.dumps(answer), file=answers, flush=True)


def torch_variants(case: Case) -> Iterator[Variant]:
    """`torch.nn.LSTM` and `torch.nn.GRU`, eager."""
    import torch

    torch.manual_seed(0)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell](case.d, case.hidden, batch_first=True)
    head = torch.nn.Linear(case.hidden, CLASSES)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], LEARNING_RATE)
    x = torch.randn(case.batch, case.t, case.d)
    labels = torch.randint(0, CLASSES, (case.batch,))

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(layer(x)[0][:, -1]), labels).backward()
            optimizer.step()

    def forward(steps: int) -> None:
        with torch.inference_mode():
            for _ in range(steps):
                layer(x)

    yield Variant("eager", train if case.mode == "train" else forward)


def jax_variants(case: Case, layer: Callable[[Case], tuple[Any, Any]], meshes: tuple[int, ...]) -> Iterator[Variant]:
    """A layer `(parameters, apply(parameters, x) → [b, t, h])` step by step and inside one jitted loop.

    Args:
        case: what is computed.
        layer: makes the layer.
        meshes: numbers of devices over which the batch is cut.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    parameters, apply = layer(case)
    key = jax.random.key(0)
    head = jax.random.normal(key, (case.hidden, CLASSES)) / case.hidden**0.5, jnp.zeros(CLASSES)
    x, labels = jax.random.normal(key, (case.batch, case.t, case.d)), jnp.arange(case.batch) % CLASSES
    optimizer = optax.adam(LEARNING_RATE)

    def loss(model: Any, x: Any, labels: Any) -> Any:
        parameters, (kernel, bias) = model
        logits = apply(parameters, x)[:, -1] @ kernel + bias
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def train(state: Any, x: Any, labels: Any) -> Any:
        model, optimizer_state = state
        updates, optimizer_state = optimizer.update(jax.grad(loss)(model, x, labels), optimizer_state, model)
        return optax.apply_updates(model, updates), optimizer_state

    def forward(state: Any, x: Any, labels: Any) -> Any:
        parameters, before = state
        # Outputs that nobody reads, or that are the same in every turn of a loop, would not be computed.
        return parameters, apply(parameters, x + before[0, 0, 0] * 1e-30)

    model = (parameters, head)
    train_state = model, optimizer.init(model)
    forward_state = parameters, jnp.zeros((case.batch, case.t, case.hidden))
    step, state = (train, train_state) if case.mode == "train" else (forward, forward_state)

    def loop(state: Any, x: Any, labels: Any, steps: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, state: step(state, x, labels), state)

    for devices in meshes:
        if case.batch % devices:
            continue
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        with jax.set_mesh(mesh):
            cut = NamedSharding(mesh, PartitionSpec("data"))
            inputs = jax.device_put((x, labels), cut)
            everywhere = NamedSharding(mesh, PartitionSpec())
            placed = jax.device_put(state, (everywhere, everywhere if case.mode == "train" else cut))
            shardings = jax.tree.map(lambda array: array.sharding, placed)
            suffix = f", {devices} devices" if devices > 1 else ""
            ways = [("stepwise", step, ()), ("in one loop", loop, (np.int32(1),))]
            # Steps that wait for each other across devices can deadlock when several are on their way.
            for name, function, more in ways[devices > 1 :]:
                started = time.perf_counter()
                jitted = jax.jit(function, donate_argnums=0, out_shardings=shardings)
                compiled = jitted.lower(placed, *inputs, *more).compile()
                seconds = time.perf_counter() - started
                memory = compiled.memory_analysis()
                mib = (memory.temp_size_in_bytes + memory.output_size_in_bytes) * devices / 2**20
                kept = jax.tree.map(jnp.copy, placed)
                runner = _looped if more else _stepwise
                yield Variant(name + suffix, runner(compiled, kept, inputs), seconds, mib)


def _looped(compiled: Any, state: Any, inputs: Any) -> Callable[[int], None]:
    import jax
    import numpy as np

    def run(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, *inputs, np.int32(steps)))

    return run


def _stepwise(compiled: Any, state: Any, inputs: Any) -> Callable[[int], None]:
    import jax

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = compiled(state, *inputs)
        jax.block_until_ready(state)

    return run


def rowrnn_layer(case: Case, **options: Any) -> tuple[Any, Any]:
    """`rowrnn.scan` with its own choice of backend."""
    from flax import nnx

    from rowrnn import CELLS, scan

    return CELLS[case.cell](case.d, case.hidden, rngs=nnx.Rngs(0)), lambda cell, x: scan(cell, x, **options)[0]


def plain_layer(case: Case) -> tuple[Any, Any]:
    """`jax.lax.scan` over the cell's step, differentiated by JAX."""
    return rowrnn_layer(case, backend="plain")


def nnx_layer(case: Case) -> tuple[Any, Any]:
    """`flax.nnx.RNN`."""
    import jax.numpy as jnp
    from flax import nnx

    cell = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[case.cell]
    layer = nnx.RNN(cell(case.d, case.hidden, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    graph, parameters, rest = nnx.split(layer, nnx.Param, ...)
    zeros = jnp.zeros((case.batch, case.hidden))
    # Given, since its own draws from a stream that the module stores, which a loop may not.
    carry = (zeros, zeros) if case.cell == "lstm" else zeros
    return parameters, lambda parameters, x: nnx.merge(graph, parameters, rest)(x, initial_carry=carry)


def linen_layer(case: Case) -> tuple[Any, Any]:
    """`flax.linen.RNN`."""
    import jax
    import jax.numpy as jnp
    from flax import linen

    layer = linen.RNN({"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}[case.cell](case.hidden))
    return layer.init(jax.random.key(0), jnp.zeros((1, 2, case.d))), layer.apply


def keras_layer(case: Case) -> tuple[Any, Any]:
    """`keras.layers.LSTM` and `GRU` on JAX."""
    import keras

    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[case.cell](case.hidden, return_sequences=True)
    layer.build((case.batch, case.t, case.d))
    fixed = [variable.value for variable in layer.non_trainable_variables]
    trainable = [variable.value for variable in layer.trainable_variables]
    return trainable, lambda parameters, x: layer.stateless_call(parameters, fixed, x)[0]


def floor_variants(case: Case, meshes: tuple[int, ...]) -> Iterator[Variant]:
    """Nothing but the matrix products of a step, in the order in which a recurrence allows them.

    Forward, the input's product over all steps and one recurrent product a step; to train, one back a step and the
    weights' gradients over all steps besides.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    wide, (t, d, hidden) = {"lstm": 4, "gru": 3}[case.cell] * case.hidden, (case.t, case.d, case.hidden)
    input_kernel, recurrent_kernel = jnp.full((d, wide), 1 / d), jnp.full((hidden, wide), 1 / hidden)
    back_kernel = jnp.full((wide, hidden), 1 / wide)

    def products(x: Any, h: Any, before: Any) -> Any:
        # Nothing may be the same in every turn, or it would be computed once.
        change = before[0][0, 0] * 1e-30
        gates = (x.reshape(-1, d) @ (input_kernel + change)).reshape(t, -1, wide)
        onward, back = recurrent_kernel + change, back_kernel + change
        last, _ = jax.lax.scan(lambda _, h: (h @ onward, None), before[0], h)
        if case.mode == "forward":
            return last, gates
        first, _ = jax.lax.scan(lambda _, gate: (gate @ back, None), before[1], gates, reverse=True)
        flat = gates.reshape(-1, wide)
        return last, first, h.reshape(-1, hidden).T @ flat, x.reshape(-1, d).T @ flat

    for devices in meshes:
        if case.batch % devices:
            continue
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        b = case.batch // devices

        def on_device(x: Any, h: Any, steps: Any, b: int = b) -> Any:
            shapes = [(b, wide), (b, hidden), (hidden, wide), (d, wide)]
            shapes = shapes if case.mode == "train" else [(b, wide), (t, b, wide)]
            state = tuple(jnp.ones(shape) for shape in shapes)
            state = jax.lax.fori_loop(0, steps, lambda _, state: products(x, h, state), state)
            return sum(array.ravel()[:1] for array in state)

        of_batch = P(None, "data")
        mapped = jax.shard_map(
            on_device, mesh=mesh, in_specs=(of_batch, of_batch, P()), out_specs=P("data"), check_vma=False
        )
        arrays = jnp.ones((t, case.batch, d)), jnp.ones((t, case.batch, hidden))
        inputs = jax.device_put(arrays, NamedSharding(mesh, of_batch))
        compiled = jax.jit(mapped).lower(*inputs, np.int32(1)).compile()

        def run(steps: int, compiled: Any = compiled, inputs: Any = inputs) -> None:
            jax.block_until_ready(compiled(*inputs, np.int32(steps)))

        yield Variant(f"{devices} devices", run)


def main(name: str, threads: int) -> None:
    """Serves one contender."""
    # Whatever a library prints must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    if name == "torch":
        import torch

        torch.set_num_threads(threads)
        return serve(torch_variants, answers)
    import jax

    devices = 2 if name in ("lax.scan", "floor") else 1
    jax.config.update("jax_num_cpu_devices", devices)
    meshes = tuple(range(1, devices + 1))
    if name == "floor":
        return serve(lambda case: floor_variants(case, meshes), answers)
    layers = {
        "rowrnn": rowrnn_layer,
        "lax.scan": plain_layer,
        "flax nnx": nnx_layer,
        "flax linen": linen_layer,
        "keras": keras_layer,
    }
    return serve(lambda case: jax_variants(case, layers[name], meshes), answers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    main(given.name, given.threads)
