"""A recurrent layer with a linear head in torch, ready to be timed."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from layers import CLASSES, DROPPED, LEARNING_RATE, Case, Variant

# torch unrolls a recurrence to compile it, which takes minutes for more steps.
COMPILED_STEPS = 28


def torch_variants(case: Case) -> Iterator[Variant]:
    """Yields `torch.nn.LSTM`, `torch.nn.GRU` or `torch.nn.RNN`, on a GPU if there is one.

    Eager and, where that works, compiled with `torch.compile` on a CPU, or replayed as a CUDA graph on a GPU.
    """
    import torch

    torch._dynamo.reset()
    torch._dynamo.config.allow_rnn = True
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    place: dict[str, Any] = {"device": "cuda" if on_gpu else "cpu", "dtype": getattr(torch, case.dtype)}
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[case.cell]
    of_form: dict[str, dict[str, Any]] = {
        "both directions": {"bidirectional": True},
        "two layers": {"num_layers": 2, "dropout": DROPPED},
        "projection": {"proj_size": case.hidden // 2},
    }
    layer = kind(case.d, case.hidden, batch_first=True, **of_form.get(case.form, {}), **place)
    layer.train(case.mode == "train")
    wide = {"both directions": 2 * case.hidden, "projection": case.hidden // 2}.get(case.form, case.hidden)
    head = torch.nn.Linear(wide, CLASSES, **place)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True, capturable=on_gpu)
    x = torch.randn(case.batch, case.t, case.d, **place)
    labels = torch.randint(0, CLASSES, (case.batch,), device=place["device"])

    lengths = torch.from_numpy(case.lengths()) if case.form == "lengths" else None

    def outputs() -> Any:
        if lengths is None:
            return layer(x)[0]
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=case.t)[0]

    def loss() -> Any:
        return torch.nn.functional.cross_entropy(head(outputs()[:, -1]), labels)

    def stepper(call: Callable[[], Any]) -> Callable[[], Any]:
        def train() -> None:
            optimizer.zero_grad()
            call().backward()
            optimizer.step()

        return train if case.mode == "train" else torch.inference_mode()(call)

    def runner(step: Callable[[], Any]) -> Callable[[int], None]:
        def run(steps: int) -> None:
            for _ in range(steps):
                step()
            if on_gpu:
                torch.cuda.synchronize()

        return run

    def graph() -> Callable[[], Any]:
        step, aside = stepper(computed), torch.cuda.Stream()
        with torch.cuda.stream(aside):  # What is captured must have run on another stream before.
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            step()
        return captured.replay

    computed = loss if case.mode == "train" else outputs
    yield Variant("eager", runner(stepper(computed)))
    if case.t > COMPILED_STEPS and not on_gpu:
        return
    name, make = ("CUDA graph", graph) if on_gpu else ("compiled", lambda: stepper(torch.compile(computed)))
    started = time.perf_counter()
    try:
        compiled = runner(make())
        compiled(1)
    except Exception as error:  # Any kind: the compiler cannot train an LSTM, for example.
        print(f"torch, {name}, of {case}: {type(error).__name__}", file=sys.stderr)
    else:
        yield Variant(name, compiled, time.perf_counter() - started)
