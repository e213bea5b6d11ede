"""The site is built without a warning, and its reference has every public name."""

import os
import re
import subprocess
import sys

import pytest

import rowrnn
from rowrnn import cells, interop, lab, models, saving
from rowrnn.image import orders
from tests.helpers import ROOT

pytest.importorskip("mkdocs", reason="only `make docs` and `make test-all` set it up")
pytestmark = pytest.mark.slow

PUBLIC = [
    *(f"rowrnn.{name}" for name in rowrnn.__all__ if name not in (*cells.__all__, "interop")),
    *(f"rowrnn.cells.{name}" for name in cells.__all__),
    *(f"rowrnn.interop.{name}" for name in interop.__all__),
    *(f"rowrnn.models.{name}" for name in models.__all__),
    *(f"rowrnn.lab.{name}" for name in lab.__all__),
    "rowrnn.program.load",
    "rowrnn.errors.InputError",
    "rowrnn.recurrence.backend.Backend",
    "rowrnn.recurrence.backend.ScanCall",
    *(f"rowrnn.saving.{name}" for name in saving.__all__),
    "rowrnn.image.orders.ORDERS",
    "rowrnn.image.orders.Order",
    *(f"rowrnn.image.orders.{order.__name__}" for order in orders.ORDERS.values()),
    *(f"rowrnn.decoding.ctc.{name}" for name in ("Reading", "best_path", "beam_search")),
    *(f"rowrnn.decoding.sentences.{name}" for name in ("SpecialTokens", "Sentences", "greedy", "beam_search")),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_the_reference_has_every_public_name_and_nothing_private(site):
    anchors = {
        name for page in (site / "api").glob("*.html") for name in re.findall(r'id="([\w.]+)"', page.read_text())
    }
    assert set(PUBLIC) <= anchors
    assert not [name for name in anchors if re.search(r"\._[a-z]", name)]


def test_every_picture_and_link_of_the_site_is_in_it(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for link in re.findall(r'(?:src|href)="(?!https?:|#|data:|mailto:)([^"#?]+)', page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(site)}: {link}"


def test_nothing_is_fetched_to_read_the_site(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="https?:', text), page
        assert not re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="https?:', text), page
