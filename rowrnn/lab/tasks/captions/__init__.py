"""Captions: scenes of digits and own pictures are described word by word."""
