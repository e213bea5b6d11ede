"""Text: the next character or word, and writing that goes on."""
