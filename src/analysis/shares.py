"""Shares of images, and differences of two shares of the same images, with their intervals."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from src.analysis.distributions import binomial_tail, normal_quantile
from src.analysis.intervals import LEVEL


class Share(NamedTuple):
    """A share of images, such as those a network gets wrong.

    Attributes:
        wrong: Number of images in the share.
        images: Number of all images that were looked at.
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

    It covers the choice of the images alone; another seed of the same training differs by more.

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


class Paired(NamedTuple):
    """How the errors of two networks on the same images differ.

    Attributes:
        only_first: Number of images that only the first gets wrong.
        only_second: Number of images that only the second gets wrong.
        value: Share of images that the second gets wrong, minus that of the first.
        low: Lower end of its 95% interval.
        high: Upper end.
        p: Two-sided p-value of no difference: McNemar's exact test.
    """

    only_first: int
    only_second: int
    value: float
    low: float
    high: float
    p: float


def paired(first: Bool[np.ndarray, " images"], second: Bool[np.ndarray, " images"]) -> Paired:
    """The difference of two shares of the same images, with its interval.

    It covers the choice of the images alone, as `share` does.

    Args:
        first: [images] whether the first network gets the image wrong.
        second: [images] whether the second does.

    Source: McNemar (1947) for the test; Newcombe (1998), "Improved confidence intervals for the
    difference between binomial proportions based on paired data", method 10, for the interval,
    which joins Wilson's of both shares.
    """
    n = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    both = int((first & second).sum())
    one, two = share(both + only_first, n), share(both + only_second, n)
    phi = _correlation(both, only_first, only_second, n)
    below = _joined(two.value - two.low, one.high - one.value, phi)
    above = _joined(two.high - two.value, one.value - one.low, phi)
    value = two.value - one.value
    p = 2 * binomial_tail(min(only_first, only_second), only_first + only_second)
    return Paired(only_first, only_second, value, value - below, value + above, min(1.0, p))


def _joined(a: float, b: float, phi: float) -> float:
    """Distance of an end of a difference from its value, from those of the two shares' ends."""
    return math.sqrt(max(0.0, a**2 - 2 * phi * a * b + b**2))


def _correlation(both: int, only_first: int, only_second: int, n: int) -> float:
    """Correlation between the networks' errors, with Newcombe's correction for continuity."""
    neither = n - both - only_first - only_second
    margins = (both + only_first) * (only_second + neither)
    margins *= (both + only_second) * (only_first + neither)
    if not margins:
        return 0.0
    product = both * neither - only_first * only_second
    return (max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins)
