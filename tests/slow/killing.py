"""Runs of the main experiment that are killed again and again, and what they must come to.

python -m tests.slow.killing --kills 200    twenty minutes: `make soak`
"""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.progress import track

from tests.helpers import ROOT

SCRIPT = ROOT / "experiments" / "mnist_rows.py"
# Saved after every chunk of steps, so that many a kill comes while a checkpoint is written.
OPTIONS = "--models gru --hidden 8 --train-images 2000 --batch 16 --seeds 2 --epochs 48 --save-every 0.001 --no-quick"

LOG, EPOCH = "log.txt", "  loss "
# A kill comes after so many epochs at most and a part of the next ones: ten of them before a run is done.
EPOCHS, SECONDS = 3, 0.1
STARTING = 3.0  # seconds; but for one in ten, that comes before the training


@dataclasses.dataclass(frozen=True)
class Options:
    """Kills a run at random moments, resumes it as often, and compares it with one that was left alone."""

    kills: int = 200
    """How often."""
    seed: int = 0
    """Seed of the moments."""


def start(folder: Path, *arguments: Any) -> subprocess.Popen:
    """The main experiment as a process; what it compiles is kept, so that kills come in training more than before."""
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(SCRIPT.parents[1]),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def finish(folder: Path, *arguments: Any) -> None:
    """A run that must end well."""
    if code := start(folder, *arguments).wait(timeout=600):
        raise RuntimeError(f"Ended with code {code}.\n{(folder / LOG).read_text()}")


def outcome(run: Path) -> dict[str, Any]:
    """Everything of a run that does not depend on the time it took: curves, accuracies, arrays and weights."""
    results = json.loads((run / "results.json").read_text())
    curves = {
        f"{model}/{name}": values
        for model, curve in results["curves"].items()
        for name, values in curve.items()
        if name != "seconds"
    }
    tested = {row["model"]: [row["test_accuracy"], row["validation_accuracy"]] for row in results["summary"]}
    with np.load(run / "arrays.npz") as arrays:
        digests = {name: array.tobytes() for name, array in arrays.items()}
    weights = {path.name: path.read_bytes() for path in (run / "models").glob("*.safetensors")}
    return {**curves, **tested, **digests, **weights}


def killed(folder: Path, kills: int, seed: int, show: bool = False) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What a run that was left alone came to, what one that was killed came to, and what each kill left behind.

    The third names the newest checkpoint behind every kill: as many as were asked for, or as the run lasted.
    """
    finish(folder, *OPTIONS.split(), "--output", folder / "whole")
    moments, cut, left = random.Random(seed), folder / "cut", []
    for _ in track(range(kills), "kills", disable=not show):
        process = start(folder, *going_on(cut))
        early, epochs = moments.random() < 0.1, moments.randint(0, EPOCHS)
        while process.poll() is None and not early and (folder / LOG).read_text().count(EPOCH) < epochs:
            time.sleep(0.005)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moments.uniform(0, STARTING if early else SECONDS))
        process.kill()
        if process.wait() not in (0, -signal.SIGKILL):
            raise RuntimeError((folder / LOG).read_text())
        if process.returncode == 0 or finished(cut):
            break  # It was done before it could be killed.
        left.append(max((path.name for path in cut.glob("checkpoints/*/0*")), default=""))
    if not finished(cut):
        finish(folder, *going_on(cut))
    return outcome(folder / "whole"), outcome(cut), left


def going_on(run: Path) -> tuple[Any, ...]:
    """What to start a run with that was killed, or not begun yet."""
    if (run / "results.json").exists():
        return "--resume", run
    shutil.rmtree(run, ignore_errors=True)  # killed before it had its record
    return *OPTIONS.split(), "--output", run


def finished(run: Path) -> bool:
    """Whether a run is done, whatever it still draws."""
    record = run / "results.json"
    return record.exists() and json.loads(record.read_text())["finished"]


def main(options: Options) -> None:
    """Kills runs until there were so many kills."""
    done, seed = 0, options.seed
    while done < options.kills:
        with tempfile.TemporaryDirectory() as folder:
            whole, cut, left = killed(Path(folder), options.kills - done, seed, show=True)
        if whole != cut:
            raise SystemExit(f"Seed {seed}: a killed run came to something else: {differences(whole, cut)}")
        done, seed = done + len(left), seed + 1
        behind = ", ".join(name or "none" for name in left)
        print(f"{len(left)} kills, newest checkpoints behind them: {behind}. The same in the end, bit by bit.")


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of what differs."""
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


if __name__ == "__main__":
    main(tyro.cli(Options))
