"""Times training steps on a GPU against PyTorch, and trials in one program against one by one.

    python -m experiments.speed.accelerator [NET ...]

Writes accelerator.json beside this file and its tables in README.md, of these networks alone.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from experiments.speed import bench, measure, tables
from src import environment
from src.records import provenance
from src.reports import readme

HERE = Path(__file__).parent
RECORD = HERE / "accelerator.json"
NETS = ("conv3", "alexnet_cifar", "alexnet")
SEVERAL = ("conv3", "alexnet_cifar@0.125")
TOGETHER = (2, 4, 8, 16)
STEPS, ROUNDS = 100, 7
WAYS = {
    "torch": {"compiled": False},
    "torch_compiled": {"compiled": True},
    "torch_graphs": {"compiled": True, "mode": "reduce-overhead"},
}


def main(arguments: list[str]) -> int:
    """Measures the named networks, or those of `NETS` and `SEVERAL`; writes and prints.

    Returns:
        The exit code.
    """
    known = {net.partition("@")[0] for net in bench.NETWORKS}
    if unknown := {net.partition("@")[0] for net in arguments} - known:
        print(f"{min(unknown)} is not timed; known: {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    environment.configure_jax()
    environment.share_accelerator()  # PyTorch needs memory beside JAX.
    environment.start_jax()
    import jax  # noqa: PLC0415

    if jax.default_backend() == "cpu":
        print("There is no accelerator here: `make bench` times CPUs.", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"provenance": provenance.provenance(), "steps": {}, "together": {}}
    for net in arguments or NETS:
        found["steps"][net] = compare(net)
        print(net, json.dumps(found["steps"][net]), flush=True)
    for net in arguments or SEVERAL:
        found["together"][net] = together(net)
        print(net, json.dumps(found["together"][net]), flush=True)
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
    readme.fill(HERE / "README.md", "accelerator", tables.accelerator(found))
    return 0


def compare(name: str) -> dict[str, Any]:
    """Milliseconds per step: ours in a scan, PyTorch's eager, compiled, and with CUDA graphs."""
    ours, facts = measure.make_ours(name, STEPS)
    steps: dict[str, Callable[[int], Any]] = {"scan": ours}
    if util.find_spec("torch"):
        for key, how in WAYS.items():
            try:
                steps[key] = make_torch(name, how)
            except Exception as error:  # For example, there is no C++ compiler.
                facts[f"{key}_missing"] = type(error).__name__
    milliseconds = measure.interleave(steps, ROUNDS, STEPS)
    return {"milliseconds": milliseconds, "gflop": measure.Net.parse(name).gflop(), **facts}


def make_torch(name: str, how: dict[str, Any]) -> Callable[[int], None]:
    """`step(n)`, which trains n steps on the GPU and waits for the last; TensorFloat-32 as ours."""
    import torch  # noqa: PLC0415

    from experiments.speed import torch_nets  # noqa: PLC0415

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    threads = len(os.sched_getaffinity(0))
    torch_step = torch_nets.make_step(*measure.Net.parse(name), threads, device="cuda", **how)
    for _ in range(3):  # It is compiled, and its graph is recorded, here.
        torch_step()

    def step(count: int) -> None:
        for _ in range(count):
            torch_step()
        torch.cuda.synchronize()

    return step


def together(name: str) -> dict[str, Any]:
    """Milliseconds per step of one trial, by the number of trials in one program."""
    program = measure.make_program(name)
    steps = {"1": measure.make_ours(name, STEPS)[0]}
    seconds = {}
    for count in TOGETHER:
        start = time.perf_counter()
        steps[str(count)] = measure.step_together(program, count, STEPS)
        seconds[str(count)] = time.perf_counter() - start
    found = measure.interleave(steps, ROUNDS, STEPS)
    each = {count: [ms / int(count) for ms in times] for count, times in found.items()}
    return {"milliseconds": each, "compile_seconds": seconds}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
