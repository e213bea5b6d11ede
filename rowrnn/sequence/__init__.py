"""Layers over sequences: recurrent ones in one direction, in both, by turns, and stacked; a Transformer beside them.

Every layer has the same call: `layer(x, initial_state=..., key=..., **options) → (outputs, last state)`. The `options`
are those of `rowrnn.scan`: `lengths`, `mask`, `resets`, `hold_outputs`, `return_states`, `backend`, `checkpoint_every`,
`compute_dtype`. A `key` is passed in training only; without one there is no dropout.
"""

from rowrnn.sequence.bidirectional import Bidirectional
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.sequence.residual import Residual
from rowrnn.sequence.stack import Stack
from rowrnn.sequence.transformer import Transformer
from rowrnn.sequence.vision_lstm import VisionLSTM

__all__ = ["Bidirectional", "Recurrent", "Residual", "Stack", "Transformer", "VisionLSTM"]
