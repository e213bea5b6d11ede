"""Gestures: which way a digit moves through a video."""
