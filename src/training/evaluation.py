"""Top-1 and top-5 errors, and testing on ten crops (paper, sections 1 and 4.1)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

TOP = 5  # The paper reports top-1 and top-5 errors.

LogitsFn = Callable[[PyTree, Float[Array, "B H W C"]], Float[Array, "B classes"]]


def misses(
    scores: Float[Array, "B classes"], labels: Int[Array, " B"], k: int
) -> Bool[Array, " B"]:
    """Whether the label is not among the `k` highest scores.

    Among equal scores the lower class comes first, as with `argmax`: a network whose scores are all
    equal is right about class 0 alone.
    """
    _, best = lax.top_k(scores, min(k, scores.shape[-1]))
    return jnp.all(best != labels.reshape(-1, 1), axis=-1)


def central_crop(
    images: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "B height width C"]:
    """The middle of each image; an odd margin is larger by one pixel below and to the right."""
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def ten_crops(
    images: Float[Array, "B H W C"], height: int, width: int
) -> Float[Array, "10 B height width C"]:
    """Four corners and the centre of each image, then the same five mirrored left to right.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 4.1.
    """
    bottom, right = images.shape[1] - height, images.shape[2] - width
    corners = [
        images[:, top : top + height, left : left + width]
        for top in (0, bottom)
        for left in (0, right)
    ]
    five = jnp.stack([*corners, central_crop(images, height, width)])
    return jnp.concatenate([five, five[:, :, :, ::-1]])


def make_scores(logits_fn: LogitsFn, height: int, width: int, crops: int) -> LogitsFn:
    """Makes the function (params, images [B, H, W, C]) -> scores [B, classes].

    The class with the highest score is the network's answer.

    Args:
        logits_fn: The network, testing; its input is `height` by `width` pixels.
        height: Height of each crop.
        width: Width of each crop.
        crops: 1: logits of the central crop. 10: softmax averaged over `ten_crops`.
    """

    def of_centre(params: PyTree, images: Array) -> Array:
        return logits_fn(params, central_crop(images, height, width))

    def of_ten(params: PyTree, images: Array) -> Array:
        views = ten_crops(images, height, width)
        logits = logits_fn(params, views.reshape(-1, *views.shape[2:]))
        return jax.nn.softmax(logits).reshape(10, len(images), -1).mean(axis=0)

    return of_ten if crops == 10 else of_centre
