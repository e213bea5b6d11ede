"""Layers over sequences: one direction, both directions, and stacks of them.

Every layer is called alike: `layer(x, initial_state=..., key=..., **options) → (outputs, last state)`, where `options`
are those of `rowrnn.scan`: `lengths`, `mask`, `resets`, `hold_outputs`, `return_states`, `backend`, `checkpoint_every`,
`compute_dtype`. A `key` is given in training only; without one nothing is dropped.
"""

from rowrnn.sequence.bidirectional import Bidirectional
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.sequence.stack import Stack

__all__ = ["Bidirectional", "Recurrent", "Stack"]
