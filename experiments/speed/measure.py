"""One measurement, in a process of its own: prints a line of JSON. `bench.py` starts these.

Threads and XLA's flags belong to a process, and so does its peak memory.
"""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any, NamedTuple

from src import environment

BATCHES = {"alexnet": 32}  # Images per step; all other nets have 128.
LEAST_ROUNDS, ROUNDS_SECONDS = 3, 8.0  # So that a network is timed in about a minute.
LONG_STEP = 30.0  # GFLOP; from here on a scan of two steps is as fast as one of ten.
MATRIX = 2048  # Rows and columns of the matrices whose product shows the machine's speed.
# By default XLA convolves in one thread on a CPU. This flag selects Eigen's threaded kernels, whose
# last bits differ.
FUSION_FLAG = "xla_cpu_experimental_ynn_fusion_type"


class Net(NamedTuple):
    """What is timed: `vgg11_cifar` as defined, or `vgg11_cifar@0.125` an eighth as wide."""

    name: str
    width: float
    batch: int
    size: int

    @classmethod
    def parse(cls, text: str) -> "Net":
        """Reads `NAME` or `NAME@WIDTH` from the command line."""
        from src import models  # noqa: PLC0415

        name, _, width = text.partition("@")
        return cls(name, float(width or 1), BATCHES.get(name, 128), models.image_size(name))

    def options(self) -> dict[str, Any]:
        """Options for `models.make_model`; most nets have no width."""
        return {} if self.width == 1 else {"width": self.width}

    def gflop(self) -> float:
        """GFLOP of a training step, counting the products of convolutions and dense layers alone.

        Each is done once forward and twice backward; the first layer needs no gradient of its
        input, so its product is done once backward.
        """
        from src import models  # noqa: PLC0415
        from src.models.summary import summarize  # noqa: PLC0415

        model = models.make_model(
            self.name, activation="relu", init_scheme="modern", num_classes=10, **self.options()
        )
        layers = [layer.multiply_adds for layer in summarize(model, self.size)]
        first = next(count for count in layers if count)
        return 2e-9 * self.batch * (3 * sum(layers) - first)

    def at_once(self) -> int:
        """Number of steps in a scan."""
        return 2 if self.gflop() > LONG_STEP else 10


def main(what: str, name: str, threads: str, rounds: str, spread: str) -> None:
    """Sets up threads, measures and prints the result.

    Args:
        what: Name of a measurement, see `MEASUREMENTS`.
        name: Name of a net, see `Net.parse`.
        threads: Number of threads.
        rounds: Number of rounds; each times everything that is compared once.
        spread: `threads` for one device with all threads, `devices` for one device per thread.
    """
    environment.configure_jax()
    if threads == "1" or spread == "devices":
        environment.use_one_thread()
    else:
        convolve_on_all_threads()
    if spread == "devices":
        os.environ["JAX_NUM_CPU_DEVICES"] = threads
    print(json.dumps(MEASUREMENTS[what](name, int(threads), int(rounds))))


def convolve_on_all_threads() -> None:
    """Lets XLA convolve on all threads; call it before JAX starts.

    Studies do not do this: a study that goes on with another number of workers must give the same
    numbers.
    """
    os.environ.pop(environment.THREADS, None)
    flags = os.environ.get("XLA_FLAGS", "")
    if FUSION_FLAG not in flags and environment.xla_knows(FUSION_FLAG):
        os.environ["XLA_FLAGS"] = f"{flags} --{FUSION_FLAG}=-individual_convolution".strip()


def compare(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per training step: ours in a scan and singly, PyTorch's eager and compiled."""
    count = Net.parse(name).at_once()
    ours, facts = make_ours(name, count)
    steps = {"scan": ours, "loop": make_ours(name, 1)[0]}
    if util.find_spec("torch"):
        for key, compiled in (("torch", False), ("torch_compiled", True)):
            try:
                steps[key] = make_torch(name, threads, compiled=compiled)
            except Exception as error:  # For example, there is no C++ compiler.
                facts[f"{key}_missing"] = type(error).__name__
    return {"milliseconds": interleave(steps, rounds, count), **facts}


def compare_eager(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per training step: ours in a scan, PyTorch's eager; and the machine's load."""
    net, before = Net.parse(name), os.getloadavg()[0]
    count = net.at_once()
    ours, facts = make_ours(name, count)
    steps = {"scan": ours}
    if util.find_spec("torch"):
        steps["torch"] = make_torch(name, threads, compiled=False)
    facts |= {"gflop": net.gflop(), "peak_gflops": matmul_gflops()}
    found = interleave(steps, rounds, count, ROUNDS_SECONDS)
    return {"milliseconds": found, **facts, "load": [before, os.getloadavg()[0]]}


def matmul_gflops() -> float:
    """GFLOP per second of a float32 matrix product on one device, the best of ten."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    matrix, product = jnp.ones((MATRIX, MATRIX)), jax.jit(jnp.matmul)
    seconds = []
    for _ in range(11):
        start = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        seconds.append(time.perf_counter() - start)
    return 2e-9 * MATRIX**3 / min(seconds[1:])


def alone(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per step beside other processes; a line of input tells all of them to begin."""
    del threads
    step = make_ours(name, 10)[0]
    print("ready", flush=True)
    sys.stdin.readline()
    return {"milliseconds": interleave({"scan": step}, rounds, 10)}


def memory(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Peak memory of a process that only trains, in MB; `name` is `ours:NET` or `torch:NET`."""
    framework, net = name.split(":")
    if framework == "torch" and not util.find_spec("torch"):
        return {}
    step = (
        make_torch(net, threads, compiled=False) if framework == "torch" else make_ours(net, 1)[0]
    )
    for _ in range(rounds):
        step(1)
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def evaluate(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds to classify 10,000 images, to save a checkpoint, and to record a point."""
    del threads
    import tempfile  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    from src.records.trial import Identity  # noqa: PLC0415
    from src.training import checkpoints  # noqa: PLC0415

    of = Identity("speed", name, "", "")
    program = make_program(name, images=10_000)
    state = program.start(0)
    with tempfile.TemporaryDirectory() as folder:
        arrays = {"state": state, "wrong": np.zeros(391, np.int32), "loss": np.zeros(391)}
        calls = {
            "evaluate": lambda: program.error(state.variables, "test"),
            "save": lambda: checkpoints.save(Path(folder), 1, arrays, {}, of),
        }
        found = interleave({key: lambda n, fn=fn: fn() for key, fn in calls.items()}, rounds, 1)
    return {"seconds": {key: min(times) / 1000 for key, times in found.items()}}


def recording(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per step with and without the online error.

    Without it the step returns its state alone, so the compiler leaves out what nobody reads.
    """
    del threads
    import jax  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    from src.training import step as train_step  # noqa: PLC0415

    program = make_program(name)
    train_steps = train_step.make_train_steps(program._apply, program.make_optimizer, None)
    place = program._place
    indices = train_step.split_batches(
        np.zeros((10, program.settings.batch_size), np.int32), program.devices
    )
    rest = (place(np.float32(1e-3)), place(jax.random.key(0)), program.data["train"])
    state = place(program.start(0))

    def make_step(keep: Callable[[Any], Any]) -> Callable[[int], None]:
        step_fn = train_step.across_devices(
            lambda *arguments: keep(train_steps(*arguments)),
            "pmap",
            5,
            donate_state=False,
            devices=program.devices,
        )
        return lambda n: jax.block_until_ready(step_fn(state, indices, *rest))

    steps = {
        "with": make_step(lambda result: result),
        "without": make_step(lambda result: result[0]),
    }
    return {"milliseconds": interleave(steps, rounds, 10)}


def together(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per step of one trial: two trials in one program against one alone."""
    del threads
    steps = {"together": step_together(make_program(name), 2, 10), "alone": make_ours(name, 10)[0]}
    found = interleave(steps, rounds, 10)
    return {"milliseconds": {**found, "together": [ms / 2 for ms in found["together"]]}}


def step_together(program: Any, trials: int, steps: int) -> Callable[[int], None]:
    """`step(n)`, which trains so many trials in one program for `steps` steps, whatever n is."""
    import numpy as np  # noqa: PLC0415

    step_fn = program.prepare_together(range(trials), [1e-3] * trials, steps)
    states = [program.start(seed) for seed in range(trials)]
    rows = np.random.default_rng(0).integers(
        0, program.num_images, (trials, steps, program.settings.batch_size), np.int32
    )

    def step(count: int) -> None:
        nonlocal states
        del count
        states, _ = step_fn(states, list(rows), [1.0] * trials)

    return step


def in_parts(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per step by the number of images in a micro-batch."""
    del threads
    from src.training import microbatches  # noqa: PLC0415

    steps = {}
    for images in (8, 16, 32, BATCHES.get(name, 128)):
        microbatches.IMAGES_IN_CACHE = images  # Read while the step is made.
        steps[str(images)] = make_ours(name, 2)[0]
    return {"milliseconds": interleave(steps, rounds, 2)}


MEASUREMENTS = {
    fn.__name__: fn
    for fn in (compare, compare_eager, alone, memory, evaluate, recording, together, in_parts)
}


def make_program(text: str, images: int = 1000) -> Any:
    """The trainer's own compiled functions for this net, on random images."""
    import numpy as np  # noqa: PLC0415

    from configs import base  # noqa: PLC0415
    from src.config.config import Config  # noqa: PLC0415
    from src.data import Dataset, Split  # noqa: PLC0415
    from src.training.program import Program  # noqa: PLC0415

    net, config = Net.parse(text), base.get_config()
    config.batch_size = net.batch
    config.model.update(name=net.name, **net.options())
    rng = np.random.default_rng(0)
    if net.name in BATCHES:
        images = 2 * net.batch
    shape = (images, net.size, net.size, 3)
    split = Split(rng.integers(0, 256, shape, np.uint8), rng.integers(0, 10, images, np.int32))
    dataset = Dataset("random", split, split, 10, tuple("abcdefghij"), "")
    return Program(Config.read(config.to_dict()).arms[0].settings, dataset)


def make_ours(name: str, steps: int) -> tuple[Callable[[int], None], dict[str, Any]]:
    """`step(n)`, which trains n steps in scans of `steps`; and how long it took to compile."""
    import numpy as np  # noqa: PLC0415

    program = make_program(name)
    start = time.perf_counter()
    step_fn = program.prepare(0, 1e-3, steps)
    facts = {"compile_seconds": time.perf_counter() - start}
    state = program.start(0)
    shape = (steps, program.settings.batch_size)
    batch = np.random.default_rng(0).integers(0, program.num_images, shape, np.int32)

    def step(count: int) -> None:
        nonlocal state
        for _ in range(max(1, count // steps)):
            state, _ = step_fn(state, lambda _: iter([batch]))

    return step, facts


def make_torch(name: str, threads: int, *, compiled: bool) -> Callable[[int], None]:
    """`step(n)`, which trains n steps with PyTorch; it is compiled here, not when first timed."""
    from experiments.speed import torch_nets  # noqa: PLC0415

    torch_step = torch_nets.make_step(*Net.parse(name), threads, compiled=compiled)
    torch_step()

    def step(count: int) -> None:
        for _ in range(count):
            torch_step().item()

    return step


def interleave(
    steps: dict[str, Callable[[int], Any]], rounds: int, count: int, seconds: float = math.inf
) -> dict[str, list[float]]:
    """Milliseconds per step of each, measured in turn, after a first round that is not counted.

    Args:
        steps: Name -> what trains so many steps.
        rounds: Number of rounds at most.
        count: Number of steps of each in a round.
        seconds: Once they have passed no round is begun, but three are measured all the same.
    """
    found: dict[str, list[float]] = {key: [] for key in steps}
    begun = time.perf_counter()
    for turn in range(rounds + 1):
        if turn > LEAST_ROUNDS and time.perf_counter() - begun > seconds:
            break
        for key, step in steps.items():
            start = time.perf_counter()
            step(count)
            if turn:
                found[key].append(1000 * (time.perf_counter() - start) / count)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
