"""How gradients become updates: recipes, and the optimizers, one row each.

An optimizer of one's own is a function of a config file, named by where it is, such as
`configs.mine.lion`: (learning_rate, recipe) -> `optax.GradientTransformation`. The learning rate is
a traced number, so that one compiled step serves every rate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from src import environment, own
from src.data.batches import Order
from src.data.scaling import Input
from src.errors import one_line
from src.fields import AtLeast, ConfigError, NamedNumbers, OneOf, Rule, Within, one_of
from src.training.stages import NO_STAGES, Change, Stages, scale_by_changes

Rate = Float[Array, ""] | float
RATES = Rule(lambda rate: 1e-12 <= rate <= 1e6, "positive numbers, 1e-12 to 1e6")
FACTORS = Within(0, 10**6, "a factor of at least 0")


@dataclass(frozen=True)
class Recipe:
    """What an era took for granted: input, first weights, optimizer, order of the images."""

    name: str = ""
    input: Annotated[
        Input,
        "centered: grey levels minus the mean image; scaled: that over 64; standardized: per"
        " channel, mean 0, variance 1",
    ] = "standardized"
    init: Annotated[
        str,
        OneOf("paper", "modern"),
        "paper: normal, with the deviations of the net's source; modern: He or Glorot",
    ] = "modern"
    optimizer: Annotated[str, "sgd, nesterov, adam, or configs.X.FUNCTION"] = "sgd"
    momentum: Annotated[
        float, Rule(lambda x: 0 <= x < 1, "a fraction in [0, 1)"), "share of the velocity kept"
    ] = 0.9
    bias_rate: Annotated[
        float, Within(0, 1000, "a factor of at least 0"), "factor on the learning rate of biases"
    ] = 1.0
    layer_rates: Annotated[
        NamedNumbers,
        FACTORS,
        "layer, or layer/kernel, -> factor on its learning rate; 0 freezes it",
    ] = field(default_factory=NamedNumbers)
    order: Annotated[
        Order,
        "order of the images: drawn anew every epoch; drawn once by the seed; as in the file",
    ] = "shuffled"
    file_images: Annotated[
        int,
        AtLeast(0),
        "images per file; batches end with their file, the last one smaller; 0: no files",
    ] = 0
    learning_rates: Annotated[tuple[float, ...], RATES, "grid of learning rates"] = (0.01,)


def sgd(learning_rate: Rate, recipe: Recipe) -> optax.GradientTransformation:
    """v <- m v - rate g; w <- w + v (paper, section 5).

    The rate multiplies the gradient before the momentum sums it, so that a drop of the rate
    leaves the velocity as it is.
    """
    return optax.chain(optax.scale(-learning_rate), optax.trace(decay=recipe.momentum))


def nesterov(learning_rate: Rate, recipe: Recipe) -> optax.GradientTransformation:
    """Momentum that looks one step ahead: w <- w + m v - rate g, with the new v of `sgd`.

    Source: Sutskever, Martens, Dahl & Hinton (2013), "On the importance of initialization and
    momentum in deep learning", section 2.
    """
    return optax.chain(
        optax.scale(-learning_rate), optax.trace(decay=recipe.momentum, nesterov=True)
    )


def adam(learning_rate: Rate, recipe: Recipe) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015); `recipe.momentum` is its beta 1, beta 2 is 0.999."""
    return optax.chain(optax.scale_by_adam(b1=recipe.momentum), optax.scale(-learning_rate))


OPTIMIZERS: dict[str, Callable[[Rate, Recipe], optax.GradientTransformation]] = {
    "sgd": sgd,
    "nesterov": nesterov,
    "adam": adam,
}


def check_optimizer(name: str, path: str) -> None:
    """Refuses an optimizer that does not exist or, if it is the user's own, does not work.

    Raises:
        ConfigError: Naming the field at `path`.
    """
    if not own.is_own(name):
        one_of(path, name, tuple(OPTIMIZERS))
        return
    try:
        reason = _fault(own.find(name))
    except ValueError as error:
        reason = str(error)
    if reason:
        raise ConfigError(f"config.{path} = {name!r}: {reason}")


def _fault(build: Callable[[Rate, Recipe], optax.GradientTransformation]) -> str:
    """What is wrong with a user's own optimizer, found by trying it on a small layer; "" if sound.

    Args:
        build: (learning_rate, recipe) -> the optimizer.
    """
    params = {"conv1": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}

    def first_updates(rate: Rate) -> PyTree:
        made = build(rate, Recipe())
        return made.update(params, made.init(params), params)[0]

    environment.find_devices()
    try:
        made = build(0.1, Recipe())
        if not isinstance(made, optax.GradientTransformation):
            return f"it returns {type(made).__name__}, not an optax.GradientTransformation"
        with jax.ensure_compile_time_eval(), jax.debug_nans(False):
            updates = jax.jit(first_updates)(jnp.float32(0.1))
    except (Exception, SystemExit) as error:  # The user's code may raise anything.
        reason = f"{type(error).__name__}: {one_line(error)}"
        return f"it fails on (learning_rate, recipe), the rate a traced number: {reason}"
    if wrong := _unlike(params, updates):
        return wrong
    if not all(np.all(np.isfinite(update)) for update in jax.tree.leaves(updates)):
        return "its updates are infinite or NaN"
    return ""


def fault_on(params: PyTree, recipe: Recipe) -> str:
    """What is wrong with a recipe's optimizer on a network, "" if nothing; nothing is computed.

    Args:
        params: Shapes and types of the network's parameters.
        recipe: Names the optimizer.
    """

    def first_updates(rate: Rate, params: PyTree) -> PyTree:
        made = make_optimizer(rate, recipe, weight_decay=0.1)
        return made.update(params, made.init(params), params)[0]

    try:
        updates = jax.eval_shape(first_updates, jnp.float32(0.1), params)
    except (Exception, SystemExit) as error:  # The user's code may raise anything.
        return f"{type(error).__name__}: {one_line(error)}"
    return _unlike(params, updates)


def _unlike(params: PyTree, updates: PyTree) -> str:
    """Says that updates do not fit their parameters; "" if they do."""
    wanted, found = (jax.tree.map(lambda x: (x.shape, x.dtype), t) for t in (params, updates))
    same = wanted == found
    return "" if same else "its updates are not of the shapes and types of the parameters"


def make_optimizer(
    learning_rate: Rate, recipe: Recipe, weight_decay: float, stages: Stages = NO_STAGES
) -> optax.GradientTransformation:
    """The optimizer of a recipe, with weight decay on the weights and a rate factor on the biases.

    With `sgd` it is the paper's update rule (section 5) and cuda-convnet's: v <- m v - rate (wd w +
    g); w <- w + v. Decay and factors act on the gradient, before the optimizer; with optimizers
    that divide by the gradient's size, such as Adam, they act on the update instead.

    Args:
        learning_rate: It may be traced, so that one compiled step serves every rate.
        recipe: Optimizer, momentum, factors of biases and layers.
        weight_decay: Coefficient on the weights, 5e-4 in the paper; biases do not decay.
        stages: Changes of some parameters' rates in mid-training.
    """
    build = OPTIMIZERS.get(recipe.optimizer) or own.find(recipe.optimizer)
    decay = optax.masked(
        optax.add_decayed_weights(weight_decay), lambda params: _where_bias(params, is_bias=False)
    )
    biases = optax.masked(
        optax.scale(recipe.bias_rate), lambda params: _where_bias(params, is_bias=True)
    )
    layers = [_of_layer(name, optax.scale(factor)) for name, factor in recipe.layer_rates.items()]
    layers += [_of_layer(name, scale_by_changes(c)) for name, c in stages.layers.items()]
    if stages.biases:
        changes = scale_by_changes(stages.biases)
        layers.append(optax.masked(changes, lambda params: _where_bias(params, is_bias=True)))
    gates = [
        _of_layer(name, scale_by_changes([Change(at, 0.0)])) for name, at in stages.frozen.items()
    ]
    if recipe.optimizer in ("sgd", "nesterov"):
        return optax.chain(decay, biases, *layers, build(learning_rate, recipe), *gates)
    decoupled = optax.masked(
        optax.add_decayed_weights(-weight_decay * learning_rate),
        lambda params: _where_bias(params, is_bias=False),
    )
    return optax.chain(build(learning_rate, recipe), decoupled, biases, *layers, *gates)


def _of_layer(
    layer: str, transformation: optax.GradientTransformation
) -> optax.GradientTransformation:
    return optax.masked(
        transformation,
        lambda params: jax.tree_util.tree_map_with_path(
            lambda path, _: f"/{layer}/" in "".join(f"/{part.key}" for part in path) + "/", params
        ),
    )


def _where_bias(params: PyTree, *, is_bias: bool) -> PyTree:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: (path[-1].key == "bias") == is_bias, params
    )
