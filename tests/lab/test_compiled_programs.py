"""Programs that are kept for the next process, and where."""

import os
import subprocess
import sys

import jax
import pytest

from rowrnn.lab.devices.compiled_programs import QUIET, keep_compiled_programs, make_room
from rowrnn.machine.native_library import processor_name
from tests.helpers import ROOT

from_jax_12 = pytest.mark.skipif(jax.__version_info__ < QUIET, reason="older JAX warns of what it reads back")

COMPILED = """
import jax, jax.numpy as jnp
from rowrnn.lab.devices import compiled_programs
compiled_programs.SLOW = 0.0
compiled_programs.keep_compiled_programs()
print(float(jax.jit(lambda x: jnp.sin(x).sum())(jnp.arange(8.0))))
"""


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """A home of its own, where nothing says where programs are kept; the settings of the tests come back after."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cache" / "rowrnn" / f"programs-{processor_name()}"
    for name, value in before.items():
        jax.config.update(name, value)


@from_jax_12
def test_programs_are_kept_beside_the_compiled_library(unset):
    assert keep_compiled_programs() == unset
    assert jax.config.jax_compilation_cache_dir == str(unset)
    assert unset.is_dir()


@pytest.mark.parametrize("where", ["", "elsewhere"])
def test_a_place_that_is_said_stays(unset, monkeypatch, where):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", where)
    assert keep_compiled_programs() is None
    assert jax.config.jax_compilation_cache_dir is None
    assert not unset.exists()


def test_a_home_that_cannot_be_written_is_left(unset):
    unset.parent.parent.write_text("no directory")
    assert keep_compiled_programs() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_the_oldest_are_removed_beyond_a_size(tmp_path):
    for age, name in enumerate(("new", "old", "oldest")):
        (tmp_path / name).write_bytes(b"1234")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    make_room(tmp_path, 12)
    assert len(list(tmp_path.iterdir())) == 3
    make_room(tmp_path, 9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_folders_within_are_counted_and_stay(tmp_path):
    (tmp_path / "of_xla").mkdir()
    (tmp_path / "of_xla" / "old").write_bytes(b"1234")
    os.utime(tmp_path / "of_xla" / "old", (1000, 1000))
    (tmp_path / "new").write_bytes(b"1234")
    make_room(tmp_path, 5)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["new", "of_xla"]


@from_jax_12
@pytest.mark.slow
def test_another_process_finds_the_program(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in environment.items() if not name.startswith("JAX_")}

    def told():
        return subprocess.run(
            [sys.executable, "-c", COMPILED], capture_output=True, text=True, env=environment, check=True
        )

    first = told()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*-cache")}
    second = told()
    assert kept
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*-cache")}
    assert (second.stdout, second.stderr) == (first.stdout, "")
