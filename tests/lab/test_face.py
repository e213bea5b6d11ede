"""What a script imports from the laboratory, and what it says where that cannot be."""

import subprocess
import sys

import pytest

from rowrnn import lab
from tests.helpers import ROOT

WITHOUT = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *package: None if name == {name!r} else found(name, *package)
"""
LAZY = ("matplotlib", "tensorflow_datasets", "orbax.checkpoint", "grain", "skimage", "sacrebleu")


def test_every_name_is_there():
    assert [name for name in lab.__all__ if not hasattr(lab, name)] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tyro", "The laboratory needs tyro, not installed here. Install it with: pip install 'rowrnn[lab]'"),
        ("fcntl", "The laboratory runs on Linux and macOS"),
    ],
)
def test_what_is_missing_is_one_clear_error(name, message):
    program = WITHOUT.format(name=name) + "from rowrnn.__main__ import main\nmain()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"rowrnn: {message}")
    assert ended.stderr.count("\n") == 1


def test_what_takes_long_to_import_is_not_imported_before_it_is_needed():
    program = f"import sys, rowrnn.lab; print([name for name in {LAZY} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert printed.stdout == "[]\n"
