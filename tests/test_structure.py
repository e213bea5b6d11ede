"""The traffic between the rooms goes one way, and the committed tables are the committed results."""

import ast
import json
import re
from pathlib import Path

import pytest

from rowrnn import report

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rowrnn"

# From the bottom up: a module may import from those before its own group, or a neighbour named beside it.
ORDER = [
    {"typing", "errors", "whole_file", "columns", "names"},
    {"mesh", "native", "convolution", "linear_recurrence", "masking", "ctc"},
    {"cells", "data", "fused", "cudnn", "orders"},
    {"arguments"},
    {"loop"},
    {"scan"},
    {"sequence", "program"},
    {"image", "interop"},
    {"models", "metrics"},
    {"evaluate", "run", "classification", "progress", "machines", "transcription"},
    {"training", "report", "command"},
    {"options", "plots", "runs"},
    {"trial"},
    {"experiment"},
    {"classifier_trial"},
    {"__main__", "__init__"},
]
# These know arrays and files only, never a cell or a model.
BELOW_CELLS = {"data", "evaluate", "training", "run", "runs", "report", "plots", "progress", "mesh"}


def imports(path):
    """Names of the rooms of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        parts = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and parts[0] == "rowrnn":
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("rowrnn.")}
    return found


def room(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    level = {name: number for number, names in enumerate(ORDER) for name in names}
    here = room(path)
    assert here in level, f"{here} has no place in the order"
    for name in imports(path) - {here}:
        assert level[name] < level[here], f"{path.name} imports {name}"
        if here in BELOW_CELLS:
            assert name not in {"cells", "scan", "sequence", "image", "models", "classification"}


def test_the_tables_and_pictures_of_the_readme_are_the_committed_results():
    readme = (ROOT / "README.md").read_text()
    tables = [marks.split(" + ") for _, marks, _ in report.MARKS.findall(readme)]
    assert ["mnist_rows"] in tables
    assert ["lines_lstm", "lines_gru"] in tables
    for name in (name for names in tables for name in names):
        results = json.loads((ROOT / "results" / f"{name}.json").read_text())
        assert results["finished"]
        assert report.with_table(readme, name, results, ROOT / "results") == readme
    for picture in re.findall(r"!\[.*\]\((.*)\)", readme):
        assert (ROOT / picture).is_file(), picture


def test_no_file_is_two_rooms():
    for path in (*PACKAGE.rglob("*.py"), *ROOT.glob("experiments/*.py"), *ROOT.glob("benchmarks/*.py")):
        assert len(path.read_text().splitlines()) <= 300, path


def test_the_features_of_the_readme_link_to_their_tests():
    table = (ROOT / "README.md").read_text().split("<!-- the features -->")[1].split("<!-- /the features -->")[0]
    _, _, *rows = table.strip().splitlines()
    for row in rows:
        assert row.count("|") == 9, row
        links = re.findall(r'\[yes\]\((tests/\w+\.py) "(\w+)"\)', row)
        assert len(links) == 1, row
        for path, test in links:
            assert f"def {test}(" in (ROOT / path).read_text(), test
