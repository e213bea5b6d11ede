"""Training examples in device memory, or read ahead from a source by threads.

Training steps take their examples in blocks. In memory, a block is the indices of all examples of an epoch; from a
source, it is the examples of some steps.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, ArrayLike, Int, PyTree

from rowrnn.lab.devices.exchange import gather, to_devices
from rowrnn.lab.devices.mesh import DATA, SEED, shard_batch, take_examples

THREADS = 4
AHEAD = 16  # blocks that are read ahead
BLOCK_BYTES = 1 << 21

Order = Int[Array, "seeds steps b"]
Sizes = tuple[int, int, int]


@runtime_checkable
class Source(Protocol):
    """Examples that are read by index, in any order and from several threads at once."""

    def __len__(self) -> int: ...

    def shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns shapes and dtypes of all examples, with the number of examples as leading axis."""
        ...

    def read(self, numbers: Sequence[int]) -> PyTree[np.ndarray]:
        """Returns the examples at some indices, stacked along a leading axis."""
        ...


class InMemory:
    """Examples in device memory, a whole copy on each device.

    Args:
        examples: a pytree of arrays with a common leading axis.
        mesh: the devices.
        sizes: number of seeds, steps per epoch and examples per step.
    """

    def __init__(self, examples: PyTree[ArrayLike], mesh: Mesh, sizes: Sizes) -> None:
        self.on_devices = to_devices(examples, NamedSharding(mesh, P()))
        self.shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), self.on_devices)
        self.block_steps = sizes[1]
        self.block = jax.ShapeDtypeStruct(sizes, jnp.int32, sharding=NamedSharding(mesh, P(SEED)))

    def blocks(self, order: Order, first: int) -> Iterator[Order]:
        """Yields the blocks of an epoch from index `first` on."""
        del first  # An epoch is one block.
        yield order

    def batch(self, on_devices: PyTree[Array], block: Int[Array, "steps b"], step: Array) -> PyTree[Array]:
        """Returns the batch of a step from the block of one seed."""
        return take_examples(on_devices, jax.lax.dynamic_index_in_dim(block, step, keepdims=False))


class Streamed:
    """Examples that threads read from a source, some blocks ahead.

    Args:
        source: the examples.
        mesh: the devices; each process reads only the examples of its own devices.
        sizes: number of seeds, steps per epoch and examples per step.
    """

    def __init__(self, source: Source, mesh: Mesh, sizes: Sizes) -> None:
        seeds, steps, batch = sizes
        self._source, self._sharding = source, NamedSharding(mesh, P(SEED, None, DATA))
        self.on_devices, self.shapes = (), source.shapes()
        # A block is a list of leaves: its arrays have more axes than the annotations of a batch's class allow.
        leaves, self._structure = jax.tree.flatten(self.shapes)
        bytes_of_step = seeds * batch * sum(a.size * a.dtype.itemsize for a in leaves) // len(source)
        self.block_steps = max(1, min(steps, BLOCK_BYTES // bytes_of_step))
        leading = (seeds, self.block_steps, batch)
        self.block = [jax.ShapeDtypeStruct((*leading, *a.shape[1:]), a.dtype, sharding=self._sharding) for a in leaves]

    def blocks(self, order: Order, first: int) -> Iterator[list[Array]]:
        """Returns the blocks of an epoch from index `first` on, the last one padded with zeros."""
        import grain  # Imported only where used: it takes long.

        by_number: Any = _Blocks(self._source, gather(order), self.block_steps, self._sharding)
        blocks = grain.MapDataset.source(by_number)[first:]
        return iter(blocks.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)))

    def batch(self, on_devices: PyTree[Array], block: list[Array], step: Array) -> PyTree[Array]:
        """Returns the batch of a step from the block of one seed."""
        del on_devices
        leaves = [jax.lax.dynamic_index_in_dim(a, step, keepdims=False) for a in block]
        return shard_batch(jax.tree.unflatten(self._structure, leaves))


class EpochExamples:
    """The examples of an epoch, in the order of its steps.

    Args:
        examples: where they come from.
        order: indices of the examples of each step.
        first: first step that is asked for.
    """

    def __init__(self, examples: InMemory | Streamed, order: Order, first: int) -> None:
        self._steps = examples.block_steps
        self._next = first // self._steps
        self._blocks = examples.blocks(order, self._next)

    def block(self, step: int) -> tuple[PyTree[Array], int, int]:
        """Returns the block that holds a step, with its first step and the step after its last.

        Steps must not decrease from call to call.
        """
        while self._next <= step // self._steps:
            self._block = next(self._blocks)
            self._next += 1
        return self._block, (self._next - 1) * self._steps, self._next * self._steps


class _Blocks:
    """The blocks of an epoch as a grain data source, read by index."""

    def __init__(self, source: Source, order: Int[np.ndarray, "seeds steps b"], steps: int, sharding: Any) -> None:
        self._source, self._order, self._steps, self._sharding = source, order, steps, sharding

    def __len__(self) -> int:
        return -(-self._order.shape[1] // self._steps)

    def __getitem__(self, number: int) -> list[jax.Array]:
        numbers = self._order[:, number * self._steps : (number + 1) * self._steps]
        shape = (numbers.shape[0], self._steps, numbers.shape[2])
        places = self._sharding.addressable_devices_indices_map(shape)
        parts = [self._part(numbers[place], device) for device, place in places.items()]
        return [
            jax.make_array_from_single_device_arrays((*shape, *leaves[0].shape[3:]), self._sharding, list(leaves))
            for leaves in zip(*parts, strict=True)
        ]

    def _part(self, numbers: Int[np.ndarray, "seeds steps b"], device: jax.Device) -> list[jax.Array]:
        """Returns the part of a block that a device holds."""
        missing, parts = self._steps - numbers.shape[1], []
        for leaf in jax.tree.leaves(self._source.read(numbers.ravel().tolist())):
            part = np.asarray(leaf).reshape(*numbers.shape, *leaf.shape[1:])
            filling = [(0, missing if axis == 1 else 0) for axis in range(part.ndim)]
            parts.append(np.pad(part, filling) if missing else part)
        return jax.device_put(parts, device)
