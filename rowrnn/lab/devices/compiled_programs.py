"""Where JAX keeps what it compiled, so that the next run of the same model starts without compiling."""

import os
from contextlib import suppress
from pathlib import Path

import jax

from rowrnn.machine.cache_directory import cache_directory
from rowrnn.machine.native_library import processor_name

SLOW = 0.5  # seconds of compilation that are worth a file
MOST = 2**29  # bytes of the directory
QUIET = (0, 12, 0)
"""The JAX from which programs are kept: older ones warn of instruction sets whenever they read one back on a CPU."""


def keep_compiled_programs() -> Path | None:
    """Makes JAX keep programs that take long to compile, beside the compiled library in the user's cache directory.

    Does nothing before JAX 0.12, and if the user has set `JAX_COMPILATION_CACHE_DIR`, or the setting of that name; an
    empty value turns the cache off. Programs are kept for each kind of processor apart, in 512 MiB at most.

    Returns:
        The directory; None where nothing was changed, or it cannot be written.
    """
    if jax.__version_info__ < QUIET:
        return None
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir is not None:
        return None
    try:
        directory = cache_directory() / f"programs-{processor_name()}"
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            return None
        make_room(directory)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SLOW)
    return directory


def make_room(directory: Path, most: int = MOST) -> None:
    """Removes the files of a directory that were written longest ago, until the others take at most `most` bytes."""
    # JAX's own limit, jax_compilation_cache_max_size, needs the package filelock.
    found = []
    for file in directory.rglob("*"):
        with suppress(OSError):  # another process may make room too
            if file.is_file():
                known = file.stat()
                found.append((known.st_mtime, known.st_size, file))
    taken = 0
    for _, size, file in sorted(found, reverse=True):
        taken += size
        if taken > most:
            with suppress(OSError):
                file.unlink()
