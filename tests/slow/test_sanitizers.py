"""The kernels under sanitizers: no access outside of an array, no undefined behaviour, no race, all results written."""

import os
import shlex
import subprocess

import pytest

from rowrnn.machine.native_library import FLAGS, KERNELS
from tests.helpers import ROOT
from tests.helpers.scans import needs_compiler

pytestmark = pytest.mark.slow

PROGRAM = ROOT / "tests" / "slow" / "kernels"
# Vectors lie where arrays do, at any address of a float; the compiler is told so where it matters.
SANITIZERS = {
    "address and undefined behaviour": "-fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=all",
    "threads": "-fsanitize=thread",
}


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@needs_compiler
def test_every_kernel_runs_clean(sanitizer, tmp_path):
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    sanitized = [*compiler, "-g", "-O1", *shlex.split(SANITIZERS[sanitizer])]
    empty, built = tmp_path / "empty.cc", tmp_path / "every_kernel"
    empty.write_text("int main() {}\n", encoding="utf-8")
    tried = subprocess.run([*sanitized, str(empty), "-o", str(built)], capture_output=True, check=False)
    if tried.returncode or subprocess.run([built], capture_output=True, check=False).returncode:
        pytest.skip(f"no program runs here under the sanitizer of {sanitizer}")
    flags = [flag for flag in FLAGS if flag not in ("-O3", "-fPIC", "-shared")]
    words = [*flags, "-I", str(PROGRAM), "-I", str(KERNELS), str(PROGRAM / "every_kernel.cc"), "-o", str(built)]
    subprocess.run([*sanitized, *words, "-lpthread"], check=True)
    done = subprocess.run([built], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
