"""A page that opens from a file: one draws on it and watches models read (`page/` has its sources)."""
