"""Strictness for all tests: no implicit dtype or rank promotion, two CPU devices, warnings are errors."""

import gc
import os
from pathlib import Path

import jaxlib

# Programs of tests, and of the processes that they start, compile for a second and run for microseconds: LLVM's
# optimizations, XLA's fusion emitters and threads that share a compilation only cost time here. `problem.full_jit` has
# the first two, on which numbers depend.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
# Newer XLA has nothing but these emitters, and ends the process over a flag that it does not know.
if jaxlib.version.__version_info__ < (0, 11, 1):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}"

os.environ.pop("COLUMNS", None)  # that of a worker's terminal, which tables would be cut to

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

from rowrnn.lab.devices.compiled_programs import QUIET, make_room  # noqa: E402
from rowrnn.machine.native_library import processor_name  # noqa: E402

# Kept from one run of the tests to the next, which is then faster; also by the processes that they start.
PROGRAMS = Path(__file__).parents[1] / ".pytest_cache" / f"programs-{processor_name()}"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ and jax.__version_info__ >= QUIET:
    os.environ.update(JAX_COMPILATION_CACHE_DIR=str(PROGRAMS), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0.1")
    jax.config.update("jax_compilation_cache_dir", str(PROGRAMS))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

# Traced programs are kept, and are many: to look through them for garbage again and again is a twentieth of the time.
gc.freeze()
gc.set_threshold(100_000, 20, 100)

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_sessionstart():
    if PROGRAMS.exists():
        make_room(PROGRAMS)


@pytest.fixture
def standard_promotion():
    """Schedules of optax multiply floats by step counts, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def unchecked_types(monkeypatch):
    """Annotations are not checked, as they are not outside of the tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
