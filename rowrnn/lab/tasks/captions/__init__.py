"""Captions: images of several digits are described word by word."""
