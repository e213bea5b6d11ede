"""Training that survives: the loop, what it compiles, its recipe, its checkpoints, and how it is asked to stop."""

from rowrnn.training.checkpoint import Checkpoints
from rowrnn.training.fit import Epoch, Fit, fit
from rowrnn.training.recipe import Recipe

__all__ = ["Checkpoints", "Epoch", "Fit", "Recipe", "fit"]
