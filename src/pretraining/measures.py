"""Measures of a layer while it is pre-trained, above all how well it reconstructs its inputs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from src.errors import LabError
from src.models import get_activation
from src.pretraining.autoencoder import Autoencoder
from src.pretraining.rbm import RBM
from src.pretraining.source import InputsFn, Source

MEASURED, CHUNK = 1000, 100  # Images of each kind that are measured, and how many of them at once.
Row = dict[str, float | int | str]


def spread_of_inputs(
    source: Source, inputs_fn: InputsFn, layer: str
) -> tuple[Float[np.ndarray, " I"], float]:
    """Mean of each channel that a layer reads, and one deviation around them for all channels.

    There is only one deviation, since a nearly dead channel would otherwise weigh as much as the
    others.

    Raises:
        LabError: If the layer reads the same of every image.
    """
    read = jax.jit(lambda images: inputs_fn(source.scaled(images)))
    chunks = _chunks(source.images[:MEASURED])
    inputs = np.concatenate([read(chunk) for chunk in chunks]).astype(np.float64)
    means = inputs.mean(axis=(0, 1, 2))
    deviation = float(np.sqrt(np.mean((inputs - means) ** 2)))
    if not deviation > 0:
        raise LabError(f"{layer} reads the same of every image: nothing to learn")
    return means.astype(np.float32), deviation


def make_measure_fn(
    source: Source, inputs_fn: InputsFn, unit: RBM | Autoencoder, means: Float[np.ndarray, " I"]
) -> Callable[[PyTree], Row]:
    """Makes the function (parameters of a layer) -> its measures, a row of metrics.csv.

    Errors are in units of the inputs' variance; activity and shares of units are means over images
    and places.

    Args:
        source: The images that are trained on, and those held out.
        inputs_fn: Pixels -> the layer's inputs.
        unit: The RBM or auto-encoder that it is trained as.
        means: Mean of each channel of its inputs.
    """
    sums = _make_sums_fn(source, inputs_fn, unit, means)

    def measured(params: PyTree, images: UInt8[np.ndarray, "n H W C"]) -> dict[str, Any]:
        found = [jax.device_get(sums(params, chunk)) for chunk in _chunks(images)]
        return {name: sum(np.float64(each[name]) for each in found) for name in found[0]}

    def measure(params: PyTree) -> Row:
        seen, held_out = (
            measured(params, images[:MEASURED]) for images in (source.images, source.held_out)
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

    return measure


def _make_sums_fn(
    source: Source, inputs_fn: InputsFn, unit: RBM | Autoencoder, means: Float[np.ndarray, " I"]
) -> Callable[[PyTree, Array], dict[str, Array]]:
    """(parameters of a layer, images [n, H, W, C]) -> sums over images, pixels and channels.

    `on` is summed over images and places alone, and has an entry for each unit [O].
    """

    @jax.jit
    def sums(params: PyTree, images: Array) -> dict[str, Array]:
        inputs = inputs_fn(source.scaled(images))
        total = unit.total_input(params, inputs)
        energy = unit.free_energy(params, inputs) if isinstance(unit, RBM) else math.nan
        activity = get_activation(source.activation)(total)
        return {
            "squares": jnp.sum((unit.reconstruct(params, inputs) - inputs) ** 2),
            "variation": jnp.sum((inputs - means.reshape(1, 1, 1, -1)) ** 2),
            "energy": jnp.sum(energy),
            "values": jnp.float32(inputs.size),
            "activity": jnp.sum(activity),
            "on": jnp.sum(total > 0, axis=(0, 1, 2)),
            "places": jnp.float32(total.size // total.shape[-1]),
        }

    return sums


def _chunks(images: UInt8[np.ndarray, "n H W C"]) -> list[Any]:
    return [images[at : at + CHUNK] for at in range(0, len(images), CHUNK)]
