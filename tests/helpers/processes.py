"""Scripts of the slow tests in processes of their own, which print what they found."""

import json
import os
import subprocess
import sys

from tests.helpers import ROOT


def told(script, *arguments, **environment):
    """What a script prints, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", f"tests.slow.{script}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
