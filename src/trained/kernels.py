"""First-layer kernels: whether they have a structure, and which tower has the colour."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

ROUNDING = 1e-6  # What is smaller beside the kernels was not learned.
DEALS = 9999  # Number of times that the kernels are dealt to the towers at random.


class Kernels(NamedTuple):
    """A layer's kernels after training, and those that it began with."""

    trained: Float[np.ndarray, "h w channels kernels"]
    started: Float[np.ndarray, "h w channels kernels"]

    @property
    def left(self) -> float:
        """Least-squares coefficient of the initial kernels in the trained ones; 0 if these were."""
        of_started = np.sum(self.started**2)
        return float(np.sum(self.trained * self.started) / of_started) if of_started else 0.0

    @property
    def learned(self) -> Float[np.ndarray, "h w channels kernels"]:
        """The trained kernels minus what is left of the initial ones."""
        return self.trained - np.float32(self.left) * self.started


def describe(kernels: Kernels, towers: int) -> dict[str, Any]:
    """Numbers for the record: the structure that training has given them, and colour by tower.

    Of kernels that are as they began, or have only shrunk, nothing is learned, and one channel has
    no colour: what is said of these is None.
    """
    of_towers = np.split(kernels.learned, towers, axis=-1)
    least = ROUNDING * np.linalg.norm(kernels.trained)
    learned = [bool(np.linalg.norm(tower) > least) for tower in of_towers]
    has_colour = kernels.trained.shape[2] > 1 and all(learned)
    apart = specialization(kernels.learned, towers) if has_colour else None
    return {
        "count": kernels.trained.shape[-1],
        "correlation": correlation_side_by_side(kernels.trained),
        "correlation_before_training": correlation_side_by_side(kernels.started),
        "left_of_the_beginning": kernels.left,
        "correlation_of_what_is_learned": (
            correlation_side_by_side(kernels.learned) if any(learned) else None
        ),
        "colour_of_what_is_learned": list(map(colour_share, of_towers)) if has_colour else None,
        "colour_apart": apart and apart.difference,
        "colour_apart_p": apart and apart.p,
    }


def correlation_side_by_side(kernels: Float[np.ndarray, "h w channels kernels"]) -> float | None:
    """Correlation of weights one pixel apart, to the right or below, in one channel and kernel.

    None if they are all the same.
    """
    if not np.ptp(kernels):
        return None
    right = (kernels[:, :-1].ravel(), kernels[:, 1:].ravel())
    below = (kernels[:-1].ravel(), kernels[1:].ravel())
    return float(np.corrcoef(np.concatenate([right, below], axis=1))[0, 1])


def colour_share(kernels: Float[np.ndarray, "h w channels kernels"]) -> float:
    """Share of the squared weights that channels do not share: 0 if grey; of 3, 2/3 if random."""
    common = kernels.mean(axis=2, keepdims=True)
    return float(np.sum((kernels - common) ** 2) / np.sum(kernels**2))


class Specialization(NamedTuple):
    """How far apart the towers are in colour.

    Attributes:
        difference: The largest colour share of a tower minus the smallest.
        p: Share of random deals of the same kernels to towers in which it is at least as large.
    """

    difference: float
    p: float


def specialization(
    kernels: Float[np.ndarray, "h w channels kernels"], towers: int
) -> Specialization:
    """Whether the kernels with colour lie in one tower, by a permutation test over kernels.

    Deals derive from a fixed seed, so that the same kernels have the same p.
    """
    common = kernels.mean(axis=2, keepdims=True)
    colour, whole = (
        np.einsum("hwck->k", each.astype(np.float64) ** 2) for each in (kernels - common, kernels)
    )
    order = np.tile(np.arange(kernels.shape[-1]), (1 + DEALS, 1))
    order[1:] = np.random.default_rng(0).permuted(order[1:], axis=1)
    of_towers = (each[order].reshape(1 + DEALS, towers, -1).sum(axis=2) for each in (colour, whole))
    shares = np.divide(*of_towers)
    apart = shares.max(axis=1) - shares.min(axis=1)
    # Sums in another order differ by rounding, which must not count.
    return Specialization(float(apart[0]), float(np.mean(apart >= apart[0] - 1e-9)))
