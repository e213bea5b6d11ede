"""Training that survives: the loop, its compiled steps and their examples, its recipe, its checkpoints, its end."""

from rowrnn.lab.training.checkpoint import Checkpoints
from rowrnn.lab.training.examples import Source
from rowrnn.lab.training.fit import Epoch, Fit
from rowrnn.lab.training.recipe import Recipe

__all__ = ["Checkpoints", "Epoch", "Fit", "Recipe", "Source"]
