"""Models in files: structure, weights, and a card that says what they take, answer and can do."""
