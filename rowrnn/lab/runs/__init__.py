"""A run: a directory of its own, the record of what came of it, and the models that it keeps."""
