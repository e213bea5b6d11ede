"""The tutorials run from top to bottom, Python and commands, in an empty folder; their notebooks hold the same."""

import json

import pytest

from docs.notebooks import notebook_of
from tests.helpers.pages import BLOCK, TUTORIALS, name_of, run_all, text_of


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_notebook_says_what_its_page_says(page):
    notebook = text_of(page.with_suffix(".ipynb"))
    assert notebook == notebook_of(page), "run python docs/notebooks.py"
    code = ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    written = [match[2].strip() for match in BLOCK.finditer(text_of(page))]
    assert [source.removeprefix("%%bash\n") for source in code] == written


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_tutorial_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_all(page)
