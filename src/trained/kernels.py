"""First-layer kernels: whether they have a structure, and colour."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Kernels(NamedTuple):
    """A layer's kernels after training, and the random ones that it began with."""

    trained: Float[np.ndarray, "h w channels kernels"]
    started: Float[np.ndarray, "h w channels kernels"]

    @property
    def left(self) -> float:
        """The share of the beginning that is still there, by least squares."""
        return float(np.sum(self.trained * self.started) / np.sum(self.started**2))

    @property
    def learned(self) -> Float[np.ndarray, "h w channels kernels"]:
        """Without what is left of the beginning."""
        return self.trained - np.float32(self.left) * self.started


def describe(kernels: Kernels, towers: int) -> dict[str, Any]:
    """The numbers that say whether training has given them a structure, colour by tower."""
    return {
        "count": kernels.trained.shape[-1],
        "correlation": correlation_side_by_side(kernels.trained),
        "correlation_before_training": correlation_side_by_side(kernels.started),
        "left_of_the_beginning": kernels.left,
        "correlation_of_what_is_learned": correlation_side_by_side(kernels.learned),
        "colour_of_what_is_learned": [
            colour_share(tower) for tower in np.split(kernels.learned, towers, axis=-1)
        ],
    }


def correlation_side_by_side(kernels: Float[np.ndarray, "h w channels kernels"]) -> float:
    """Between weights one pixel apart, to the right or below, of the same channel and kernel."""
    right = (kernels[:, :-1].ravel(), kernels[:, 1:].ravel())
    below = (kernels[:-1].ravel(), kernels[1:].ravel())
    return float(np.corrcoef(np.concatenate([right, below], axis=1))[0, 1])


def colour_share(kernels: Float[np.ndarray, "h w channels kernels"]) -> float:
    """Of the squared weights, what the channels do not have in common: 0 grey; 2/3 random."""
    common = kernels.mean(axis=2, keepdims=True)
    return float(np.sum((kernels - common) ** 2) / np.sum(kernels**2))
