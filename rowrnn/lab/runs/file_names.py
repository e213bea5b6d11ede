"""Titles of models as names of files."""

import re


def file_name(title: str) -> str:
    """The title of a model as the name of a file: "GRU, both ways" as "gru_both_ways"."""
    return re.sub(r"\W+", "_", title.lower())
