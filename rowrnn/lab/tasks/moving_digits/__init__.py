"""Moving digits: prediction of the next frames of a video of digits that bounce off the walls (Moving MNIST)."""
