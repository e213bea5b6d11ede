"""Runs of the main experiment that are killed again and again, and what they must come to.

python tests/faults/killing.py --kills 200    twenty minutes: `make soak`
"""

import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.progress import track

SCRIPT = Path(__file__).parents[2] / "experiments" / "mnist_rows.py"
# Saved after every chunk of steps, so that many a kill comes while a checkpoint is written.
OPTIONS = "--models gru --hidden 8 --train-images 2000 --batch 16 --seeds 2 --epochs 60 --save-every 0.001 --no-quick"

LOG, TRAINING = "log.txt", "  loss "


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
    if not results["finished"] or (run / "checkpoints").exists():
        raise RuntimeError(f"The run in {run} is not finished.")
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
    """What a run that was left alone came to, what one that was killed so often, and what each kill left behind.

    The third names the newest checkpoint behind every kill.
    """
    finish(folder, *OPTIONS.split(), "--output", folder / "whole")
    moments, cut, left = random.Random(seed), folder / "cut", []
    for _ in track(range(kills), "kills", disable=not show):
        begun = (cut / "results.json").exists()
        process = start(folder, *(("--resume", cut) if begun else (*OPTIONS.split(), "--output", cut)))
        early, moment = moments.random() < 0.1, moments.uniform(0, 1)
        while process.poll() is None and not early and TRAINING not in (folder / LOG).read_text():
            time.sleep(0.01)
        try:
            if process.wait(timeout=moment) != 0:
                raise RuntimeError((folder / LOG).read_text())
            break  # It was done before it could be killed.
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        left.append(max((path.name for path in cut.glob("checkpoints/*/0*")), default="none"))
    if not json.loads((cut / "results.json").read_text())["finished"]:
        finish(folder, "--resume", cut)
    return outcome(folder / "whole"), outcome(cut), left


def main(options: Options) -> None:
    """Kills runs until there were so many kills."""
    done, seed = 0, options.seed
    while done < options.kills:
        with tempfile.TemporaryDirectory() as folder:
            whole, cut, left = killed(Path(folder), options.kills - done, seed, show=True)
        if whole != cut:
            raise SystemExit(f"Seed {seed}: a killed run came to something else: {differences(whole, cut)}")
        done, seed = done + len(left), seed + 1
        print(f"{len(left)} kills, newest checkpoints behind them: {', '.join(left)}. The same in the end, bit by bit.")


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of what differs."""
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


if __name__ == "__main__":
    main(tyro.cli(Options))
