"""What one trial does: everything that decides its numbers, in one frozen dataclass."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

from src import own
from src.data.augment import Augment
from src.data.settings import Data
from src.fields import Above, AtLeast, Fraction, NamedValues, OneOf, Rule, read
from src.models import ModelSettings
from src.pretraining.settings import Pretraining
from src.training.optimizers import Recipe
from src.training.schedule import Schedule
from src.weights.settings import StartFrom

MANY = 10**6
COUNT = AtLeast(1, "a whole number of at least 1", most=MANY)
EPOCHS = Above(0, "a positive number of epochs", most=10**5)


@dataclass(frozen=True)
class TrialSettings:
    """All settings of a trial but its learning rate and seed; the trials of an arm share them."""

    data: Data = field(default_factory=Data)
    model: ModelSettings = field(default_factory=ModelSettings)
    recipe: Recipe = field(default_factory=Recipe)
    augment: Augment = field(default_factory=Augment)
    schedule: Schedule = field(default_factory=Schedule)
    start_from: StartFrom = field(default_factory=StartFrom)
    pretraining: Pretraining = field(default_factory=Pretraining)
    batch_size: Annotated[int, COUNT, "images per update, summed over all devices"] = 128
    weight_decay: Annotated[
        float,
        Rule(lambda x: 0 <= x < 1, "a fraction in [0, 1), 0.0005 in the paper"),
        "coefficient on the weights; biases do not decay",
    ] = 0.0
    train_images: Annotated[int, AtLeast(0), "train on so many images; 0: all"] = 0
    labels: Annotated[
        int, AtLeast(0), "so many of these have labels, as many in each class; 0: all of them"
    ] = 0
    validation_images: Annotated[
        int, AtLeast(0), "hold out the last so many of the training set, to test on every epoch"
    ] = 0
    max_epochs: Annotated[
        float, EPOCHS, "a trial that has not reached the target by then is censored"
    ] = 60.0
    target_train_error: Annotated[float, Fraction(), "training error to reach"] = 0.25
    readings: Annotated[
        tuple[str, ...],
        OneOf("online", "figure", "frozen"),
        "training errors to bring to the target: of the trailing window; of the first 10,000 images"
        " of an epoch (the first fifth, if there are no more), as in Fig. 1; of the whole set,"
        " parameters fixed",
    ] = ("online",)
    window_epochs: Annotated[
        float, EPOCHS, "the trailing window; the error is defined once it is full"
    ] = 1.0
    stop_at_target: Annotated[bool, "False: train for max_epochs all the same"] = True
    points_per_epoch: Annotated[int, COUNT, "how often the training error is recorded"] = 10
    test_crops: Annotated[
        int, OneOf(1, 10), "10: softmax averaged over corners, centre and mirrors (section 4.1)"
    ] = 1
    test_every_epochs: Annotated[
        float, EPOCHS, "how often the test set is tested, and at the end"
    ] = 5.0
    layer_images: Annotated[
        int,
        AtLeast(0, most=10**5),
        "measure each layer's outputs on so many images, or all there are, at every point",
    ] = 0
    checkpoint_every_epochs: Annotated[float, EPOCHS, "how often a trial saves itself"] = 1.0

    @property
    def question(self) -> "TrialSettings":
        """The settings that decide numbers: without the data's place and the recipe's grid."""
        data = replace(self.data, dir="", fallback="none")
        return replace(self, data=data, recipe=replace(self.recipe, learning_rates=()))

    @property
    def own_code(self) -> dict[str, str]:
        """Digests of the user's own functions and networks that a trial runs, by their names."""
        named = (self.data.name, *self.model.names, self.recipe.optimizer)
        return {name: code for name in named if (code := own.digest(name))}


def read_settings(tree: Mapping[str, Any]) -> TrialSettings:
    """Reads the settings in a trial's config.json, where the recipe has its name among its fields.

    Raises:
        ConfigError: If it is not what this code writes.
    """
    recipe = dict(tree["recipe"])
    name = recipe.pop("name")
    found = read(Recipe, recipe, ("recipe",), name=name)
    rest = {name: value for name, value in tree.items() if name != "recipe"}
    return read(TrialSettings, rest, recipe=found)


class Limit(NamedTuple):
    """How fast a trial of a race must be; it is stopped once it cannot win any more.

    Attributes:
        error: A training error, a fraction.
        iterations: The iterations allowed to reach it.
    """

    error: float
    iterations: float


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        name: Name of its folder, unique in its study: arm, learning rate and seed.
        arm: Name of its arm.
        purpose: "selection" of a learning rate, or "fresh".
        learning_rate: The rate before the schedule's factor.
        seed: Decides first weights, order of images and every random number of training.
        settings: Its other settings.
        swept: Column of results.csv -> the value of its arm there.
    """

    name: str
    arm: str
    purpose: str
    learning_rate: float
    seed: int
    settings: TrialSettings
    swept: NamedValues = field(default_factory=NamedValues)
