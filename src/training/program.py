"""What the trials of one arm share: the compiled functions and the data on the devices."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from src.data import Dataset, augment
from src.data.loader import host_share
from src.data.scaling import ImageSums, colour_components, input_scaling
from src.data.sources import DrawFn, Resident, Streamed
from src.data.splits import image_shape, make_splits
from src.data.stream import Stream
from src.training import evaluation, optimizers
from src.training import step as train_step
from src.training.settings import TrialSettings
from src.training.step import TrainState

INIT_STREAM, STEP_STREAM = 0, 1
EVAL_IMAGES, EVAL_PIXELS = 1000, 2**23  # tested at once, at most
# A program that runs once: compiled with less effort, to the same bits.
INIT_OPTIONS = {"xla_backend_optimization_level": 1}
AHEAD = 2  # batches of a stream that wait on the devices
Errors = tuple[TrainState, np.ndarray, np.ndarray]
StepFn = Callable[..., Errors]


class Program:
    """Compiled functions of one arm, on all devices."""

    def __init__(
        self,
        settings: TrialSettings,
        dataset: Dataset | Stream,
        parallel: train_step.Parallel = "pmap",
    ):
        """Places the data and wraps the step; nothing is compiled before it is needed.

        Args:
            settings: Of an arm.
            dataset: Goes whole onto every device, or is streamed to them.
            parallel: How the step is spread over the devices.
        """
        self.devices = tuple(jax.devices())
        self.num_classes = dataset.num_classes
        self.model = settings.model.make(settings.recipe.init, dataset.num_classes)
        self.make_optimizer = functools.partial(
            optimizers.make_optimizer,
            recipe=settings.recipe,
            weight_decay=settings.weight_decay,
        )
        self.batch_size = settings.batch_size
        crop = settings.augment.crop
        height, width, channels = image_shape(dataset)
        self.input_shape = (crop or height, crop or width, channels)
        splits = make_splits(dataset, settings.validation_images, settings.train_images)
        self.source = Streamed(splits) if isinstance(dataset, Stream) else Resident(splits)
        scaling = input_scaling(self.source.sums, settings.recipe.input)
        self.data = {name: self._place(self.source.images(name, *scaling)) for name in splits}
        spread = functools.partial(
            train_step.across_devices, parallel=parallel, devices=self.devices
        )
        augment_fn = make_augment_fn(settings.augment, self.source.sums)
        train_steps = train_step.make_train_steps(self._apply, self.make_optimizer, augment_fn)
        self._steps = spread(train_steps, arguments=5, donate_state=True)
        self.crops = settings.test_crops
        scores = evaluation.make_scores(self._logits, *self.input_shape[:2], self.crops)
        self._count_misses = spread(
            train_step.make_count_misses(scores), arguments=3, donate_state=False
        )
        self._compiled: dict[int, Any] = {}
        options = INIT_OPTIONS if jax.default_backend() == "cpu" else {}
        self._init = jax.jit(self.model.init, compiler_options=options)

    @property
    def images(self) -> int:
        """Size of the training set."""
        return self.source.sizes["train"]

    def start(self, seed: int) -> TrainState:
        """The state before the first step; parameters derive from the seed alone."""
        return first_state(self._init, self.make_optimizer(0.0), self.input_shape, seed)

    def batches(self, draw: DrawFn, first: int, steps: int) -> Iterator[Any]:
        """Batches from iteration `first` on, for a step function of so many `steps`.

        Args:
            draw: (first iteration, iterations) -> rows of each global batch.
            first: Where to begin.
            steps: Iterations between two records.
        """
        host, hosts = jax.process_index(), jax.process_count()
        return self.source.training(
            lambda first, count: host_share(draw(first, count), host, hosts), first, steps
        )

    def prepare(self, seed: int, learning_rate: float, steps: int) -> StepFn:
        """Compiles `steps` training steps, once.

        Returns:
            (state, batches, factor of the learning rate) -> (state, wrong [steps], loss [steps]).
        """
        key = self._place(jax.random.fold_in(jax.random.key(seed), STEP_STREAM))
        data, at_once = self.data["train"], self.source.steps_at_once(steps)
        if at_once not in self._compiled:
            nothing = self._split(self.source.placeholder(at_once, self.batch_size))
            rate = self._place(jnp.float32(learning_rate))
            arguments = (self._place(self.start(seed)), nothing, rate, key, data)
            self._compiled[at_once] = self._steps.lower(*arguments).compile()

        def step_fn(state: TrainState, batches: Iterator[Any], factor: float = 1.0) -> Errors:
            rate = self._place(jnp.float32(learning_rate * factor))
            state, errors = self._place(state), []
            for batch in itertools.islice(batches, steps // at_once):
                split = self._split(batch)  # on its way while the step before it runs
                state, newest = self._compiled[at_once](state, split, rate, key, data)
                errors.append(newest)
                jax.block_until_ready(errors[-1 - AHEAD : -AHEAD])
            wrong, loss = (np.concatenate(part) for part in zip(*errors, strict=True))
            return state, wrong, loss

        return step_fn

    def error(self, params: PyTree, part: str, top: int = 1) -> float:
        """Share of "train", "validation" or "test" whose label is not among the `top` 1 or 5."""
        pixels = math.prod(self.input_shape[:2]) * self.crops
        most = max(1, min(EVAL_IMAGES, EVAL_PIXELS // pixels))
        batch = math.ceil(most / len(self.devices)) * len(self.devices)
        counts = [
            self._count_misses(params, self._split(batches), self.data[part])
            for batches in self.source.testing(part, batch)
        ]
        missed = np.sum([np.asarray(count) for count in counts], axis=0)
        return int(missed[0 if top == 1 else 1]) / self.source.sizes[part]

    def _apply(self, params: PyTree, pixels: jax.Array, keys: jax.Array | None) -> Any:
        return self.model.apply({"params": params}, pixels, keys=keys)

    def _logits(self, params: PyTree, pixels: jax.Array) -> Any:
        return self._apply(params, pixels, None)

    def _place(self, tree: PyTree) -> PyTree:
        return train_step.replicate(tree, self.devices)

    def _split(self, batches: PyTree) -> PyTree:
        return train_step.split_batches(batches, self.devices)


def first_state(
    init_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    input_shape: tuple[int, int, int],
    seed: int,
) -> TrainState:
    """The state before the first step.

    Args:
        init_fn: (key, images) -> variables of the network.
        optimizer: Whose state begins with zeros.
        input_shape: Height, width and channels.
        seed: The trial's.
    """
    key = jax.random.fold_in(jax.random.key(seed), INIT_STREAM)
    params = init_fn(key, jnp.zeros((1, *input_shape)))["params"]
    return TrainState(jnp.int32(0), params, optimizer.init(params))


def make_augment_fn(options: augment.Augment, sums: ImageSums) -> augment.AugmentFn | None:
    """What `options` ask for; the colours' components are those of the training images."""
    components = colour_components(sums) if options.pca else np.zeros((0, 0), np.float32)
    return augment.make_augment_fn(options, components)
