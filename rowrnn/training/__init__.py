"""Training that survives: the loop, its compiled steps and their examples, its recipe, its checkpoints, its end."""

from rowrnn.training.checkpoint import Checkpoints
from rowrnn.training.examples import Source
from rowrnn.training.fit import Epoch, Fit, fit
from rowrnn.training.recipe import Recipe

__all__ = ["Checkpoints", "Epoch", "Fit", "Recipe", "Source", "fit"]
