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
    built = tmp_path / "every_kernel"
    flags = [flag for flag in FLAGS if flag not in ("-O3", "-fPIC", "-shared")]
    words = [*flags, "-O1", "-g", *shlex.split(SANITIZERS[sanitizer]), "-I", str(PROGRAM), "-I", str(KERNELS)]
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    subprocess.run([*compiler, *words, str(PROGRAM / "every_kernel.cc"), "-o", str(built), "-lpthread"], check=True)
    done = subprocess.run([built], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
