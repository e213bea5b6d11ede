"""Images as sequences: row by row, in any other order, and from all four sides."""
