"""Shift and scale of the network's input, and its colour components, from all training images."""

import operator
from collections.abc import Iterable
from itertools import combinations_with_replacement
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

CHUNK = 1000  # Images summed at a time.
SCALE = 64  # Grey levels.
Input = Literal["centered", "scaled", "standardized"]


class ImageSums(NamedTuple):
    """Sums over images: whole numbers, so that neither order nor grouping changes a bit of them.

    Attributes:
        num_images: Number of images.
        pixels: Sum of the images.
        products: Sums, over all pixels, of the products of two channels' grey levels.
    """

    num_images: int
    pixels: Int[np.ndarray, "H W C"]
    products: Int[np.ndarray, "C C"]


def sum_images(chunks: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> ImageSums:
    """Sums over all images of all chunks.

    Args:
        chunks: Each is small enough to be held as 8-byte numbers.

    Raises:
        ValueError: If there is no chunk.
    """
    total = None
    for chunk in chunks:
        more = _sum_chunk(chunk)
        total = ImageSums(*map(operator.add, total, more)) if total else more
    if total is None:
        raise ValueError("no images to sum over")
    return total


def _sum_chunk(images: UInt8[np.ndarray, "_ H W C"]) -> ImageSums:
    channels = images.reshape(-1, images.shape[-1]).T.astype(np.float64, order="C")
    # Sums are exact below 2**53, that is, up to 10**11 pixels. A matrix product would keep all
    # cores busy waiting, for very little work.
    products = np.zeros((len(channels),) * 2)
    for (i, a), (j, b) in combinations_with_replacement(enumerate(channels), 2):
        products[i, j] = products[j, i] = np.einsum("n,n", a, b)
    pixels = images.sum(axis=0, dtype=np.int64)
    return ImageSums(len(images), pixels, products.astype(np.int64))


def in_chunks(images: UInt8[np.ndarray, "N H W C"]) -> Iterable[UInt8[np.ndarray, "_ H W C"]]:
    """The images, `CHUNK` at a time."""
    return (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))


def input_scaling(
    sums: ImageSums, kind: Input
) -> tuple[Float[np.ndarray, "1 _ _ C"], Float[np.ndarray, "1 _ _ #C"]]:
    """Shift and scale of the network's input, (pixels - shift) / scale.

    Args:
        sums: Sums over the training images.
        kind: `centered`: minus the mean image, in grey levels (cuda-convnet; paper, section 2).
            `scaled`: that divided by 64, which is near the deviation of natural images. It is a
            power of two, so that a net on `centered` input is this one with 64 times the first
            kernel, bit for bit. `standardized`: minus the mean and divided by the standard
            deviation of each channel.

    Returns:
        Two float32 arrays, in grey levels, that can be broadcast to [B, H, W, C].
    """
    if kind in ("centered", "scaled"):
        shift = (sums.pixels / sums.num_images)[None]
        scale = np.full((1, 1, 1, 1), SCALE if kind == "scaled" else 1, np.float32)
        return shift.astype(np.float32), scale
    mean, products = _means(sums)
    variance = np.diag(products) - mean**2
    deviation = np.where(variance > 0, np.sqrt(variance), 1.0)  # A constant channel becomes 0.
    shape = (1, 1, 1, -1)
    return mean.astype(np.float32).reshape(shape), deviation.astype(np.float32).reshape(shape)


def _means(sums: ImageSums) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, "C C"]]:
    """Means over all pixels: grey level of each channel, and product of each two channels."""
    height, width, _ = sums.pixels.shape
    total = sums.num_images * height * width
    return sums.pixels.sum(axis=(0, 1)) / total, sums.products / total


def colour_components(sums: ImageSums) -> Float[np.ndarray, "C C"]:
    """Principal components of the pixels' colours, as columns of the length of their deviation.

    DEVIATION: the paper multiplies alpha by the *eigenvalue*, a variance, whose effect depends on
    the unit of the pixels; in grey levels it would drown the image. The code that its author
    released multiplies by the standard deviation (`color_stdevs` in cuda-convnet2's convdata.py),
    and so does this. That code also divides the sum by 1 + sigma; this one does not, since the
    paper says nothing of it.

    Returns:
        [C, C] grey levels; the sign of each column is such that its largest entry is positive.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 4.1.
    """
    mean, products = _means(sums)
    variances, vectors = np.linalg.eigh(products - np.outer(mean, mean))
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))]
    deviations = np.sqrt(np.maximum(variances, 0))
    return (vectors * np.sign(largest) * deviations).astype(np.float32)
