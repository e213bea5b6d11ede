"""Images as sequences, and back: rows, any other order, and all four sides."""
