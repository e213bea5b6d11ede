"""Answers of trained models about a person's files."""
