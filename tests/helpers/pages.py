"""The pages of the repository, and the code that stands in them."""

import os
import re
import subprocess
import sys
from types import ModuleType

import jax
import pytest

from rowrnn.lab.report.publish import pages_of
from tests.helpers import ROOT

PAGES = [*pages_of(ROOT), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]
LIBRARY = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("cells", "scan", "images", "layers")),
]

TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Libraries that only the extra `interop` brings.
PEERS = ("torch", "keras")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """Code of a page, each block with the lines before it left blank, so that an error names the page's line."""
    text = text_of(page)
    found = [match for match in BLOCK.finditer(text) if match[1] == language]
    return ["\n" * text[: match.start(2)].count("\n") + match[2] for match in found]


def run_python(page):
    """Runs all Python of a page from top to bottom, in one namespace, with JAX's defaults as a reader has them."""
    namespace = {"__name__": page.stem}
    for code in blocks(page, "python"):
        for peer in PEERS:
            if f"import {peer}\n" in code:
                pytest.importorskip(peer, reason="only `make test-interop` sets it up")
        run_block(code, page, namespace)


def run_block(code, page, namespace):
    """Runs Python of a page."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(code, page, "exec"), namespace)


def run_all(page):
    """Runs the Python and the commands of a page, in their order; `rowrnn` is that of this Python."""
    module = sys.modules[page.stem] = ModuleType(page.stem)  # a class of the page is found by its name
    for match in BLOCK.finditer(text_of(page)):
        if match[1] == "python":
            run_block(match[2], page, vars(module))
        elif match[1] == "bash":
            command = f'set -eu; rowrnn() {{ "{sys.executable}" -m rowrnn "$@"; }}; {match[2]}'
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run(["bash", "-c", command], check=True, env=environment)
