"""README and docs/: their commands exist, their tables and pictures are the committed results, their links lead on."""

import re
import sys
from typing import Any

import jax
import pytest
from flax import nnx

import rowrnn.__main__
from rowrnn.cells import CELLS, MLSTM, ProjectedLSTM
from rowrnn.lab.report.publish import results_shown, with_table
from rowrnn.lab.runs.record import read_results
from tests.helpers import ROOT
from tests.helpers.pages import BLOCK, PAGES, blocks, name_of, text_of

RESULTS = ROOT / "results"


def test_readme_is_one_screen_with_code_first():
    lines = text_of(ROOT / "README.md").splitlines()
    assert len(lines) <= 130
    assert "```python" in lines[:40]


COMMANDS = "\n".join(
    [code for page in PAGES for code in blocks(page, "bash")]
    + re.findall(r"`(?:python|make|rowrnn) [^`]*`", "\n".join(text_of(page) for page in PAGES))
)


@pytest.mark.parametrize("script", sorted(set(re.findall(r"python ((?:experiments|benchmarks)/\w+\.py)", COMMANDS))))
def test_a_script_that_pages_name_exists(script):
    assert (ROOT / script).is_file() or script == "experiments/NAME.py"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|[\s`])rowrnn ([a-z]+)", COMMANDS))))
def test_a_command_that_pages_name_exists(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rowrnn", command, "--help"])
    with pytest.raises(SystemExit) as ended:
        rowrnn.__main__.main()
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([\w-]+)", COMMANDS, re.MULTILINE))))
def test_a_target_of_make_that_pages_name_exists(target):
    assert re.search(rf"^{target}:", text_of(ROOT / "Makefile"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_and_pictures_are_the_committed_results(page):
    text = text_of(page)
    for name in (name for names in results_shown(text) for name in names):
        if name == "the features":
            continue
        record = read_results(RESULTS / f"{name}.json")
        assert record.finished or name == "accelerator"  # ended at a time limit, as the page says
        assert with_table(text, name, record, RESULTS) == text
    for picture in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (page.parent / picture).is_file(), picture


def test_every_committed_result_is_shown():
    texts = [text_of(page) for page in PAGES]
    shown = {name for text in texts for names in results_shown(text) for name in names}
    assert {path.stem for path in RESULTS.glob("*.json")} <= shown
    for picture in (*RESULTS.glob("*.png"), *RESULTS.glob("*.gif")):
        assert any(f"results/{picture.name})" in text for text in texts), picture


def test_the_main_tables_stand_where_they_are_looked_for():
    assert ["mnist_rows"] in results_shown(text_of(ROOT / "README.md"))
    assert ["lines_lstm", "lines_gru"] in results_shown(text_of(ROOT / "docs" / "experiments" / "lines.md"))


def test_every_link_leads_to_a_file():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:|#)([^)# ]+)[^)]*\)", BLOCK.sub("", text_of(page))):
            assert (page.parent / link).exists(), f"{name_of(page)}: {link}"


def test_each_feature_links_to_its_test():
    text = text_of(ROOT / "docs" / "features.md")
    _, _, *rows = text.split("<!-- the features -->")[1].split("<!-- /the features -->")[0].strip().splitlines()
    for row in rows:
        assert row.count("|") == 9, row
        links = re.findall(r'\[yes\]\(\.\./(tests/[\w/]+\.py) "(\w+)"\)', row)
        assert len(links) == 1, row
        for path, test in links:
            assert f"def {test}(" in text_of(ROOT / path), test


COSTS = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text_of(ROOT / "docs" / "cells.md"), re.MULTILINE)


@pytest.mark.parametrize(("name", "formula"), COSTS)
def test_a_cell_has_as_many_parameters_as_its_page_says(name, formula):
    sizes = {"d": 5, "n": 8, "p": 3, "m": 4}
    cell = next((cell for cell in CELLS.values() if cell.__name__ == name), ProjectedLSTM)
    own: dict[Any, dict[str, Any]] = {ProjectedLSTM: {"projection": sizes["p"]}, MLSTM: {"heads": sizes["m"]}}
    options = own.get(cell, {})
    made = cell(sizes["d"], sizes["n"], rngs=nnx.Rngs(0), **options)
    product = re.sub(r"(?<=[\dnmp)])(?=[dnmp(])", "*", formula)
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == eval(product, sizes)


def test_every_cell_has_its_cost_on_the_page():
    assert {cell.__name__ for cell in CELLS.values()} <= {name for name, _ in COSTS}
