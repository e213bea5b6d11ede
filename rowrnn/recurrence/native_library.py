"""The shared library of `kernels/`: found in the user's cache, or compiled there by the C++ compiler of the machine.

A library is named after its source and the processor, its compiler, and a checksum of its own bytes: a damaged one is
compiled anew, and without a compiler one that is there already serves.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax

KERNELS = Path(__file__).with_name("kernels")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-w", "-fPIC", "-shared")
TARGETS = ("lstm_forward", "lstm_backward", "gru_forward", "gru_backward")
PROCESSOR = Path("/proc/cpuinfo")
DIGITS = 16  # hexadecimal ones of each checksum in a name


class NotCompiledError(Exception):
    """There is no compiler, or it failed; the message says which."""


@functools.cache
def unavailable() -> str:
    """Why the compiled code cannot be used, empty where it can. The first call finds it or, in seconds, compiles it.

    `ROWRNN_NATIVE=0` in the environment turns it off, `CXX` names the compiler.
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


def library_path() -> Path:
    """The library for this processor: that of the compiler, made where it is not in the cache, or else another's.

    Raises:
        NotCompiledError: if there is none and none can be compiled.
        OSError: if the cache cannot be written.
        RuntimeError: if there is no home directory to keep it in.
    """
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rowrnn"
    include = Path(jax.ffi.include_dir())
    sources = [include / "xla/ffi/api/c_api.h", *sorted([*KERNELS.glob("*.h"), *KERNELS.glob("*.cc")])]
    instructions = _instructions()
    # Bytes, not text: what the locale reads them as does not matter.
    of_source = _checksum(*(path.read_bytes() for path in sources), " ".join([*FLAGS, instructions]).encode())
    try:
        compiler = _compiler()
        # The macros tell the compiler's version and the instructions of the processor.
        of_compiler = _checksum(_run(compiler, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull).encode())
        stem = f"recurrence-{of_source}-{of_compiler}"
        return _intact(directory, stem) or _compiled(compiler, include, directory, stem)
    except NotCompiledError:
        # Another compiler's library computes the same, if it was made for this processor.
        found = _intact(directory, f"recurrence-{of_source}") if instructions else None
        if found is None:
            raise
        return found


def _intact(directory: Path, stem: str) -> Path | None:
    """A library whose name begins so and whose bytes are those that were written; damaged ones are removed."""
    for path in sorted(directory.glob(f"{stem}-*.so")):
        if _checksum(path.read_bytes()) == path.stem[-DIGITS:]:
            return path
        path.unlink(missing_ok=True)
    return None


def _compiled(compiler: Sequence[str], include: Path, directory: Path, stem: str) -> Path:
    """The library, compiled: under its name only when all of it is on the disk."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as partial:
        built = Path(partial) / "recurrence.so"
        _run(compiler, *FLAGS, "-I", str(include), str(KERNELS / "recurrence.cc"), "-o", str(built))
        with built.open("rb+") as file:
            os.fsync(file.fileno())
        return built.replace(directory / f"{stem}-{_checksum(built.read_bytes())}.so")


def _compiler() -> list[str]:
    """The command of the C++ compiler, its program found."""
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
    """What this processor can do, as Linux lists it; empty where that is not known."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((f"{platform.machine()} {line}" for line in lines if line.startswith(("flags", "Features"))), "")


def _checksum(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:DIGITS]
