"""The tutorials run from top to bottom, Python and commands, in an empty folder."""

import pytest

from tests.helpers.pages import TUTORIALS, name_of, run_all


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_tutorial_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_all(page)
