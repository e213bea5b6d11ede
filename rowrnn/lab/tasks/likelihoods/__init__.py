"""Likelihoods: what the probability of an image is good for, and what it does not say."""
