"""Clips: short videos of different lengths are classified, as lips by the word that they say."""
