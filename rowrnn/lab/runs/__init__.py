"""Runs: the directory of a run, its record, and its trained models."""
