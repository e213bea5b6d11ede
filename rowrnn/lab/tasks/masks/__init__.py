"""Masks: which pixels of a picture belong to an object."""
