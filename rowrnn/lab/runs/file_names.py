"""File names made of the titles of models."""

import re


def file_name(title: str) -> str:
    """Returns the title of a model as a file name: "GRU, both ways" becomes "gru_both_ways"."""
    return re.sub(r"\W+", "_", title.lower())
