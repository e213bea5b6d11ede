"""Decoding of scores into strings and sentences: CTC, and autoregressive decoders."""
