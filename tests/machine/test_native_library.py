"""The compiled library is found or built, whatever became of the cache, and where it cannot be, it is said why."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rowrnn.machine import native_library
from rowrnn.machine.native_library import NotCompiledError, library_path
from tests.helpers import ROOT

compiler = shutil.which("c++") or ""
NAME_OF_LIBRARY = """
import pathlib, sys
from rowrnn.machine import native_library
native_library.KERNELS = pathlib.Path(sys.argv[1])
print(native_library.library_path().name)
"""
needs_compiler = pytest.mark.skipif(not compiler, reason="there is no C++ compiler (c++)")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache" / "rowrnn"


@pytest.fixture
def quick(monkeypatch):
    """Libraries that say nothing, compiled at once."""
    empty = Path(os.environ["XDG_CACHE_HOME"]).parent / "kernels"
    empty.mkdir()
    (empty / "recurrence.cc").write_text("int nothing() { return 0; }  // µ\n", encoding="utf-8")
    monkeypatch.setattr(native_library, "KERNELS", empty)


def unavailable():
    return native_library.unavailable.__wrapped__()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_compiler
def test_a_library_is_compiled_once(tmp_path, cache, monkeypatch, quick):
    library = library_path()
    assert list(cache.iterdir()) == [library]
    calls = tmp_path / "calls"
    monkeypatch.setenv("CXX", script(tmp_path / "counting", f'echo "$@" >> {calls}; exec {compiler} "$@"'))
    assert library_path() == library
    (only,) = calls.read_text(encoding="utf-8").splitlines()
    assert "-dM" in only.split()


@needs_compiler
@pytest.mark.parametrize("size", [0, 1000], ids=["empty", "its end lost"])
def test_a_damaged_library_is_compiled_anew(cache, quick, size):
    library = library_path()
    whole = library.read_bytes()
    os.truncate(library, size)
    assert library_path().read_bytes() == whole
    assert list(cache.iterdir()) == [library]


@needs_compiler
def test_a_library_that_is_there_needs_no_compiler(monkeypatch, quick):
    library = library_path()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library_path() == library


@needs_compiler
def test_without_a_compiler_a_damaged_library_or_one_for_another_processor_is_not_taken(tmp_path, monkeypatch, quick):
    processor = tmp_path / "cpuinfo"
    monkeypatch.setattr(native_library, "PROCESSOR", processor)
    processor.write_text("flags\t\t: fpu avx2\n", encoding="utf-8")
    library = library_path()
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library_path() == library
    processor.write_text("flags\t\t: fpu\n", encoding="utf-8")
    with pytest.raises(NotCompiledError, match="there is no C\\+\\+ compiler 'no-such-compiler'"):
        library_path()
    processor.write_text("flags\t\t: fpu avx2\n", encoding="utf-8")
    os.truncate(library, 1000)
    with pytest.raises(NotCompiledError, match="there is no C\\+\\+ compiler 'no-such-compiler'"):
        library_path()


@needs_compiler
def test_what_the_processor_can_do_is_not_known_without_linux(tmp_path, monkeypatch, quick):
    monkeypatch.setattr(native_library, "PROCESSOR", tmp_path / "none")
    library = library_path()
    assert library_path() == library
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NotCompiledError, match="there is no C\\+\\+ compiler"):
        library_path()


@needs_compiler
def test_a_compiler_may_be_a_command_of_several_words(tmp_path, monkeypatch, quick):
    wrapper = script(tmp_path / "ccache", 'exec "$@"')
    monkeypatch.setenv("CXX", f"'{wrapper}' {compiler}")
    library = library_path()
    monkeypatch.setenv("CXX", "")  # as if it were not set
    assert library_path() == library
    monkeypatch.setenv("CXX", "'c++")
    shutil.rmtree(library.parent)
    assert unavailable() == "CXX is no command: No closing quotation"


@needs_compiler
def test_a_locale_without_unicode_does_not_matter(quick):
    """Sources are UTF-8; a process whose locale is ASCII finds the library that this one found."""
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", NAME_OF_LIBRARY, str(native_library.KERNELS)]
    found = subprocess.run(command, env={**os.environ, **ascii_only}, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == library_path().name


def test_a_user_can_turn_it_off(monkeypatch):
    monkeypatch.setenv("ROWRNN_NATIVE", "0")
    assert unavailable() == "ROWRNN_NATIVE=0 in the environment"


def test_without_a_compiler_the_reason_names_what_was_looked_for(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert unavailable() == "there is no C++ compiler 'no-such-compiler'; CXX names another"


@needs_compiler
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path, cache, monkeypatch):
    failing = f'case "$*" in *-dM*) exec {compiler} "$@";; esac; echo "recurrence.cc:1: no" >&2; exit 1'
    monkeypatch.setenv("CXX", script(tmp_path / "failing", failing))
    assert unavailable() == f"{tmp_path / 'failing'} failed: recurrence.cc:1: no"
    assert list(cache.iterdir()) == []


@needs_compiler
def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path):
    (tmp_path / "cache").write_text("a file where a directory should be", encoding="utf-8")
    assert "cache" in unavailable()
