"""Classification: which class an image is of."""
