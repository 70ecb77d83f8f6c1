"""Changes, in mid-training, of the rates of biases and of single layers.

The paper's authors made such changes by hand. Their notes on layers-145, the paper's net, tell of
them (experiments/networks/README.md): the rate of biases fell once; conv1 was slowed and then
frozen while the other layers went on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from src.fields import ConfigError, nearest
from src.training.schedule import Schedule


class Change(NamedTuple):
    """A factor on the learning rate of some parameters, beside the factor on that of all.

    Attributes:
        iteration: Number of updates after which it holds.
        factor: The factor, until the next change.
    """

    iteration: int
    factor: float


class Stages(NamedTuple):
    """Changes of some parameters' rates; none where the schedule has none.

    Attributes:
        biases: Changes of the rate of all biases.
        layers: Layer -> changes of its rate, all above 0.
        frozen: Layer -> iteration from which it stays as it is, momentum included.
    """

    biases: tuple[Change, ...] = ()
    layers: Mapping[str, tuple[Change, ...]] = {}
    frozen: Mapping[str, int] = {}


NO_STAGES = Stages()


def make_stages(schedule: Schedule, iteration_of: Callable[[float], int]) -> Stages:
    """The changes that a schedule asks for, in iterations.

    Args:
        schedule: It says when, in epochs.
        iteration_of: The first iteration by which so many epochs are done.
    """
    layers = {
        layer: (Change(iteration_of(epoch), schedule.factor),)
        for layer, epoch in schedule.slowed.items()
    }
    frozen = {layer: iteration_of(epoch) for layer, epoch in schedule.frozen.items()}
    return Stages(_biases(schedule, iteration_of), layers, frozen)


def check_layers(params: PyTree, **named: Iterable[str]) -> None:
    """Refuses names of layers that the network does not have.

    Args:
        params: The network's parameters.
        **named: Field of the config, its dots as two underscores -> the layers that it names.

    Raises:
        ConfigError: Naming the field and the nearest layer.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    known = list(dict.fromkeys(part.key for path, _ in leaves for part in path[:-1]))
    paths = ["".join(f"/{part.key}" for part in path) + "/" for path, _ in leaves]
    for field, layers in named.items():
        for layer in layers:  # It may name one parameter, as conv1/kernel.
            if not any(f"/{layer}/" in path for path in paths):
                where = f"config.{field.replace('__', '.')}.{layer}"
                raise ConfigError(
                    f"{where}: the network has no such layer{nearest(layer, known)}; it has"
                    f" {', '.join(known)}"
                )


def scale_by_changes(changes: Sequence[Change]) -> optax.GradientTransformation:
    """Multiplies updates by the factor of the newest change, by 1 before the first."""

    def factor(count: Int[Array, ""]) -> Float[Array, ""]:
        found = jnp.float32(1)
        for change in changes:
            found = jnp.where(count >= change.iteration, jnp.float32(change.factor), found)
        return found

    return optax.scale_by_schedule(factor)


def _biases(schedule: Schedule, iteration_of: Callable[[float], int]) -> tuple[Change, ...]:
    """Changes of the biases' rate: their own drops, less those that the rate of all makes.

    Only the schedule `steps` has them.
    """
    if schedule.name != "steps" or not schedule.bias_boundaries:
        return ()
    own, others = (
        [iteration_of(epoch) for epoch in epochs]
        for epochs in (schedule.bias_boundaries, schedule.known_drops)
    )

    def more(moment: int) -> int:
        """How many more drops biases have had than weights."""
        return sum(moment >= at for at in own) - sum(moment >= at for at in others)

    return tuple(Change(at, schedule.factor ** more(at)) for at in sorted({*own, *others}))
