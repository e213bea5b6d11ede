"""Data sets prepared by TensorFlow Datasets, in memory or streamed from their files."""
