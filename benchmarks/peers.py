"""Contenders of the benchmarks, each in its own process.

Run as a program, this module is the process of one contender. It reads messages as lines of JSON from standard input: a
case to prepare, or the number of steps to time. `Contender` starts the process and sends the messages.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import floors
import jax_layers
import layers
from layers import Case, Variant

CONTENDERS = (
    *("rowrnn", "persistent", "checkpoints", "floor"),
    *("torch", "flax nnx", "flax linen", "keras", "lax.scan", "cudnn"),
)


class Contender:
    """A contender in its own process, so that thread pools and allocators do not disturb each other.

    Args:
        name: one of `CONTENDERS`.
        threads: number of threads.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        # Threads that spin while they wait would slow down the contender that is timed next. torch keeps them: it is
        # faster with them, and they sleep before the next contender starts.
        waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"} if name != "torch" else {}
        waiting["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # Contenders share the memory of a GPU.
        environment = {**os.environ, **waiting, "OMP_NUM_THREADS": str(threads), "KERAS_BACKEND": "jax"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **message: Any) -> Any:
        """Sends a message to the process and returns its answer, see `serve`.

        Raises:
            RuntimeError: if the process has ended.
        """
        self.tell(**message)
        return self.hear()

    def tell(self, **message: Any) -> None:
        """Sends a message to the process, whose answer `hear` returns."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Returns the answer to the last message.

        Raises:
            RuntimeError: if the process has ended.
        """
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"The process of {self.name} ended with code {self.process.wait()}; see its error above."
            )
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.kill()
        self.process.wait()


def serve(variants_of: Callable[[Case], Iterable[Variant]], answers: Any) -> None:
    """Answers messages from standard input until it ends.

    A message `{"prepare": case}` is answered with name, compile time and memory of each variant, or with the error that
    preparing them raised, as text; and a message `{"variant": name, "steps": number}` with the seconds and page faults
    of these steps.

    Args:
        variants_of: function that returns the variants of a case.
        answers: file to which answers are written.
    """
    variants: dict[str, Variant] = {}
    for line in sys.stdin:
        message = json.loads(line)
        if "prepare" in message:
            variants.clear()
            try:
                variants.update({variant.name: variant for variant in variants_of(Case(**message["prepare"]))})
                answer: Any = [[v.name, v.compile_seconds, v.memory_mib] for v in variants.values()]
            except Exception as error:  # What cannot be compiled here is a result; the other contenders go on.
                answer = f"{type(error).__name__}: {error}"
        else:
            run, steps = variants[message["variant"]].run, message["steps"]
            # The contender timed before may still have spinning threads, and this process has cold threads and caches.
            time.sleep(0.02)
            run(1)
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            started = time.perf_counter()
            run(steps)
            seconds = time.perf_counter() - started
            answer = seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(json.dumps(answer), file=answers, flush=True)


def main(name: str, threads: int) -> None:
    """Serves one contender with this number of threads."""
    # What libraries print goes to standard error, so that it does not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if name == "torch":
        import torch
        from torch_layers import torch_variants

        torch.set_num_threads(threads)
        return serve(torch_variants, answers)
    import jax

    # On a CPU rowrnn uses all cores on one device; the others may shard the batch.
    jax.config.update("jax_num_cpu_devices", 1 if name in ("rowrnn", "checkpoints") else threads)
    devices = min(threads, jax.device_count())
    # All cores, and the most of them that divide a batch of a power of two.
    meshes = tuple(sorted({1, 1 << (devices.bit_length() - 1), devices}))
    if name == "floor":
        return serve(lambda case: floors.floor_variants(case, meshes), answers)
    takes_all = name not in ("cudnn", "persistent")

    def variants(case: Case) -> Iterable[Variant]:
        if not takes_all and not jax_layers.is_computed(case, name):
            return
        for how, layer in jax_layers.WAYS[name].items():
            yield from layers.jax_variants(case, layer, meshes, how)

    return serve(variants, answers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    main(given.name, given.threads)
