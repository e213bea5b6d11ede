"""What scripts print reads in any locale."""

import io
import sys

import pytest

from rowrnn.lab.report.terminal import terminal


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the second in the C locale
def test_what_the_output_cannot_encode_is_written_in_ascii(monkeypatch, errors):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", errors=errors))
    terminal().print("98.00 ± 2.48 … é")
    sys.stdout.flush()
    assert raw.getvalue() == b"98.00 +- 2.48 ... ?\n"
