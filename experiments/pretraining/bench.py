"""Measures the cost of a step of pre-training against a supervised one, and against multiply-adds.

    python -m experiments.pretraining.bench [ROUNDS]

For each method and each convolution of conv3, and for all three: the processor time of a step of
128 images on one core, as a share of conv3's supervised step; what the multiply-adds of both say;
and the ratio of the two. What it would be if nothing but these multiply-adds took time, at the
speed of the core's products of large matrices, is the same in every layer. The five convolutions of
conv1's step are timed alone too, ours and PyTorch's. Processor time, so that others at work on the
machine count for little; steps of all kinds take turns. Writes step.json beside this file and the
table of README.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from experiments.speed.measure import make_program
from src import environment, wording
from src.records import provenance
from src.reports import readme

HERE = Path(__file__).parent
STEPS = 4
BATCH = 128
SIDE = 512  # Of the matrices.
LAYERS = ("conv1", "conv2", "conv3")
ALONE = {"ours": "its five convolutions alone", "torch": "the same in PyTorch"}
KINDS = (
    ("conv_autoencoder", "relu"),
    ("conv_rbm", "relu"),
    ("conv_rbm", "tanh"),
    ("conv_rbm", "sigmoid"),
)


def main(rounds: int) -> None:
    """Measures, writes, prints."""
    environment.configure_jax()
    environment.use_one_thread()
    record = {**measure(rounds), "provenance": provenance.provenance()}
    (HERE / "step.json").write_text(json.dumps(record, indent=1) + "\n")
    readme.fill(HERE / "README.md", "step", render(record))
    print(render(record))


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds of every kind of step, and multiply-adds by those of the supervised one."""
    from src.models.summary import summarize  # noqa: PLC0415

    program = make_program("conv3")
    adds = {layer.name: layer.multiply_adds for layer in summarize(program.model, 32)}
    forward = [count for count in adds.values() if count]
    whole = 3 * sum(forward) - forward[0]
    steps = {"supervised": supervised(program), "product": product()}
    # It has five convolutions of its own, and one forward pass of each layer below.
    counts = {layer: 5 * adds[layer] + sum(forward[:number]) for number, layer in enumerate(LAYERS)}
    for method, activation in KINDS:
        for number, layer in enumerate(LAYERS):
            steps[f"{method}, {activation}, {layer}"] = pretraining(
                program, method, activation, number
            )
    steps["ours, conv1"] = convolutions()
    if util.find_spec("torch"):
        steps["torch, conv1"] = torch_convolutions()
    return {
        "milliseconds": interleave(steps, rounds),
        "by_multiply_adds": {layer: count / whole for layer, count in counts.items()},
        "products_of_supervised": BATCH * whole / SIDE**3,
    }


def render(record: dict[str, Any]) -> str:
    """A row for each layer of each kind, and one for all three layers."""
    facts, times = record["provenance"], record["milliseconds"]
    base = statistics.median(times["supervised"])
    layers = record["by_multiply_adds"]
    work = {**layers, "all three": sum(layers.values())}
    least = record["products_of_supervised"] * statistics.median(times["product"]) / base
    header = ("trained as", "layer", "ms", "of the supervised step", "by multiply-adds", "ratio")
    found: dict[tuple[str, str], float] = {}
    for method, activation in KINDS:
        kind = f"{method}, {activation}"
        medians = [statistics.median(times[f"{kind}, {layer}"]) for layer in LAYERS]
        found |= {(kind, layer): taken for layer, taken in zip(LAYERS, medians, strict=True)}
        found[kind, "all three"] = sum(medians)
    for whose, words in ALONE.items():
        if f"{whose}, conv1" in times:
            found[words, "conv1"] = statistics.median(times[f"{whose}, conv1"])
    rows = []
    for (kind, layer), taken in found.items():
        share = taken / base
        numbers = (share, work[layer], share / work[layer])
        rows.append((kind, layer, f"{taken:.0f}", *(f"{x:.2f}" for x in numbers)))
    return (
        f"conv3's supervised step: {base:.0f} ms of one core. {facts['device']};"
        f" jax {facts['jax_version']}, commit {facts['commit']}; medians of"
        f" {len(times['supervised'])} rounds. If all multiply-adds ran like those of a product of"
        f" matrices, every ratio would be {least:.2f}.\n\n{wording.table(header, rows)}"
    )


def supervised(program: Any) -> Callable[[], Any]:
    """Some steps of the classifier."""
    import jax  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    step_fn = program.prepare(0, 1e-4, STEPS)
    rows = np.zeros((STEPS, program.settings.batch_size), np.int32)
    state = jax.device_get(program.start(0))
    return lambda: step_fn(state, lambda steps: iter([rows[:steps]]))


def product() -> Callable[[], Any]:
    """As many products of two large matrices."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    matrix = jnp.ones((SIDE, SIDE), jnp.float32)
    multiply = jax.jit(jnp.matmul)

    def step() -> Any:
        return jax.block_until_ready([multiply(matrix, matrix) for _ in range(STEPS)])

    return step


def pretraining(program: Any, method: str, activation: str, number: int) -> Callable[[], Any]:
    """The same number of steps of a layer's pre-training."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    trainer = make_trainer(program, method, activation, number)
    draw, key = trainer._draw(0, STEPS), trainer._place(jax.random.key(0))
    rate = trainer._place(jnp.float32(1e-4))

    def step() -> Any:
        state = trainer._place(trainer.start())
        return jax.block_until_ready(trainer._steps(state, draw, rate, key, trainer._data))

    return step


def make_trainer(program: Any, method: str, activation: str, number: int) -> Any:
    """Makes the trainer of a layer of conv3."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    from src.models import make_model  # noqa: PLC0415
    from src.pretraining.layers import find_layers  # noqa: PLC0415
    from src.pretraining.settings import Pretraining  # noqa: PLC0415
    from src.pretraining.source import Source  # noqa: PLC0415
    from src.pretraining.stack import LayerTrainer  # noqa: PLC0415

    model = make_model("conv3", activation=activation, init_scheme="modern", num_classes=10)
    params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    images = program.source.unlabelled.images
    source = Source(
        model, activation, lambda seed: params, images, images[:100], *program.scaling,
        program.devices,
    )  # fmt: skip
    layer = find_layers(model, (32, 32, 3))[number]
    return LayerTrainer(source, Pretraining(method=method), 0, layer, params)  # type: ignore[arg-type]


def convolutions() -> Callable[[], Any]:
    """The five convolutions of each of those steps of conv1, and nothing else.

    They are the passes up, down and up again, and the kernel's gradients of both passes up.
    """
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    from src.pretraining.passes import Convolution  # noqa: PLC0415
    from src.training.microbatches import num_microbatches, sum_over_microbatches  # noqa: PLC0415

    layer = Convolution(padding=2)
    kernel = jnp.full((5, 5, 3, 32), 0.01)
    images = jnp.ones((BATCH, 32, 32, 3))

    def five(images: Any) -> Any:
        hidden, pull = jax.vjp(lambda kernel: layer.up(images, kernel), kernel)
        visible = layer.down(hidden, kernel, 32, 32)
        again, pull_again = jax.vjp(lambda kernel: layer.up(visible, kernel), kernel)
        return pull(again)[0] + pull_again(hidden)[0]

    @jax.jit
    def batch(images: Any) -> Any:
        return sum_over_microbatches(five, num_microbatches(BATCH), images)

    return lambda: jax.block_until_ready([batch(images) for _ in range(STEPS)])


def torch_convolutions() -> Callable[[], Any]:
    """The same in PyTorch, channels last."""
    import torch  # noqa: PLC0415
    from torch.nn import functional, grad  # noqa: PLC0415

    torch.set_num_threads(1)
    last = {"memory_format": torch.channels_last}
    kernel = torch.full((32, 3, 5, 5), 0.01).contiguous(**last)
    images = torch.ones((BATCH, 3, 32, 32)).contiguous(**last)

    def five() -> Any:
        hidden = functional.conv2d(images, kernel, padding=2)
        visible = functional.conv_transpose2d(hidden, kernel, padding=2)
        again = functional.conv2d(visible, kernel, padding=2)
        grads = (
            grad.conv2d_weight(pixels, list(kernel.shape), above, padding=2)
            for pixels, above in ((images, again), (visible, hidden))
        )
        return sum(grads)

    return lambda: [five() for _ in range(STEPS)]


def interleave(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time per step, the kinds in turn; the first round compiles."""
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for round_ in range(rounds + 1):
        for kind, step in steps.items():
            start = time.process_time()
            step()
            if round_:
                times[kind].append(1000 * (time.process_time() - start) / STEPS)
    return times


def count(text: str) -> int:
    """A number of rounds; a ValueError where it is none."""
    if int(text) < 1:
        raise ValueError
    return int(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=count, default=9, help="1 or more; default 9")
    main(parser.parse_args().rounds)
