"""Do several processes train what one trains?

The main job, tiny, as one process and as several on this machine, which talk over gloo as machines of a cluster would.
A table tells how far their losses and weights lie apart. Two cores are shared by all of them: seconds say nothing here.

    python -m tests.slow.cluster            two minutes: `make cluster-demo`
    python -m tests.slow.cluster --quick    half a minute: one and two processes
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from rowrnn.errors import InputError
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.report.tables import plain_table
from rowrnn.lab.report.terminal import terminal
from tests.helpers import ROOT

EXPERIMENT = ROOT / "experiments" / "mnist_rows.py"
# 50 steps of each model; one seed is shared by the processes, batch by batch.
TRAINING = "--params 10000 --train-images 1600 --batch 32 --epochs 1 --seeds 1 --dropout 0 --shift 0"


@dataclass(frozen=True)
class Options:
    """Trains in one process and in several, and compares."""

    processes: tuple[int, ...] = (1, 2, 4)
    """Numbers of processes; the others are compared with the first."""
    models: tuple[str, ...] = ("gru", "cnn")
    """Models to train, as the main job names them."""


PRESETS = {"quick": {"processes": (1, 2), "models": ("gru",)}}


def main(options: Options, _: dict[str, bool]) -> None:
    """Trains in turn and prints the table."""
    if not options.processes or min(options.processes) < 1:
        raise InputError(f"--processes is {options.processes}; expected numbers of at least 1.")
    table = [["processes", "model", "loss", "loss apart", "weights apart"]]
    with tempfile.TemporaryDirectory() as folder:
        trained = {n: train(n, options.models, Path(folder) / str(n)) for n in options.processes}
    first = trained[options.processes[0]]
    for n, models in trained.items():
        for name, (loss, weights) in models.items():
            loss_apart = abs(loss - first[name][0])
            apart = max(float(np.abs(weights[key] - first[name][1][key]).max()) for key in weights)
            table.append([str(n), name, f"{loss:.6f}", f"{loss_apart:.1e}", f"{apart:.1e}"])
    terminal().print(plain_table(table))


def train(processes: int, models: tuple[str, ...], output: Path) -> dict[str, tuple[float, dict[str, np.ndarray]]]:
    """Loss and weights of each model, trained by so many processes."""
    finish(start(processes, "--models", *models, *TRAINING.split(), "--output", str(output)))
    return outcome(output)


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Waits for processes that must end well."""
    for process in processes:
        output, errors = process.communicate(timeout=600)
        if process.returncode != 0:
            raise RuntimeError(f"A process ended with code {process.returncode}.\n{output}\n{errors}")


def outcome(run: Path) -> dict[str, tuple[float, dict[str, np.ndarray]]]:
    """Last loss and weights of each model of a run."""
    results = json.loads((run / "results.json").read_text())
    return {
        title: (curve["loss"][-1][0], load_file(run / "models" / f"{title.lower().replace(' ', '_')}.safetensors"))
        for title, curve in results["curves"].items()
    }


def start(processes: int, *arguments: str, of_each: tuple[str, ...] = ()) -> list[subprocess.Popen[str]]:
    """The main job as several processes with a device each, or as one; `of_each` is a last argument of each."""
    environment: dict[str, Any] = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    coordinator = f"localhost:{free_port()}"
    started = []
    for process in range(processes):
        told = ("--coordinator", coordinator, "--processes", str(processes), "--process", str(process))
        own = of_each[process : process + 1]
        command = [sys.executable, str(EXPERIMENT), *arguments, *(told if processes > 1 else ()), *own]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
    return started


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
