"""Measures that a field compares itself by."""
