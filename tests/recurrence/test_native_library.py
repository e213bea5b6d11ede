"""The compiled code is found or built, and where it cannot be, said why."""

import shutil
import stat

import jax
import jax.numpy as jnp
import pytest

from rowrnn.recurrence import native

compiler = shutil.which("c++") or ""
needs_compiler = pytest.mark.skipif(not compiler, reason="there is no C++ compiler (c++)")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)


def unavailable():
    return native.unavailable.__wrapped__()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_compiler
def test_a_library_is_compiled_once(tmp_path):
    library = native._library(compiler)
    assert list((tmp_path / "cache" / "rowrnn").iterdir()) == [library]
    calls = tmp_path / "calls"
    counting = script(tmp_path / "counting", f'echo "$@" >> {calls}; exec {compiler} "$@"')
    assert native._library(counting) == library
    (only,) = calls.read_text().splitlines()
    assert "-dM" in only.split()


def test_a_user_can_turn_it_off(monkeypatch):
    monkeypatch.setenv("ROWRNN_NATIVE", "0")
    assert unavailable() == "ROWRNN_NATIVE=0 in the environment"


def test_without_a_compiler_the_reason_names_what_was_looked_for(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert unavailable() == "there is no C++ compiler 'no-such-compiler'; CXX names another"


@needs_compiler
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path, monkeypatch):
    failing = f'case "$*" in *-dM*) exec {compiler} "$@";; esac; echo "recurrence.cc:1: no" >&2; exit 1'
    monkeypatch.setenv("CXX", script(tmp_path / "failing", failing))
    assert unavailable() == f"{tmp_path / 'failing'} failed: recurrence.cc:1: no"
    assert list((tmp_path / "cache" / "rowrnn").iterdir()) == []


@needs_compiler
def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path):
    (tmp_path / "cache").write_text("a file where a directory should be")
    assert "cache" in unavailable()


@needs_compiler
def test_examples_are_cut_along_the_axes_that_divide_them():
    mesh = jax.make_mesh((2, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        assert native._batch_axes(jnp.zeros((4, 1))) == ("data",)
        assert native._batch_axes(jnp.zeros((3, 1))) == ()
    assert native._batch_axes(jnp.zeros((4, 1))) == ()
