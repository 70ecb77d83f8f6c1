"""A stack: the convolutions of a network, each pre-trained on what those below make of images.

Labels are not looked at anywhere: each layer has the learning rate whose reconstruction of held-out
images is best.
"""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from src.data import batches
from src.errors import LabError
from src.models import get_activation
from src.pretraining import units
from src.pretraining.autoencoder import Autoencoder
from src.pretraining.layers import Layer, layer_input
from src.pretraining.rbm import RBM
from src.pretraining.settings import Pretraining
from src.records.trial import Identity
from src.training import checkpoints, optimizers
from src.training import step as train_step
from src.training.optimizers import Recipe
from src.training.step import Images, PartErrors, TrainState

PRETRAIN_STREAM = 2  # keeps these draws apart from a trial's, whose streams are 0 and 1
POINTS = 4  # measured and saved for each layer and rate, evenly spaced
MEASURED, CHUNK = 1000, 100  # images of each kind that are measured, and how many of them at once
Row = dict[str, float | int | str]


class Stopped(Exception):
    """Pre-training was told to stop; what was done is saved."""


@dataclass(frozen=True)
class Source:
    """A network, and images without labels.

    Attributes:
        model: The network.
        activation: Behind its convolutions.
        init: Seed of a trial -> parameters as they begin.
        images: Unlabelled, in grey levels.
        held_out: Further ones, on which reconstruction is measured.
        shift: Of the network's input, as in `step.Images`.
        scale: See there.
        devices: The step is spread over them.
        parallel: How.
    """

    model: nn.Module
    activation: str
    init: Callable[[int], PyTree]
    images: UInt8[np.ndarray, "N H W C"]
    held_out: UInt8[np.ndarray, "M H W C"]
    shift: Float[np.ndarray, "1 #H #W C"]
    scale: Float[np.ndarray, "1 #H #W C"]
    devices: Sequence[jax.Device]
    parallel: train_step.Parallel = "pmap"


class LayerTrainer:
    """One layer on top of a frozen network; its learning rate is not chosen yet."""

    def __init__(
        self, source: Source, settings: Pretraining, seed: int, layer: Layer, below: PyTree
    ):
        """Measures what the layer reads; nothing is trained.

        Args:
            source: Network and images.
            settings: How it is trained.
            seed: Of the trial.
            layer: Which.
            below: Parameters of the network, the layers below pre-trained.
        """
        self.source, self.settings, self.seed, self.layer = source, settings, seed, layer
        fixed = jax.device_get(below)

        def inputs_fn(pixels: Array) -> Array:
            params = jax.tree.map(jnp.asarray, fixed)
            return layer_input(source.model, params, layer.name, pixels)

        self._inputs_fn = inputs_fn
        self.means, self.deviation = self._spread_of_inputs()
        self.unit = make_unit(settings, layer, source.activation, self.deviation)
        self._steps = train_step.across_devices(
            train_step.make_steps(self._objective, self._optimizer),
            source.parallel,
            arguments=5,
            donate_state=True,
            devices=source.devices,
        )
        self._data = self._place(
            Images(
                source.images, np.zeros(len(source.images), np.int32), source.shift, source.scale
            )
        )
        self._measure_chunk = jax.jit(self._sums)

    def start(self) -> TrainState:
        """Kernels begin normal and small, biases at zero, visible ones at the inputs' mean."""
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
    ) -> tuple[PyTree, list[Row]]:
        """All steps at one rate, going on from where a killed process saved itself.

        Args:
            learning_rate: Of every step.
            folder: For checkpoints.
            of: The stack, which its checkpoints name.
            should_stop: Asked after every point.
            on_point: Told of every point.

        Returns:
            The layer's parameters, and what was measured at each point.

        Raises:
            Stopped: If `should_stop` said so.
        """
        place = folder / f"{file_name(self.layer.name)}-lr{learning_rate:g}"
        arrays, kept, _ = checkpoints.restore(place, {"state": self.start()}, of)
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

    def measure(self, params: PyTree) -> Row:
        """Reconstruction error, in units of the inputs' variance, and what the units do."""
        seen, held_out = (
            self._measured(params, images[:MEASURED])
            for images in (self.source.images, self.source.held_out)
        )
        on = held_out["on"] / held_out["places"]
        return {
            "train_error": float(seen["squares"] / seen["variation"]),
            "held_out_error": float(held_out["squares"] / held_out["variation"]),
            "free_energy_gap": float(
                held_out["energy"] / held_out["values"] - seen["energy"] / seen["values"]
            ),
            "mean_activity": float(held_out["activity"] / (held_out["places"] * len(on))),
            "always_on": float(np.mean(on == 1)),
            "never_on": float(np.mean(on == 0)),
            "norm": float(np.linalg.norm(params["kernel"])),
        }

    def _objective(
        self, params: PyTree, model_state: PyTree, pixels: Array, labels: Array, keys: Array
    ) -> tuple[Array, tuple[PartErrors, PyTree]]:
        del labels  # there are none
        loss = self.unit.loss(params, self._inputs_fn(pixels), keys)
        return loss, (PartErrors(loss, jnp.int32(0), jnp.int32(len(pixels))), model_state)

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

    def _read(self, images: Array) -> Array:
        return self._inputs_fn((images.astype(jnp.float32) - self.source.shift) / self.source.scale)

    def _spread_of_inputs(self) -> tuple[Float[np.ndarray, " I"], float]:
        """Mean of each channel, and one deviation around them for all.

        One alone, for a channel that is nearly dead would otherwise weigh as much as the others.
        """
        read, chunks = jax.jit(self._read), _chunks(self.source.images[:MEASURED])
        inputs = np.concatenate([read(chunk) for chunk in chunks]).astype(np.float64)
        means = inputs.mean(axis=(0, 1, 2))
        deviation = float(np.sqrt(np.mean((inputs - means) ** 2)))
        if not deviation > 0:
            raise LabError(f"{self.layer.name} reads the same of every image: nothing to learn")
        return means.astype(np.float32), deviation

    def _measured(self, params: PyTree, images: UInt8[np.ndarray, "n H W C"]) -> dict[str, Any]:
        sums = [jax.device_get(self._measure_chunk(params, chunk)) for chunk in _chunks(images)]
        return {name: sum(np.float64(each[name]) for each in sums) for name in sums[0]}

    def _sums(self, params: PyTree, images: Array) -> dict[str, Array]:
        """Over images, pixels and, but for `on`, channels."""
        inputs = self._read(images)
        total = self.unit.total_input(params, inputs)
        energy = self.unit.free_energy(params, inputs) if isinstance(self.unit, RBM) else math.nan
        activity = get_activation(self.source.activation)(total)
        return {
            "squares": jnp.sum((self.unit.reconstruct(params, inputs) - inputs) ** 2),
            "variation": jnp.sum((inputs - self.means.reshape(1, 1, 1, -1)) ** 2),
            "energy": jnp.sum(energy),
            "values": jnp.float32(inputs.size),
            "activity": jnp.sum(activity),
            "on": jnp.sum(total > 0, axis=(0, 1, 2)),
            "places": jnp.float32(total.size // total.shape[-1]),
        }


def make_unit(
    settings: Pretraining, layer: Layer, activation: str, deviation: float
) -> RBM | Autoencoder:
    """What a layer is trained as.

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
    """The learning rate whose held-out images are reconstructed best; nan never is.

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
    """A layer's name as a part of a file's."""
    return layer.replace("/", ".")


def _chunks(images: UInt8[np.ndarray, "n H W C"]) -> list[Any]:
    return [images[at : at + CHUNK] for at in range(0, len(images), CHUNK)]
