"""The Python of the other pages runs; in a file of its own, since tests are spread by files."""

import pytest

from tests.helpers.pages import LIBRARY, PAGES, TUTORIALS, blocks, name_of, run_python

OTHERS = [page for page in PAGES if page not in [*LIBRARY, *TUTORIALS] and blocks(page, "python")]


@pytest.mark.slow
# Keras' own variables under NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("page", OTHERS, ids=name_of)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_python(page)
