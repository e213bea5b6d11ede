"""Generation: images as a model would write them, and how probable it holds those of others."""
