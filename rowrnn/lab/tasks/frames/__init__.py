"""Frames: what comes next in a video."""
