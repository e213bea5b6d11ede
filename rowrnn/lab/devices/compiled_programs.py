"""Where JAX keeps what it compiled, so that the next run of the same model starts without compiling."""

import os
from pathlib import Path

import jax

from rowrnn.machine.cache_directory import cache_directory
from rowrnn.machine.native_library import processor_name

SLOW = 0.5  # seconds of compilation that are worth a file
MOST = 2**29  # bytes of the directory


def keep_compiled_programs() -> Path | None:
    """Makes JAX keep programs that take long to compile, beside the compiled library in the user's cache directory.

    Does nothing where `JAX_COMPILATION_CACHE_DIR`, or the setting of that name, says where; set to nothing, it says
    nowhere. Programs are kept for each kind of processor apart; beyond 512 MiB the oldest are removed.

    Returns:
        The directory; None where nothing was changed, or it cannot be written.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir is not None:
        return None
    try:
        directory = cache_directory() / f"programs-{processor_name()}"
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            return None
        make_room(directory, MOST)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SLOW)
    return directory


def make_room(directory: Path, most: int) -> None:
    """Removes the oldest files of a directory until the others take at most `most` bytes."""
    files = sorted(((entry.stat().st_mtime, entry) for entry in directory.iterdir()), reverse=True)
    taken = 0
    for _, file in files:
        taken += file.stat().st_size
        if taken > most:
            file.unlink(missing_ok=True)
