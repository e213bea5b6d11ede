"""Memory: a digit is shown, rows of nothing follow, and then it is asked for."""
