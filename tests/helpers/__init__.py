"""What several tests share: the oracle, a problem for a cell, a small data set, and where the repository lies."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
