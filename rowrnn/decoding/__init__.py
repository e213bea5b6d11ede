"""From scores to strings and sentences: CTC, and decoders that go word by word."""
