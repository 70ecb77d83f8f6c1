"""Nearest neighbours among feature vectors, and how often they are of the same class."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

AT_ONCE = 500  # The distances of so many queries to all keys are held in memory.


class SameClass(NamedTuple):
    """The share of an image's neighbours that have its class, as a mean over many images.

    Attributes:
        value: The mean, a fraction.
        low: Lower end of its 95% interval.
        high: Upper end.
        chance: The share among neighbours drawn at random.
    """

    value: float
    low: float
    high: float
    chance: float


def nearest(
    queries: Float[np.ndarray, "Q F"], keys: Float[np.ndarray, "N F"], k: int
) -> Int[np.ndarray, "Q K"]:
    """Rows of the `k` keys of smallest Euclidean distance to each query, nearest first.

    Fewer keys than `k` are all returned.
    """
    k = min(k, len(keys))
    squares = np.einsum("nf,nf->n", keys, keys)
    found = []
    for at in range(0, len(queries), AT_ONCE):
        some = queries[at : at + AT_ONCE]
        # The squared distance without the query's own square, which does not change the order.
        distances = squares[None, :] - 2 * (some @ keys.T)
        rows = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, rows, axis=1), axis=1)
        found.append(np.take_along_axis(rows, order, axis=1))
    return np.concatenate(found)


def share_of_same_class(
    labels: Int[np.ndarray, " Q"],
    rows: Int[np.ndarray, "Q k"],
    key_labels: Int[np.ndarray, " N"],
) -> SameClass:
    """How many of each query's neighbours have its label; of one query the interval is [0, 1].

    Args:
        labels: Labels of the queries.
        rows: Their neighbours.
        key_labels: Labels of all that could have been neighbours.
    """
    shares = (key_labels[rows] == labels[:, None]).mean(axis=1)
    classes = max(labels.max(), key_labels.max()) + 1
    frequencies = np.bincount(key_labels, minlength=classes) / len(key_labels)
    value = float(shares.mean())
    chance = float(frequencies[labels].mean())
    if len(shares) == 1:
        return SameClass(value, 0.0, 1.0, chance)
    half = float(1.96 * shares.std(ddof=1) / np.sqrt(len(shares)))
    return SameClass(value, value - half, value + half, chance)
