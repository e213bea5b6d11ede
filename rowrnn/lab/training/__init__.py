"""Training of several seeds at once, resumed after an interruption: loop, compiled steps, recipe and checkpoints."""

from rowrnn.lab.training.checkpoint import Checkpoints
from rowrnn.lab.training.examples import Source
from rowrnn.lab.training.fit import Epoch, Fit
from rowrnn.lab.training.recipe import Recipe
from rowrnn.lab.training.task import Task

__all__ = ["Checkpoints", "Epoch", "Fit", "Recipe", "Source", "Task"]
