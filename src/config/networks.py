"""What must hold between a network, the images that it reads and the trials that train it."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from src import own
from src.errors import one_line
from src.fields import ConfigError
from src.models import rehearsal
from src.models.registry import ModelSettings, fault, image_size
from src.pretraining.layers import check_crops, layer_input, layers_to_train
from src.training.layers import make_layer_statistics
from src.training.optimizers import fault_on, make_optimizer
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
    _check_images(model, network, taken, classes)
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
        if not model.behind_layers:
            raise ConfigError(
                f"config.model.name = {model.name!r} has no field `activation`, and what follows"
                " its convolutions decides how they are pre-trained: give it one, or let"
                " config.pretraining.method be 'none'"
            )
        if variables:
            raise ConfigError(
                f"config.model.name = {model.name!r} keeps {', '.join(variables)} beside its"
                " parameters: only networks without BatchNorm and its like can be pre-trained"
            )
        layers = layers_to_train(network, whole, how)
        check_crops(layers, network, taken)
        for layer in layers:
            read = functools.partial(layer_input, network, name=layer.name)
            jax.eval_shape(read, params, pixels=jax.ShapeDtypeStruct((1, *whole), jnp.float32))
    for trial in {each.recipe: each for each in trials if each.layer_images}.values():
        _check_statistics(trial, network, params, variables, taken)


def _check_images(model: ModelSettings, network: nn.Module, taken: Shape, classes: int) -> None:
    """Refuses a network that fails on images of this shape."""
    wrong = fault(network, taken, classes)
    if own.is_own(model.name):
        if wrong := wrong or rehearsal.fault(network, taken):
            raise ConfigError(
                f"config.model.name = {model.name!r} fails on images {list(taken)}: {wrong}"
            )
    elif wrong:  # Ours fail only where images are small, or by an activation of one's own.
        if not fault(replace(model, activation="relu").make("paper", classes), taken, classes):
            raise ConfigError(
                f"config.model.activation = {model.activation!r} fails in {model.name}: {wrong}"
            )
        made_for = image_size(model.name)
        raise ConfigError(
            f"config.model.name = {model.name!r} is made for images of {made_for} x {made_for}"
            f" pixels; those of {taken[0]} x {taken[1]} are too small for it"
        )


def _check_statistics(
    trial: TrialSettings, network: nn.Module, params: PyTree, kept: PyTree, taken: Shape
) -> None:
    """Tries the statistics of layers, for which the activation is applied to every output."""
    optimizer = make_optimizer(0.0, trial.recipe, trial.weight_decay)
    measure = make_layer_statistics(network, trial.model.behind_layers)
    images = jax.ShapeDtypeStruct((1, *taken), jnp.float32)
    try:
        opt_state = jax.eval_shape(optimizer.init, params)
        found = jax.eval_shape(measure, {"params": params, **kept}, opt_state, images)
    except Exception as error:  # The user's code may raise anything.
        raise ConfigError(
            f"config.layer_images = {trial.layer_images}: the layers of {trial.model.name} cannot"
            f" be measured with model.activation = {trial.model.activation!r}; let it be 0"
            f" ({type(error).__name__}: {one_line(error)})"
        ) from None
    if not found:
        raise ConfigError(
            f"config.layer_images = {trial.layer_images}: but for the last layer, none of"
            f" {trial.model.name} has a `kernel` and can be measured; let it be 0"
        )
