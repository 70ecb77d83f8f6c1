"""A share of images and how surely it is known."""

import math
from typing import NamedTuple

from src.analysis.distributions import normal_quantile

LEVEL = 0.95


class Share(NamedTuple):
    """A share of images, such as those a network gets wrong.

    Attributes:
        wrong: How many they are.
        images: Of how many.
        value: wrong / images.
        low: Lower end of the 95% interval.
        high: Upper end.
    """

    wrong: int
    images: int
    value: float
    low: float
    high: float


def share(wrong: int, images: int) -> Share:
    """A share with Wilson's interval, which is sound for few images and near 0 and 1 too.

    It covers the choice of the images alone: another seed of the same training differs by more.

    Raises:
        ValueError: If there are no images, or more are counted than there are.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= wrong <= images or not images:
        raise ValueError(f"{wrong} of {images} images is no share")
    z = float(normal_quantile((1 + LEVEL) / 2))
    value, n = wrong / images, images
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return Share(wrong, images, value, max(0.0, centre - half), min(1.0, centre + half))
