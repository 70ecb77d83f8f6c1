"""What the trials of one arm share: the compiled functions and the data on the devices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from src import augment, batches, models, train_step
from src.data import Dataset
from src.train_step import Images, TrainState

INIT_STREAM, STEP_STREAM = 0, 1
EVAL_BATCH = 1000
StepFn = Callable[[TrainState, np.ndarray], tuple[TrainState, np.ndarray, np.ndarray]]


class Program:
    """Compiled functions of one arm, on all devices."""

    def __init__(
        self, settings: dict[str, Any], dataset: Dataset, parallel: train_step.Parallel = "pmap"
    ):
        """Places the data and wraps the step; nothing is compiled before it is needed.

        Args:
            settings: Of an arm.
            dataset: Its training and test set go whole onto every device.
            parallel: How the step is spread over the devices.
        """
        self.devices = tuple(jax.devices())
        self.model = make_model(settings, dataset.num_classes)
        self.make_optimizer = functools.partial(
            train_step.make_optimizer,
            momentum=settings["recipe"]["momentum"],
            bias_rate=settings["recipe"]["bias_rate"],
            weight_decay=settings["weight_decay"],
        )
        self.batch_size = settings["batch_size"]
        crop = settings["augment"]["crop"]
        height, width, channels = dataset.train.images.shape[1:]
        self.input_shape = (crop or height, crop or width, channels)
        shift, scale = input_scaling(dataset.train.images, settings["recipe"]["input"])
        self.train, self.test = (
            self._place(Images(split.images, split.labels.astype(np.int32), shift, scale))
            for split in (dataset.train, dataset.test)
        )
        spread = functools.partial(
            train_step.across_devices, parallel=parallel, devices=self.devices
        )
        augment_fn = make_augment_fn(settings["augment"], dataset.train.images)
        train_steps = train_step.make_train_steps(self._apply, self.make_optimizer, augment_fn)
        self._steps = spread(train_steps, arguments=5, donate_state=True)
        self._count_errors = spread(
            train_step.make_count_errors(self._apply_to_centre), arguments=3, donate_state=False
        )
        self._compiled: dict[int, Any] = {}

    def start(self, seed: int) -> TrainState:
        """The state before the first step; parameters derive from the seed alone."""
        key = jax.random.fold_in(jax.random.key(seed), INIT_STREAM)
        init = jax.jit(self.model.init)
        params = init(key, jnp.zeros((1, *self.input_shape)))["params"]
        return TrainState(jnp.int32(0), params, self.make_optimizer(0.0).init(params))

    def prepare(self, seed: int, learning_rate: float, steps: int) -> StepFn:
        """Compiles `steps` training steps, once.

        Returns:
            (state, indices [steps, B]) -> (state, wrong [steps], loss [steps]).
        """
        key = self._place(jax.random.fold_in(jax.random.key(seed), STEP_STREAM))
        rate = self._place(jnp.float32(learning_rate))
        if steps not in self._compiled:
            nowhere = np.zeros((steps, self.batch_size), np.int32)
            indices = train_step.split_indices(nowhere, self.devices)
            arguments = (self._place(self.start(seed)), indices, rate, key, self.train)
            self._compiled[steps] = self._steps.lower(*arguments).compile()

        def step_fn(
            state: TrainState, indices: np.ndarray
        ) -> tuple[TrainState, np.ndarray, np.ndarray]:
            split = train_step.split_indices(indices, self.devices)
            state, errors = self._compiled[steps](self._place(state), split, rate, key, self.train)
            return state, np.asarray(errors.wrong), np.asarray(errors.loss)

        return step_fn

    def error(self, params: PyTree, split: Images) -> float:
        """Share of `split` misclassified with the parameters fixed and dropout off."""
        count = split.labels.shape[0]
        size = math.ceil(EVAL_BATCH / len(self.devices)) * len(self.devices)
        indices = train_step.split_indices(batches.test_indices(count, size), self.devices)
        return int(self._count_errors(params, indices, split)) / count

    def _apply(self, params: PyTree, pixels: jax.Array, keys: jax.Array | None) -> Any:
        return self.model.apply({"params": params}, pixels, keys=keys)

    def _apply_to_centre(self, params: PyTree, pixels: jax.Array, keys: None) -> jax.Array:
        return self._apply(params, augment.central_crop(pixels, *self.input_shape[:2]), keys)

    def _place(self, tree: PyTree) -> PyTree:
        return train_step.replicate(tree, self.devices)


def make_model(settings: dict[str, Any], num_classes: int) -> nn.Module:
    """The network that an arm's settings name."""
    options = {key: value for key, value in settings["model"].items() if key != "name"}
    return models.make_model(
        settings["model"]["name"],
        init=settings["recipe"]["init"],
        num_classes=num_classes,
        **options,
    )


def make_augment_fn(options: dict[str, Any], images: np.ndarray) -> augment.AugmentFn | None:
    """What `config.augment` asks for; the colours' components are those of the training images."""
    components = (
        augment.colour_components(images) if options["pca"] else np.zeros((0, 0), np.float32)
    )
    return augment.make_augment_fn(**options, components=components)


def input_scaling(images: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of the network's input, from the training images.

    `centered`: minus the mean image, in grey levels (cuda-convnet; paper, section 2).
    `standardized`: minus the mean and divided by the standard deviation of each channel.

    Returns:
        Two arrays that can be broadcast to [1, H, W, C].
    """
    if kind == "centered":
        shift = images.mean(axis=0, dtype=np.float64, keepdims=True)
        return shift.astype(np.float32), np.ones((1, 1, 1, 1), np.float32)
    counts = np.stack(
        [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    )
    levels, total = np.arange(256), counts.sum(axis=1)
    mean = counts @ levels / total
    variance = counts @ levels**2 / total - mean**2
    deviation = np.where(variance > 0, np.sqrt(variance), 1.0)  # a channel of one value stays 0
    shape = (1, 1, 1, -1)
    return mean.astype(np.float32).reshape(shape), deviation.astype(np.float32).reshape(shape)
