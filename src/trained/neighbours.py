"""Nearest neighbours among feature vectors, and how often they are of the same class."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Num

from src.analysis import intervals
from src.analysis.shares import share

AT_ONCE = 500  # So many queries and keys are compared at a time, in double precision.


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
    queries: Num[np.ndarray, "Q ..."], keys: Num[np.ndarray, "N ..."], k: int
) -> Int[np.ndarray, "Q K"]:
    """Rows of the `k` keys of smallest Euclidean distance to each query, nearest first.

    Fewer keys than `k` are all returned; of equally distant ones the first.
    """
    starts = range(0, len(queries), AT_ONCE)
    return np.concatenate([_nearest(queries[at : at + AT_ONCE], keys, k) for at in starts])


def _nearest(
    queries: Num[np.ndarray, "Q ..."], keys: Num[np.ndarray, "N ..."], k: int
) -> Int[np.ndarray, "Q K"]:
    """The same with all queries at once; of the keys seen so far the nearest are kept."""
    queries = queries.reshape(len(queries), -1).astype(np.float64)
    distances: np.ndarray = np.empty((len(queries), 0))
    rows: np.ndarray = np.empty((len(queries), 0), np.int64)
    for at in range(0, len(keys), AT_ONCE):
        some = keys[at : at + AT_ONCE].reshape(-1, queries.shape[1]).astype(np.float64)
        # The squared distance without the query's own square, which does not change the order.
        new = np.einsum("nf,nf->n", some, some) - 2 * (queries @ some.T)
        numbers = np.broadcast_to(np.arange(at, at + len(some)), new.shape)
        distances, rows = np.hstack([distances, new]), np.hstack([rows, numbers])
        nearest_first = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances, rows = (np.take_along_axis(x, nearest_first, axis=1) for x in (distances, rows))
    return rows


def share_of_same_class(
    labels: Int[np.ndarray, " Q"],
    rows: Int[np.ndarray, "Q k"],
    key_labels: Int[np.ndarray, " N"],
) -> SameClass:
    """How many of each query's neighbours have its label; of one query the interval is [0, 1].

    Queries that all have the same share, such as all neighbours, count like one yes or no each.

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
    if np.ptp(shares) <= intervals.SMALLEST_SPREAD:
        interval = share(round(value * len(shares)), len(shares))
        return SameClass(value, min(value, interval.low), max(value, interval.high), chance)
    low, high = intervals.of_mean(shares)
    return SameClass(value, max(0.0, low), min(1.0, high), chance)
