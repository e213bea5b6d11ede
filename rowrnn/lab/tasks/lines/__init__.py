"""Lines: handwritten digits and text are read with CTC."""
