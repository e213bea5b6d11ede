"""Tests stand alone: what several need lies in tests/helpers, and the path is pytest's business."""

import ast

from tests.helpers import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))


def imported(path):
    """Names of all modules that a file imports, wherever in it, and of what it takes out of them."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def nodes(path):
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def test_no_test_is_imported():
    tests = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if path.name.startswith("test_")}
    for path in FILES:
        for name in imported(path):
            assert name not in tests, path
            assert name.rpartition(".")[0] not in tests, path


def test_no_test_edits_the_path():
    for path in FILES:
        attributes = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
        assert not attributes & {"sys.path", "monkeypatch.syspath_prepend"}, path


def test_what_lies_among_the_slow_tests_is_marked_so():
    for path in (ROOT / "tests" / "slow").glob("test_*.py"):
        assert "\npytestmark = pytest.mark.slow\n" in path.read_text(encoding="utf-8"), path
