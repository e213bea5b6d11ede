"""What a run was measured on and with: the processor, and the commit of the sources."""

import platform
import subprocess
from functools import cache
from pathlib import Path

import rowrnn

CPUINFO = Path("/proc/cpuinfo")


@cache
def processor() -> str:
    """Returns the name of the processor, on Linux with family and model, since names of virtual ones say little."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    fields = [line.split(":", 1) for line in first.splitlines() if ":" in line]
    known = {name.strip(): value.strip() for name, value in fields}
    name = known.get("model name") or platform.machine()
    numbers = [f"{what} {known[key]}" for what, key in (("family", "cpu family"), ("model", "model")) if key in known]
    return ", ".join([name, *numbers])


@cache
def commit() -> str:
    """Returns the commit of the checkout that rowrnn is in, with "-dirty" where files differ; "" outside of one."""
    root = Path(rowrnn.__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
