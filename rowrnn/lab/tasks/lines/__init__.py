"""Lines: recognition of strings of handwritten digits with CTC."""
