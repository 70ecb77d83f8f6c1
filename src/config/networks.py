"""What must hold between a network, the images that it reads and the trials that train it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from src import own
from src.fields import ConfigError
from src.models import rehearsal
from src.models.registry import ModelSettings, fault, image_size
from src.pretraining.layers import check_crops, layers_to_train
from src.training.optimizers import fault_on
from src.training.settings import TrialSettings
from src.training.stages import check_layers

Shape = tuple[int, int, int]  # Height, width and channels.


def check_network(
    model: ModelSettings, trials: Sequence[TrialSettings], whole: Shape, taken: Shape, classes: int
) -> None:
    """Refuses a network that fails on its images, and trials that ask for what it lacks.

    Args:
        model: The network.
        trials: Those that train it, with the same scheme of first weights.
        whole: The shape of the images in the data set.
        taken: The shape of the crops that the network reads.
        classes: Number of classes.

    Raises:
        ConfigError: Naming the field and its value.
    """
    network = model.make(trials[0].recipe.init, classes)
    _refuse_faults(model, fault(network, taken, classes), taken)
    if own.is_own(model.name):
        _refuse_faults(model, rehearsal.fault(network, taken), taken)
    images = jax.ShapeDtypeStruct((1, *taken), jnp.float32)
    variables = dict(jax.eval_shape(network.init, jax.random.key(0), images))
    params = variables.pop("params")
    for trial in trials:
        check_layers(
            params,
            schedule__slowed=dict(trial.schedule.slowed),
            schedule__frozen=dict(trial.schedule.frozen),
            **{f"recipes__{trial.recipe.name}__layer_rates": dict(trial.recipe.layer_rates)},
        )
    for recipe in dict.fromkeys(trial.recipe for trial in trials):
        if own.is_own(recipe.optimizer) and (wrong := fault_on(params, recipe)):
            raise ConfigError(
                f"config.recipes.{recipe.name}.optimizer = {recipe.optimizer!r} fails on the"
                f" parameters of the network ({', '.join(params)}): {wrong}"
            )
    for how in dict.fromkeys(trial.pretraining for trial in trials):
        if how.method == "none":
            continue
        if variables:
            raise ConfigError(
                f"config.model.name = {model.name!r} keeps {', '.join(variables)} beside its"
                " parameters: only networks without BatchNorm and its like can be pre-trained"
            )
        check_crops(layers_to_train(network, whole, how), network, taken)


def _refuse_faults(model: ModelSettings, wrong: str, taken: Shape) -> None:
    if wrong and not own.is_own(model.name):  # Ours fail only where images are small.
        made_for = image_size(model.name)
        raise ConfigError(
            f"config.model.name = {model.name!r} is made for images of {made_for} x {made_for}"
            f" pixels; those of {taken[0]} x {taken[1]} are too small for it"
        )
    if wrong:
        raise ConfigError(
            f"config.model.name = {model.name!r} fails on images {list(taken)}: {wrong}"
        )
