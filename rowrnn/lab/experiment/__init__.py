"""Experiments: options, the command line, and the training of one model after another."""
