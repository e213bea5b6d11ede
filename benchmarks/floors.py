"""The bare matrix products of an LSTM or GRU layer, compiled and ready to be timed."""

from collections.abc import Iterator
from typing import Any

from layers import Case, Variant


def floor_variants(case: Case, meshes: tuple[int, ...]) -> Iterator[Variant]:
    """Yields the matrix products of a step of the case and nothing else, as a reference for its time.

    Forward these are the input's product for all steps at once and one recurrent product at each step. Training adds
    one product at each step of the backward pass and the weights' gradients for all steps at once.
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
        # Every product must differ between iterations, or XLA would compute it only once.
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
