"""Scanning a cell over a sequence: `rowrnn.scan`, its backends, and the checks of its arguments."""
