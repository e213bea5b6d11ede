"""Data sets of TensorFlow Datasets, in memory or streamed from their files."""
