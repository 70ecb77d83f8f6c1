"""What the trials of one arm share: the compiled functions and the data on the devices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from src import hosts
from src.data import Dataset, Split, augment
from src.data.loader import host_share
from src.data.scaling import ImageSums, colour_components, input_scaling
from src.data.sources import DrawFn, Resident, Streamed, TakeFn
from src.data.splits import image_shape, make_splits, with_labels
from src.data.stream import Stream
from src.training import evaluation, optimizers
from src.training import step as train_step
from src.training.layers import make_layer_statistics
from src.training.points import Grid
from src.training.settings import TrialSettings
from src.training.stages import check_layers, make_stages
from src.training.step import StepErrors, TrainState

INIT_STREAM, STEP_STREAM = 0, 1
EVAL_IMAGES, EVAL_PIXELS = 1000, 2**23  # tested at once, at most
# A program that runs once: compiled with less effort, to the same bits.
INIT_OPTIONS = {"xla_backend_optimization_level": 1}
AHEAD = 2  # batches of a stream that wait on the devices
StepFn = Callable[..., tuple[TrainState, StepErrors]]


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
        # Those of a host one after another, as its share of a batch is.
        self.devices = tuple(sorted(jax.devices(), key=lambda d: (d.process_index, d.id)))
        self.num_classes = dataset.num_classes
        self.model = settings.model.make(settings.recipe.init, dataset.num_classes)
        self.batch_size = settings.batch_size
        crop = settings.augment.crop
        height, width, channels = image_shape(dataset)
        self.input_shape = (crop or height, crop or width, channels)
        splits = make_splits(dataset, settings.validation_images, settings.train_images)
        unlabelled = splits["train"]
        splits["train"] = with_labels(unlabelled, settings.labels)
        make_source = Streamed if isinstance(dataset, Stream) else Resident
        self.source = make_source(splits, unlabelled)
        grid = Grid(settings, self.images)
        self.make_optimizer = functools.partial(
            optimizers.make_optimizer,
            recipe=settings.recipe,
            weight_decay=settings.weight_decay,
            stages=make_stages(settings.schedule, grid.iteration_of),
        )
        self._layers_named = {
            "schedule__slowed": dict(settings.schedule.slowed),
            "schedule__frozen": dict(settings.schedule.frozen),
            f"recipes__{settings.recipe.name}__layer_rates": dict(settings.recipe.layer_rates),
        }
        self.parallel = parallel
        self.scaling = input_scaling(self.source.sums, settings.recipe.input)
        self.data = {name: self._place(self.source.images(name, *self.scaling)) for name in splits}
        spread = functools.partial(
            train_step.across_devices, parallel=parallel, devices=self.devices
        )
        until = settings.augment.pca_epochs
        pca_steps = grid.iteration_of(until) if until else None
        augment_fn = make_augment_fn(settings.augment, self.source.sums, pca_steps)
        train_steps = train_step.make_train_steps(
            self._apply,
            self.make_optimizer,
            augment_fn,
            ragged=settings.recipe.file_images > 0,
            shared=settings.augment.shared,
        )
        self._steps = spread(train_steps, arguments=5, donate_state=True)
        self.crops = settings.test_crops
        scores = evaluation.make_scores(self._logits, *self.input_shape[:2], self.crops)
        self._count_misses = spread(
            train_step.make_count_misses(scores), arguments=3, donate_state=False
        )
        self._compiled: dict[int, Any] = {}
        self._layers: Callable[[TrainState], Any] | None = None
        self.layer_images, self.activation = settings.layer_images, settings.model.activation
        options = INIT_OPTIONS if jax.default_backend() == "cpu" else {}
        self._init = jax.jit(self.model.init, compiler_options=options)

    @property
    def images(self) -> int:
        """Size of the training set."""
        return self.source.sizes["train"]

    def start(self, seed: int) -> TrainState:
        """The state before the first step; parameters derive from the seed alone."""
        state = first_state(self._init, self.make_optimizer(0.0), self.input_shape, seed)
        check_layers(state.params, **self._layers_named)
        return state

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
        key = self._place(jax.random.fold_in(jax.random.key(seed), STEP_STREAM))
        data, at_once = self.data["train"], self.source.steps_at_once(steps)
        if at_once not in self._compiled:
            nothing = self._split(
                self.source.placeholder(at_once, self.batch_size // hosts.count())
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

    def error(self, variables: PyTree, split: str, top: int = 1) -> float:
        """Share of "train", "validation" or "test" whose label is not among the `top` 1 or 5.

        Args:
            variables: What the network is applied with, `TrainState.variables`.
            split: Which images.
            top: 1 or 5.
        """
        pixels = math.prod(self.input_shape[:2]) * self.crops
        most = max(1, min(EVAL_IMAGES, EVAL_PIXELS // pixels))
        batch = math.ceil(most / len(self.devices)) * len(self.devices)
        counts = [
            self._count_misses(variables, self._split(batches), self.data[split])
            for batches in self.source.testing(split, batch, _my_share)
        ]
        missed = np.sum([np.asarray(count) for count in counts], axis=0)
        share = int(missed[0 if top == 1 else 1]) / self.source.sizes[split]
        assert 0 <= share <= 1  # an image that two hosts test counts twice
        return share

    def layer_statistics(self, state: TrainState) -> dict[str, float]:
        """What each layer hands on, on the first training images, see `training.layers`."""
        if self._layers is None:
            measure = make_layer_statistics(self.model, self.activation)
            rows = np.arange(min(self.layer_images, self.images))
            split = self.source.splits["train"]
            images = split.images[rows] if isinstance(split, Split) else split.load(rows).images
            *_, shift, scale = jax.device_get(self.data["train"])
            centred = images.astype(np.float32) - shift
            pixels = evaluation.central_crop(jnp.asarray(centred / scale), *self.input_shape[:2])
            jitted = jax.jit(measure)
            self._layers = lambda state: jitted(state.variables, state.opt_state, pixels)
        found = jax.device_get(self._layers(jax.device_get(state)))
        return {name: float(value) for name, value in found.items()}

    def _apply(
        self, params: PyTree, model_state: PyTree, pixels: jax.Array, keys: jax.Array
    ) -> tuple[Any, PyTree]:
        """The network in training: outputs, and what its layers keep."""
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


def _my_share(rows: np.ndarray) -> np.ndarray:
    """This host's part of the rows of global batches."""
    return host_share(rows, hosts.index(), hosts.count())


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
    variables = dict(init_fn(key, jnp.zeros((1, *input_shape))))
    params = variables.pop("params")
    return TrainState(jnp.int32(0), params, optimizer.init(params), variables)


def make_augment_fn(
    options: augment.Augment, sums: ImageSums, pca_steps: int | None
) -> augment.AugmentFn | None:
    """What `options` ask for; the colours' components are those of the training images."""
    components = colour_components(sums) if options.pca else np.zeros((0, 0), np.float32)
    return augment.make_augment_fn(options, components, pca_steps)
