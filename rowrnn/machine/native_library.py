"""The shared library compiled from `kernels/`, kept in the user's cache directory.

The name of a library contains checksums of its source and processor, of its compiler, and of its own bytes. A damaged
library is compiled again; without a compiler, a cached library made by another compiler is used.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax

from rowrnn.machine.cache_directory import cache_directory

KERNELS = Path(__file__).with_name("kernels")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-w", "-fPIC", "-shared")
RECURRENCES = (
    *("elman", "lstm", "peephole_lstm", "gru", "lstm_maps", "gru_maps"),
    *("mgu", "reset_first_gru", "projected_lstm", "layer_norm_lstm", "layer_norm_gru"),
)
TARGETS = (
    *(f"{recurrence}_{way}" for recurrence in RECURRENCES for way in ("forward", "backward")),
    *("convolution_forward", "convolution_input_gradient", "convolution_kernel_gradient"),
)
PROCESSOR = Path("/proc/cpuinfo")
LOG = logging.getLogger("rowrnn")
DIGITS = 16  # hexadecimal digits of each checksum in a file name


class NotCompiledError(Exception):
    """Error if there is no compiler or the compilation failed."""


@functools.cache
def unavailable() -> str:
    """Returns the reason why the compiled code cannot be used; "" if it can.

    The first call finds the library in the cache or compiles it, which takes half a minute. The environment variable
    `ROWRNN_NATIVE=0` disables it, `CXX` names the compiler.
    """
    if os.environ.get("ROWRNN_NATIVE") == "0":
        return "ROWRNN_NATIVE=0 in the environment"
    try:
        library = ctypes.cdll.LoadLibrary(str(library_path()))
    except NotCompiledError as error:
        return str(error)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        return f"the compiled library cannot be kept or loaded: {error}"
    for target in TARGETS:
        jax.ffi.register_ffi_target(f"rowrnn.{target}", jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
    return ""


def status() -> str:
    """Returns in a sentence whether the compiled code is used; compiles it if that is not done yet."""
    reason = unavailable()
    return f"All runs through XLA: {reason}." if reason else "Gated cells and convolutions are compiled for this CPU."


def library_path() -> Path:
    """Returns the path of the library for this processor: that of this compiler, compiled if necessary, or another's.

    Raises:
        NotCompiledError: if there is no library and none can be compiled.
        OSError: if the cache cannot be written.
        RuntimeError: if there is no home directory for the cache.
    """
    directory = cache_directory()
    include = Path(jax.ffi.include_dir())
    sources = [include / "xla/ffi/api/c_api.h", *sorted([*KERNELS.glob("*.h"), *KERNELS.glob("*.cc")])]
    instructions = _instructions()
    # Read as bytes, which do not depend on the locale's encoding.
    of_source = _checksum(*(path.read_bytes() for path in sources), " ".join([*FLAGS, instructions]).encode())
    try:
        compiler = _compiler()
        # The predefined macros identify the compiler's version and the processor's instruction sets.
        of_compiler = _checksum(_run(compiler, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull).encode())
        stem = f"kernels-{of_source}-{of_compiler}"
        return _intact(directory, stem) or _compiled(compiler, include, directory, stem)
    except NotCompiledError:
        # A library made by another compiler for this processor will do.
        found = _intact(directory, f"kernels-{of_source}") if instructions else None
        if found is None:
            raise
        return found


def processor_name() -> str:
    """Returns a short name of the machine's kind of processor and its instruction sets, for file names."""
    return _checksum((_instructions() or platform.machine()).encode())


def _intact(directory: Path, stem: str) -> Path | None:
    """Returns a library whose name starts with `stem` and whose checksum is correct, or None; removes damaged ones."""
    for path in sorted(directory.glob(f"{stem}-*.so")):
        if _checksum(path.read_bytes()) == path.stem[-DIGITS:]:
            return path
        path.unlink(missing_ok=True)
    return None


def _compiled(compiler: Sequence[str], include: Path, directory: Path, stem: str) -> Path:
    """Compiles the library and returns its path; the file gets its final name only when it is completely on disk."""
    directory.mkdir(parents=True, exist_ok=True)
    LOG.warning("rowrnn: gated cells and convolutions are compiled for this CPU, once; this takes half a minute.")
    with tempfile.TemporaryDirectory(dir=directory) as partial:
        sources, built = sorted(KERNELS.glob("*.cc")), Path(partial) / "kernels.so"
        objects = [str(Path(partial) / f"{source.stem}.o") for source in sources]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a compiler works in one thread
            how = (compiler, *FLAGS, "-I", str(include), "-c")
            [*pool.map(lambda source, made: _run(*how, str(source), "-o", made), sources, objects)]
        _run(compiler, *FLAGS, *objects, "-o", str(built))
        with built.open("rb+") as file:
            os.fsync(file.fileno())
        return built.replace(directory / f"{stem}-{_checksum(built.read_bytes())}.so")


def _compiler() -> list[str]:
    """Returns the compiler command with the full path of its program.

    Raises:
        NotCompiledError: if `CXX` cannot be parsed, or its program does not exist.
    """
    try:
        words = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    except ValueError as error:
        raise NotCompiledError(f"CXX is no command: {error}") from None
    program = shutil.which(words[0])
    if program is None:
        raise NotCompiledError(f"there is no C++ compiler {words[0]!r}; CXX names another")
    return [program, *words[1:]]


def _run(compiler: Sequence[str], *arguments: str) -> str:
    try:
        command = [*compiler, *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, encoding="utf-8", errors="backslashreplace"
        ).stdout
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise NotCompiledError(f"{shlex.join(compiler)} failed: {said.strip()[-500:]}") from None


def _instructions() -> str:
    """Returns machine and instruction sets of the processor as listed by Linux; "" if unknown."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((f"{platform.machine()} {line}" for line in lines if line.startswith(("flags", "Features"))), "")


def _checksum(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:DIGITS]
