"""Measures the cost of a step of pre-training against a supervised one, and against multiply-adds.

    python -m experiments.pretraining.bench [ROUNDS]

Prints, for each method and each convolution of conv3, and for all three, the processor time of a
step of 128 images on one core, as a share of conv3's supervised step; what the multiply-adds of
both say; and the ratio of the two, which is to be at most 1.5. An RBM's hidden units are drawn once
and have their mean taken twice, which are no multiply-adds: their time alone and the ratio without
it stand beside. Processor time, so that others at work on the machine count for little; steps of
all kinds take turns.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from experiments.speed.measure import make_program
from src import environment

ALLOWED, STEPS = 1.5, 4
LAYERS = ("conv1", "conv2", "conv3")
KINDS = (
    ("conv_autoencoder", "relu"),
    ("conv_rbm", "relu"),
    ("conv_rbm", "tanh"),
    ("conv_rbm", "sigmoid"),
)


def main(rounds: int) -> None:
    """Measures and prints."""
    environment.configure_jax()
    environment.use_one_thread()
    program = make_program("conv3")
    steps = {("supervised", ""): supervised(program)}
    work, alone = {}, {}
    from src.models.summary import summarize  # noqa: PLC0415

    adds = {layer.name: layer.multiply_adds for layer in summarize(program.model, 32)}
    forward = [count for count in adds.values() if count]
    whole = 3 * sum(forward) - forward[0]
    for method, activation in KINDS:
        for number, layer in enumerate(LAYERS):
            kind = (f"{method}, {activation}", layer)
            steps[kind] = pretraining(program, method, activation, number)
            # It has five convolutions of its own, and one forward pass of each layer below.
            work[kind] = (5 * adds[layer] + sum(forward[:number])) / whole
            if method == "conv_rbm":
                alone[kind] = hidden_units(program, activation, number)
    times = interleave(steps, rounds)
    drawing = interleave(alone, rounds)
    base = statistics.median(times["supervised", ""])
    print(f"supervised step of conv3: {1000 * base:.0f} ms of one core\n")
    print(
        "| trained as | layer | ms | of the supervised step | by multiply-adds | ratio |"
        " hidden units, ms | ratio without |"
    )
    print("| --- | --- | --: | --: | --: | --: | --: | --: |")
    for method, activation in KINDS:
        trained_as = f"{method}, {activation}"
        sums = [0.0, 0.0, 0.0]
        for layer in LAYERS:
            kind = (trained_as, layer)
            found = statistics.median(times[kind])
            row = [found, work[kind], statistics.median(drawing.get(kind, [0.0]))]
            sums = [total + part for total, part in zip(sums, row, strict=True)]
            print(_row(trained_as, layer, base, *row))
        print(_row(trained_as, "all three", base, *sums))


def _row(
    trained_as: str, layer: str, base: float, seconds: float, share: float, units: float
) -> str:
    """A line of the table; `share` of the supervised step, which takes `base` seconds."""
    ratios = [taken / base / share for taken in (seconds, seconds - units)]
    marked = [f"{ratio:.2f}{'' if ratio <= ALLOWED else ' !'}" for ratio in ratios]
    return (
        f"| {trained_as} | {layer} | {1000 * seconds:.0f} | {seconds / base:.2f} | {share:.2f} |"
        f" {marked[0]} | {1000 * units:.0f} | {marked[1]} |"
    )


def supervised(program: Any) -> Callable[[], Any]:
    """Some steps of the classifier."""
    import jax  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    step_fn = program.prepare(0, 1e-4, STEPS)
    rows = np.zeros((STEPS, program.settings.batch_size), np.int32)
    state = jax.device_get(program.start(0))
    return lambda: step_fn(state, lambda steps: iter([rows[:steps]]))


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


def hidden_units(program: Any, activation: str, number: int) -> Callable[[], Any]:
    """What the same number of RBM steps do with hidden units: one draw, and two means."""
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415
    from jax import lax  # noqa: PLC0415

    from src.training.microbatches import IMAGES_IN_CACHE  # noqa: PLC0415

    trainer = make_trainer(program, "conv_rbm", activation, number)
    images = trainer.source.scaled(jnp.asarray(trainer.source.images[:IMAGES_IN_CACHE]))
    unit = trainer.unit
    total = unit.total_input(trainer.start().params, trainer._inputs_fn(images))
    parts = STEPS * trainer.settings.batch_size // IMAGES_IN_CACHE

    def one(before: Any, key: Any) -> Any:
        keys = jax.random.split(key, IMAGES_IN_CACHE)
        now = total + before  # not the same in every part, or XLA would compute it once
        made = (jax.vmap(unit.hidden.sample)(keys, now), unit.hidden.mean(now + 1))
        return sum(x.mean() for x in (*made, unit.hidden.mean(now + 2))), None

    every = jax.jit(lambda keys: lax.scan(one, 0.0, keys)[0])
    keys = jax.random.split(jax.random.key(0), parts)
    return lambda: every(keys).block_until_ready()


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


def interleave(steps: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of processor time per step, the kinds in turn; the first round compiles."""
    times: dict[Any, list[float]] = {kind: [] for kind in steps}
    for round_ in range(rounds + 1):
        for kind, step in steps.items():
            start = time.process_time()
            step()
            if round_:
                times[kind].append((time.process_time() - start) / STEPS)
    return times


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
