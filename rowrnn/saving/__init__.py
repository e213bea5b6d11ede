"""Models in files: structure, weights, and a card that says what they take, answer and can do."""

from rowrnn.saving.card import Card
from rowrnn.saving.model_file import bundled, load, read_card, save
from rowrnn.saving.preprocessing import Preprocessing

__all__ = ["Card", "Preprocessing", "bundled", "load", "read_card", "save"]
