"""Lines: handwritten digits side by side, read with CTC."""
