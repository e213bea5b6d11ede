"""The bare matrix products of a recurrent layer, compiled and ready to be timed."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from layers import Case, Variant

GATES = {"elman": 1, "lstm": 4, "gru": 3, "peephole_lstm": 4, "layer_norm_lstm": 4, "layer_norm_gru": 3}
"""Cells whose step is a product of the input and one of the state, and how many gates these products have."""


class Sweep(NamedTuple):
    """One cell over all steps, in one direction.

    Args:
        features: of a step of its input.
        wide: all gates of its units.
        outputs: size of its hidden state.
        units: what a second product in each step projects to the hidden state; 0 without.
        below: whether a layer is below, which needs the gradient of the input.
    """

    features: int
    wide: int
    outputs: int
    units: int = 0
    below: bool = False


def sweeps(case: Case) -> list[Sweep]:
    """Returns the sweeps of a case, of all directions and layers."""
    wide, hidden = GATES[case.cell] * case.hidden, case.hidden
    if case.form == "projection":
        return [Sweep(case.d, wide, hidden // 2, units=hidden)]
    first = Sweep(case.d, wide, hidden)
    more = {"both directions": [first], "two layers": [Sweep(hidden, wide, hidden, below=True)]}
    return [first, *more.get(case.form, [])]


def floor_variants(case: Case, meshes: tuple[int, ...]) -> Iterator[Variant]:
    """Yields the matrix products of a step of the case and nothing else, as a reference for its time.

    Forward these are the input's product for all steps at once and one recurrent product at each step. Training adds
    one product at each step of the backward pass and the weights' gradients for all steps at once. A projection is a
    second product at each step.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    train, found = case.mode == "train", sweeps(case)

    def kernel(rows: int, columns: int) -> Any:
        return jnp.full((rows, columns), 1 / rows)

    def products(sweep: Sweep, x: Any, h: Any, u: Any, before: Any) -> Any:
        # Every product must differ between iterations, or XLA would compute it only once.
        change = before[0][0, 0] * 1e-30
        features, wide, outputs, units, below = sweep
        into, onward, back = (kernel(*shape) + change for shape in ((features, wide), (outputs, wide), (wide, outputs)))
        down, up = (kernel(*shape) + change if units else None for shape in ((units, outputs), (outputs, units)))
        gates = (x.reshape(-1, features) @ into).reshape(case.t, -1, wide)

        def step(_: Any, h: Any) -> Any:
            of_state = h @ onward
            return (of_state, of_state[:, :units] @ down if units else ()), None

        (last, shown), _ = jax.lax.scan(step, before[:2], h)
        if not train:
            return last, shown, gates

        def step_back(_: Any, gate: Any) -> Any:
            of_output = gate @ back
            return (of_output, of_output @ up if units else ()), None

        (first, middle), _ = jax.lax.scan(step_back, before[2:4], gates, reverse=True)
        flat = gates.reshape(-1, wide)
        of_kernels = [h.reshape(-1, outputs).T @ flat, x.reshape(-1, features).T @ flat]
        of_kernels += [u.reshape(-1, units).T @ h.reshape(-1, outputs)] if units else []
        of_kernels += [flat @ (kernel(wide, features) + change)] if below else []
        return last, shown, first, middle, *of_kernels

    for devices in meshes:
        if case.batch % devices:
            continue
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        b = case.batch // devices

        def on_device(arrays: Any, steps: Any, b: int = b) -> Any:
            def once(_: Any, states: Any) -> Any:
                return tuple(map(products, found, *arrays, states))

            widths = [(s.wide, s.units and s.outputs, s.outputs, s.units) for s in found]
            ends = [tuple(jnp.ones((b, width)) if width else () for width in of_one) for of_one in widths]
            shapes = jax.eval_shape(once, 0, ends)
            states = jax.tree.map(lambda shape: jnp.ones(shape.shape), shapes)
            states = jax.lax.fori_loop(0, steps, once, states)
            return sum(array.ravel()[:1] for array in jax.tree.leaves(states))

        of_batch = P(None, "data")
        mapped = jax.shard_map(on_device, mesh=mesh, in_specs=(of_batch, P()), out_specs=P("data"), check_vma=False)
        sizes = [[s.features for s in found], [s.outputs for s in found], [s.units for s in found]]
        arrays = [[jnp.ones((case.t, case.batch, size)) for size in of_all] for of_all in sizes]
        inputs = jax.device_put(arrays, NamedSharding(mesh, of_batch))
        compiled = jax.jit(mapped).lower(inputs, np.int32(1)).compile()

        def run(steps: int, compiled: Any = compiled, inputs: Any = inputs) -> None:
            jax.block_until_ready(compiled(inputs, np.int32(steps)))

        yield Variant(f"{devices} devices", run)
