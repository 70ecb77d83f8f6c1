"""A stack: the convolutions of a network, each pre-trained on the outputs of those below it.

No labels are used, not even to choose a learning rate: each layer has the one that reconstructs
held-out images best.
"""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from src.data import batches
from src.data.sources import DeviceSplit
from src.errors import LabError, Stopped
from src.models import get_activation
from src.pretraining import units
from src.pretraining.autoencoder import Autoencoder
from src.pretraining.layers import Layer
from src.pretraining.measures import Row, make_measure_fn, spread_of_inputs
from src.pretraining.rbm import RBM
from src.pretraining.settings import Pretraining
from src.pretraining.source import Source
from src.records.trial import Identity
from src.training import checkpoints, optimizers
from src.training import step as train_step
from src.training.objective import MicrobatchErrors
from src.training.optimizers import Recipe
from src.training.step import TrainState

PRETRAIN_STREAM = 2  # Keeps these draws apart from a trial's, whose streams are 0 and 1.
POINTS = 4  # Each layer is measured and saved so often at each rate, evenly spaced.


class LayerTrainer:
    """Trains one layer on top of a frozen network, at any learning rate."""

    def __init__(
        self, source: Source, settings: Pretraining, seed: int, layer: Layer, below: PyTree
    ):
        """Measures the layer's inputs; nothing is trained yet.

        Args:
            source: Network and images.
            settings: How the layer is trained.
            seed: The trial's seed.
            layer: The convolution to train.
            below: Parameters of the whole network, in which the layers below are pre-trained.

        Raises:
            LabError: If the layer reads the same of every image.
            ConfigError: If an RBM has no unit for the network's activation.
        """
        self.source, self.settings, self.seed, self.layer = source, settings, seed, layer
        self._inputs_fn = source.make_inputs_fn(layer.name, below)
        self.means, self.deviation = spread_of_inputs(source, self._inputs_fn, layer.name)
        self.unit = make_unit(settings, layer, source.activation, self.deviation)
        self.measure = make_measure_fn(source, self._inputs_fn, self.unit, self.means)
        self._steps = train_step.across_devices(
            train_step.make_steps(self._objective, self._optimizer),
            source.parallel,
            arguments=5,
            donate_state=True,
            devices=source.devices,
        )
        nothing = np.zeros(len(source.images), np.int32)  # There are no labels.
        self._data = self._place(DeviceSplit(source.images, nothing, source.shift, source.scale))

    def start(self) -> TrainState:
        """The state before the first step.

        Kernels are normal with deviation `init_deviation`; hidden biases are 0, visible biases the
        mean of the inputs.
        """
        key = jax.random.fold_in(self._key(), 0)
        kernel = self.settings.init_deviation * jax.random.normal(key, self.layer.kernel_shape)
        params: dict[str, Any] = {"kernel": kernel}
        if self.settings.method == "conv_rbm":
            params["bias"] = jnp.zeros(self.layer.kernel_shape[-1])
            params["visible"] = {"bias": jnp.asarray(self.means)}
        return TrainState(jnp.int32(0), params, self._optimizer(0.0).init(params))

    def train(
        self,
        learning_rate: float,
        folder: Path,
        of: Identity,
        should_stop: Callable[[], bool] = lambda: False,
        on_point: Callable[[Row], None] = lambda row: None,
        on_complaint: Callable[[str], None] = lambda line: None,
    ) -> tuple[PyTree, list[Row]]:
        """Does all steps at one rate, from the newest checkpoint on if there is one.

        Args:
            learning_rate: The rate of every step.
            folder: Where checkpoints are saved.
            of: Identity of the layer, written into its checkpoints.
            should_stop: Asked after every point.
            on_point: Told of every point.
            on_complaint: Told in a line of every damaged checkpoint that was set aside.

        Returns:
            The layer's parameters, and the measures at each point.

        Raises:
            Stopped: If `should_stop` said so.
        """
        place = folder / f"{file_name(self.layer.name)}-lr{learning_rate:g}"
        arrays, kept, complaints = checkpoints.restore(place, {"state": self.start()}, of)
        for complaint in complaints:
            on_complaint(complaint)
        state, rows = (arrays["state"], kept["rows"]) if arrays else (self.start(), [])
        state, rate = self._place(state), self._place(jnp.float32(learning_rate))
        key = self._place(jax.random.fold_in(self._key(), 1))
        seconds = rows[-1]["seconds"] if rows else 0.0
        per_point = max(1, self.settings.steps // POINTS)
        while (done := int(state.step)) < self.settings.steps:
            began = time.perf_counter()
            draw = self._draw(done, min(per_point, self.settings.steps - done))
            state, errors = self._steps(state, draw, rate, key, self._data)
            loss = float(np.mean(errors.loss))
            seconds += time.perf_counter() - began
            row: Row = {
                "layer": self.layer.name,
                "learning_rate": learning_rate,
                "step": int(state.step),
                "loss": loss,
                **self.measure(state.params),
                "seconds": seconds,
            }
            rows.append(row)
            on_point(row)
            checkpoints.save(place, int(state.step), {"state": state}, {"rows": rows}, of)
            if should_stop():
                raise Stopped
        return jax.device_get(state.params), rows

    def _objective(
        self, params: PyTree, model_state: PyTree, pixels: Array, labels: Array, keys: Array
    ) -> tuple[Array, tuple[MicrobatchErrors, PyTree]]:
        del labels  # Pre-training has none.
        loss, error = self.unit.loss(params, self._inputs_fn(pixels), keys)
        return loss, (MicrobatchErrors(error, jnp.int32(0), jnp.int32(len(pixels))), model_state)

    def _optimizer(self, learning_rate: Any) -> Any:
        recipe = Recipe(momentum=self.settings.momentum)
        return optimizers.make_optimizer(learning_rate, recipe, weight_decay=0.0)

    def _draw(self, first: int, steps: int) -> Array:
        rows = batches.batch_indices(
            first,
            steps,
            batch_size=self.settings.batch_size,
            num_images=len(self.source.images),
            seed=self.seed,
        )
        return train_step.split_batches(rows, self.source.devices)

    def _key(self) -> Array:
        stream = jax.random.fold_in(jax.random.key(self.seed), PRETRAIN_STREAM)
        return jax.random.fold_in(stream, zlib.crc32(self.layer.name.encode()))

    def _place(self, tree: PyTree) -> PyTree:
        return train_step.replicate(tree, self.source.devices)


def make_unit(
    settings: Pretraining, layer: Layer, activation: str, deviation: float
) -> RBM | Autoencoder:
    """Makes what a layer is trained as: an RBM or an auto-encoder.

    Args:
        settings: How it is trained.
        layer: The convolution.
        activation: Name of the network's activation.
        deviation: Standard deviation of the layer's inputs around the means of their channels.

    Raises:
        ConfigError: If an RBM has no unit for the activation.
    """
    settings.check(activation)
    pooled = settings.competition == "2x2"
    if settings.method == "conv_autoencoder":
        activation_fn = get_activation(activation)
        return Autoencoder(layer.convolution, activation_fn, deviation, settings.noise, pooled)
    return RBM(
        layer.convolution,
        units.MAX_POOLED if pooled else units.BY_ACTIVATION[activation],
        units.gaussian(deviation),
        settings.gibbs_steps,
        settings.sparsity,
        settings.sparsity_rate,
    )


def best_rate(last_rows: Sequence[Row]) -> float:
    """The learning rate that reconstructs held-out images best; a rate that diverges never does.

    Args:
        last_rows: For each rate the row of its last point.

    Raises:
        LabError: If every rate has diverged.
    """
    finite = [row for row in last_rows if math.isfinite(float(row["held_out_error"]))]
    if not finite:
        rates = tuple(row["learning_rate"] for row in last_rows)
        raise LabError(
            f"{last_rows[0]['layer']} diverges at every rate of config.pretraining.learning_rates ="
            f" {rates}: they must be smaller"
        )
    return float(min(finite, key=lambda row: float(row["held_out_error"]))["learning_rate"])


def file_name(layer: str) -> str:
    """A layer's name as it stands in file names, where "/" may not."""
    return layer.replace("/", "_")
