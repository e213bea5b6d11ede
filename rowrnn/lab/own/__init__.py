"""Training on a person's own files: one study a task, with defaults for small data."""
