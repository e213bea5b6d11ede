"""The Python of README and the first pages runs; in a file of its own, since tests are spread by files."""

import pytest

from tests.helpers.cases import thinned
from tests.helpers.pages import LIBRARY, name_of, run_python


@pytest.mark.parametrize("page", thinned({name_of(page): page for page in LIBRARY}, len(LIBRARY)))
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_python(page)
