"""What the trials of one arm share: the compiled functions and the data on the devices."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from src import hosts
from src.data import Dataset, Split, augment
from src.data.loader import host_share
from src.data.scaling import colour_components, input_scaling
from src.data.sources import DrawFn, Resident, Streamed, TakeFn
from src.data.splits import image_shape, make_splits, with_labels
from src.data.stream import Stream
from src.training import evaluation, optimizers
from src.training import step as train_step
from src.training.layers import make_layer_statistics
from src.training.points import Grid
from src.training.settings import TrialSettings
from src.training.stages import make_stages
from src.training.step import StepErrors, TrainState

INIT_STREAM, STEP_STREAM = 0, 1
# Upper limits of one evaluation batch: images, and pixels over all their crops.
EVAL_IMAGES, EVAL_PIXELS = 1000, 2**23
# Initialization runs once, so XLA compiles it with less effort; the numbers are bit-equal.
INIT_OPTIONS = {"xla_backend_optimization_level": 1}
AHEAD = 2  # Steps dispatched ahead of the oldest unfinished one.
StepFn = Callable[..., tuple[TrainState, StepErrors]]
TogetherFn = Callable[..., tuple[tuple[TrainState, ...], list[StepErrors]]]


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
            settings: The settings of one arm.
            dataset: A `Dataset` is copied whole onto every device, a `Stream` is fed to them.
            parallel: How the step is spread over the devices.
        """
        # The devices of a host follow one another, as its share of a batch does.
        self.devices = tuple(sorted(jax.devices(), key=lambda d: (d.process_index, d.id)))
        self.parallel, self.settings = parallel, settings
        self.num_classes = dataset.num_classes
        self.model = settings.model.make(settings.recipe.init, dataset.num_classes)
        self.input_shape = settings.augment.taken(image_shape(dataset))
        self.source = _make_source(settings, dataset)
        self.grid = Grid(settings, self.num_images)
        self.make_optimizer = functools.partial(
            optimizers.make_optimizer,
            recipe=settings.recipe,
            weight_decay=settings.weight_decay,
            stages=make_stages(settings.schedule, self.grid.iteration_of),
        )
        self.scaling = input_scaling(self.source.sums, settings.recipe.input)
        self.data = {
            name: self._place(self.source.device_split(name, *self.scaling))
            for name in self.source.sizes
        }
        spread = functools.partial(
            train_step.across_devices, parallel=parallel, devices=self.devices
        )
        train_steps = self._make_train_steps()
        self._steps = spread(train_steps, arguments=5, donate_state=True)
        all_steps = train_step.trials_together(train_steps)
        self._steps_together = spread(all_steps, arguments=5, donate_state=True)
        scores = evaluation.make_scores(self._logits, *self.input_shape[:2], settings.test_crops)
        self._count_misses = spread(
            train_step.make_count_misses(scores), arguments=3, donate_state=False
        )
        # By the number of steps in a call; for trials together by (trials, steps).
        self._compiled: dict[Any, Any] = {}
        options = INIT_OPTIONS if jax.default_backend() == "cpu" else {}
        first = functools.partial(
            first_state, self.model.init, self.make_optimizer(0.0), self.input_shape
        )
        self._first_state = jax.jit(first, compiler_options=options)

    def _make_train_steps(self) -> StepFn:
        """The training step of one device; colour augmentation follows the training images."""
        augmented, sums = self.settings.augment, self.source.sums
        components = colour_components(sums) if augmented.pca else np.zeros((0, 0), np.float32)
        until = augmented.pca_epochs
        pca_steps = self.grid.iteration_of(until) if until else None
        return train_step.make_train_steps(
            self._apply,
            self.make_optimizer,
            augment.make_augment_fn(augmented, components, pca_steps),
            ragged=self.settings.recipe.file_images > 0,
            shared=augmented.shared,
        )

    @property
    def num_images(self) -> int:
        """Size of the training set."""
        return self.source.sizes["train"]

    def start(self, seed: int) -> TrainState:
        """The state before the first step; parameters derive from the seed alone."""
        return self._first_state(np.int32(seed))

    def batches(self, draw: DrawFn, first: int) -> TakeFn:
        """Batches from iteration `first` on.

        Args:
            draw: (first iteration, iterations) -> rows of each global batch.
            first: Where to begin.

        Returns:
            A function: number of the next iterations -> their batches, for `prepare`'s function.
        """
        return self.source.training(lambda first, count: _my_share(draw(first, count)), first)

    def prepare(self, seed: int, learning_rate: float, steps: int) -> StepFn:
        """Compiles `steps` training steps, once.

        Returns:
            (state, batches, factor of the learning rate) -> (state, StepErrors of [steps] arrays).
        """
        key = self._place(_step_key(seed))
        data, at_once = self.data["train"], self.source.steps_at_once(steps)
        if at_once not in self._compiled:
            nothing = self._split(
                self.source.placeholder(at_once, self.settings.batch_size // hosts.count())
            )
            rate = self._place(jnp.float32(learning_rate))
            arguments = (self._place(self.start(seed)), nothing, rate, key, data)
            self._compiled[at_once] = self._steps.lower(*arguments).compile()

        def step_fn(
            state: TrainState, batches: TakeFn, factor: float = 1.0
        ) -> tuple[TrainState, StepErrors]:
            rate = self._place(jnp.float32(learning_rate * factor))
            state, errors = self._place(state), []
            for batch in batches(steps):
                split = self._split(batch)  # On its way while the step before it runs.
                state, newest = self._compiled[at_once](state, split, rate, key, data)
                errors.append(newest)
                jax.block_until_ready(errors[-1 - AHEAD : -AHEAD])
            columns = zip(*errors, strict=True)
            return state, StepErrors(*(np.concatenate(column) for column in columns))  # type: ignore[arg-type]

        return step_fn

    def prepare_together(
        self, seeds: Sequence[int], learning_rates: Sequence[float], steps: int
    ) -> TogetherFn:
        """Compiles `steps` training steps of several trials into one program, once per size.

        Args:
            seeds: One for each trial.
            learning_rates: One for each trial.
            steps: Optimizer updates in one call; the images must be in memory.

        Returns:
            (states, rows [steps, batch] per trial, learning rate factors) -> (states, StepErrors of
            [steps] arrays per trial). Each trial gets what the function of `prepare` would give it.
        """
        keys = jnp.stack([_step_key(seed) for seed in seeds])

        def arguments(
            states: Sequence[TrainState], rows: Sequence[np.ndarray], factors: Sequence[float]
        ) -> tuple[Any, ...]:
            rates = [rate * factor for rate, factor in zip(learning_rates, factors, strict=True)]
            split = self._split(np.stack(rows, axis=2))
            rest = (jnp.asarray(rates, jnp.float32), keys)
            return (self._place(tuple(states)), split, *self._place(rest), self.data["train"])

        kind = (len(seeds), steps)
        if kind not in self._compiled:
            nothing = [np.zeros((steps, self.settings.batch_size), np.int32)] * len(seeds)
            states = [self.start(seed) for seed in seeds]
            lowered = self._steps_together.lower(*arguments(states, nothing, [1.0] * len(seeds)))
            self._compiled[kind] = lowered.compile()

        def step_fn(*given: Any) -> tuple[tuple[TrainState, ...], list[StepErrors]]:
            after, errors = self._compiled[kind](*arguments(*given))
            return after, [StepErrors(*map(np.asarray, each)) for each in errors]  # type: ignore[arg-type]

        return step_fn

    def error(self, variables: PyTree, split: str, top: int = 1) -> float:
        """Share of a split whose label is not among the `top` most probable classes.

        Args:
            variables: What the network is applied with, `TrainState.variables`.
            split: "train", "validation" or "test".
            top: 1 or 5.

        Returns:
            Fraction in [0, 1]; parameters are fixed and dropout is off.
        """
        pixels = math.prod(self.input_shape[:2]) * self.settings.test_crops
        largest = max(self.source.sizes.values())  # One program serves every split.
        most = min(images_at_once(pixels), largest)
        batch = math.ceil(most / len(self.devices)) * len(self.devices)
        counts = [
            self._count_misses(variables, self._split(batches), self.data[split])
            for batches in self.source.testing(split, batch, _my_share)
        ]
        missed = np.sum([np.asarray(count) for count in counts], axis=0)
        share = int(missed[0 if top == 1 else 1]) / self.source.sizes[split]
        assert 0 <= share <= 1  # It exceeds 1 if two hosts test the same image.
        return share

    def layer_statistics(self, state: TrainState) -> dict[str, float]:
        """Statistics of each layer on the first training images, see `training.layers`."""
        found = jax.device_get(self._layer_statistics_fn(jax.device_get(state)))
        return {name: float(value) for name, value in found.items()}

    @functools.cached_property
    def _layer_statistics_fn(self) -> Callable[[TrainState], Any]:
        """Made when first asked for, since not every trial measures its layers."""
        measure = jax.jit(make_layer_statistics(self.model, self.settings.model.behind_layers))
        rows = np.arange(min(self.settings.layer_images, self.num_images))
        split = self.source.splits["train"]
        images = split.images[rows] if isinstance(split, Split) else split.load(rows).images
        *_, shift, scale = jax.device_get(self.data["train"])
        centred = images.astype(np.float32) - shift
        pixels = evaluation.central_crop(jnp.asarray(centred / scale), *self.input_shape[:2])
        return lambda state: measure(state.variables, state.opt_state, pixels)

    def _apply(
        self, params: PyTree, model_state: PyTree, pixels: jax.Array, keys: jax.Array
    ) -> tuple[Any, PyTree]:
        """Applies the network in training mode: outputs, and the new state of its layers."""
        variables = {"params": params, **model_state}
        rngs = {"dropout": keys[0]}
        if not model_state:
            return self.model.apply(variables, pixels, keys=keys, rngs=rngs), {}
        outputs, kept = self.model.apply(
            variables, pixels, keys=keys, rngs=rngs, mutable=list(model_state)
        )
        return outputs, kept

    def _logits(self, variables: PyTree, pixels: jax.Array) -> Any:
        return self.model.apply(variables, pixels, keys=None)

    def _place(self, tree: PyTree) -> PyTree:
        return train_step.replicate(tree, self.devices)

    def _split(self, batches: PyTree) -> PyTree:
        return train_step.split_batches(batches, self.devices)


def images_at_once(pixels: int) -> int:
    """Number of images in an evaluation batch, for so many pixels over all crops of an image."""
    return max(1, min(EVAL_IMAGES, EVAL_PIXELS // pixels))


def _make_source(settings: TrialSettings, dataset: Dataset | Stream) -> Resident | Streamed:
    """The images that trials of these settings use, in memory or on disk like the data set."""
    splits = make_splits(dataset, settings.validation_images, settings.train_images)
    unlabelled = splits["train"]
    splits["train"] = with_labels(unlabelled, settings.labels)
    make = Streamed if isinstance(dataset, Stream) else Resident
    return make(splits, unlabelled)


def _my_share(rows: np.ndarray) -> np.ndarray:
    """This host's part of the rows of global batches."""
    return host_share(rows, hosts.index(), hosts.count())


def _step_key(seed: int) -> jax.Array:
    """The key from which all random numbers of a trial's steps derive."""
    return jax.random.fold_in(jax.random.key(seed), STEP_STREAM)


def first_state(
    init_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    input_shape: tuple[int, int, int],
    seed: int | jax.Array,
) -> TrainState:
    """The state before the first step.

    Args:
        init_fn: (key, images) -> variables of the network.
        optimizer: It makes the `opt_state` of the first step; its learning rate does not matter.
        input_shape: Height, width and channels of what the network reads.
        seed: The trial's seed, from which all parameters derive.
    """
    key = jax.random.fold_in(jax.random.key(seed), INIT_STREAM)
    variables = dict(init_fn(key, jnp.zeros((1, *input_shape))))
    params = variables.pop("params")
    return TrainState(jnp.int32(0), params, optimizer.init(params), variables)
