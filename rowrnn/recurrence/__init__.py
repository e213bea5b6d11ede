"""How a cell runs over a sequence: `rowrnn.scan`, the backends behind it, and what they are given."""
