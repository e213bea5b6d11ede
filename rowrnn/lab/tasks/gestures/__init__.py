"""Gestures: classification of the motion of a digit in a video."""
