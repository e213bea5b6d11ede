"""Writes the tutorials as notebooks beside their pages: `python docs/notebooks.py`.

A notebook is made of its page alone, so that both say the same; Python blocks become cells, commands cells of `%%bash`.
"""

from pathlib import Path

import jupytext
import nbformat

TUTORIALS = Path(__file__).parent / "tutorials"
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def notebook_of(page: Path) -> str:
    """Returns the notebook of a page, as JSON."""
    notebook = jupytext.read(page)
    notebook.metadata = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        cell.pop("id", None)  # a random one
    notebook.nbformat, notebook.nbformat_minor = 4, 4  # the last format in which a cell needs none
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


if __name__ == "__main__":
    for page in sorted(TUTORIALS.glob("*.md")):
        page.with_suffix(".ipynb").write_text(notebook_of(page), encoding="utf-8")
