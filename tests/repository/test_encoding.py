"""Text is read and written as UTF-8, whatever the locale of the machine is."""

import ast

import pytest

from tests.helpers import ROOT

NOT_TEXT = ("os", "steps", "Image", "av")  # whose `open` gives no text


def of_unknown_encoding(source):
    """Lines of calls that open, read or write text without naming its encoding."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        of_os = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") in (
            "os",
            "steps",
            "Image",
            "av",
        )
        named = any(keyword.arg == "encoding" for keyword in node.keywords)
        modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        binary = any(isinstance(mode, str) and "b" in mode for mode in modes)
        of_text = name in ("read_text", "write_text") or (name == "open" and not of_os and not binary)
        if of_text and not named:
            yield node.lineno


def test_the_check_finds_what_it_is_for():
    source = "p.read_text()\nopen(p)\np.open('rb')\nos.open(p, 0)\np.write_text(t, encoding='utf-8')\nopen(p, 'w')"
    assert sorted(of_unknown_encoding(source)) == [1, 2, 6]


@pytest.mark.parametrize("part", ["rowrnn", "experiments", "benchmarks"])
def test_every_text_file_has_an_encoding(part):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for line in of_unknown_encoding(path.read_text(encoding="utf-8"))
    ]
    assert found == []
