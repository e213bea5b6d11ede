"""Captions: scenes of digits, described word by word."""
