"""Runs a study as a notebook does: in a process in which JAX has computed already. Prints what came of it as JSON."""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import jax.numpy as jnp


def main() -> None:
    """Computes with JAX, then trains the smallest models for one epoch."""
    computed = float(jnp.ones(3).sum())
    # Imported as a cell further down a notebook imports it.
    from experiments.mnist_rows import MnistRows, Options
    from rowrnn import lab
    from rowrnn.lab.experiment.options import with_values

    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        small = {"models": ("gru",), "hidden": 4, "epochs": 1, "seeds": 1, "train_images": 64}
        options = with_values(Options(), output=Path(folder) / "run", **small)
        with contextlib.redirect_stderr(said):
            lab.run_study(MnistRows, options)
        files = sorted(path.name for path in (Path(folder) / "run").iterdir())
    print(json.dumps({"computed": computed, "files": files, "said": said.getvalue()}))


if __name__ == "__main__":
    main()
