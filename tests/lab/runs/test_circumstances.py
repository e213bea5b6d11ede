"""What a record says of the processor and of the sources."""

import re
import subprocess

import pytest

import rowrnn
from rowrnn.lab.runs import circumstances
from rowrnn.lab.runs.circumstances import commit, processor


@pytest.fixture(autouse=True)
def asked_anew():
    for function in (commit, processor):
        function.cache_clear()
    yield
    for function in (commit, processor):
        function.cache_clear()


ZEN = "model name\t: AMD EPYC\ncpu family\t: 25\nmodel\t\t: 17\n\nmodel name\t: Other\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (ZEN, "AMD EPYC, family 25, model 17"),
        ("model name : Neoverse-N1\n", "Neoverse-N1"),
        ("BogoMIPS : 50.00\n", "aarch64"),
        (None, "chip"),
    ],
)
def test_the_processor_is_named(tmp_path, monkeypatch, content, name):
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(circumstances, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.processor", lambda: "chip")
    assert processor() == name


def test_the_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(rowrnn, "__file__", str(tmp_path / "rowrnn" / "__init__.py"))
    assert commit() == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    commit.cache_clear()
    assert re.fullmatch("[0-9a-f]{40}", commit())
    (tmp_path / "file").write_text("two")
    commit.cache_clear()
    assert commit().endswith("-dirty")
