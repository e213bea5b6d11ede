"""Memory: classification of a digit many rows after it was shown."""
