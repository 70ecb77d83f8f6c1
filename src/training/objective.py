"""The loss that a step minimizes, and the errors that it records of a micro-batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

# The network on a batch in training: (params, model_state, pixels [B, H, W, C] float, example keys
# [B]) -> logits [B, classes] and the new model_state; with auxiliary classifiers a tuple of logits,
# theirs last.
ApplyFn = Callable[..., Any]
AUXILIARY_WEIGHT = 0.3  # Szegedy et al. (2015), section 5


class MicrobatchErrors(NamedTuple):
    """What is recorded of a micro-batch.

    Attributes:
        loss: Mean over its images, or their sum where batches are ragged.
        wrong: Number of misclassified images.
        seen: Number of images.
    """

    loss: Float[Array, ""]
    wrong: Int[Array, ""]
    seen: Int[Array, ""]


# (params, model_state, pixels [b, H, W, C], labels [b], keys [b]) -> (the loss that is minimized,
# (what is recorded, the new model_state)).
Objective = Callable[..., tuple[Array, tuple[MicrobatchErrors, PyTree]]]


def make_classification(apply_fn: ApplyFn, *, ragged: bool = False) -> Objective:
    """The objective of a classifier.

    Args:
        apply_fn: The network.
        ragged: Whether labels of -1 may fill up a batch: losses are then sums over the others.
    """

    def classify(
        params: PyTree, model_state: PyTree, pixels: Array, labels: Array, keys: Array
    ) -> tuple[Array, tuple[MicrobatchErrors, PyTree]]:
        outputs, model_state = apply_fn(params, model_state, pixels, keys)
        total, (loss, logits) = losses(outputs, labels, ragged=ragged)
        wrong = jnp.argmax(logits, axis=-1) != labels
        seen = jnp.sum(labels >= 0) if ragged else jnp.int32(len(labels))
        missed = jnp.sum(wrong & (labels >= 0)) if ragged else jnp.sum(wrong)
        return total, (MicrobatchErrors(loss, missed, seen), model_state)

    return classify


def losses(
    outputs: Any, labels: Int[Array, " b"], *, ragged: bool = False
) -> tuple[Array, tuple[Array, Array]]:
    """Cross entropy, of auxiliary classifiers too if the network has them.

    Args:
        outputs: Logits [b, classes], or a tuple with those of auxiliary classifiers after them.
        labels: Classes, -1 where there is no image.
        ragged: Whether to sum over the images that are there instead of averaging over all.

    Returns:
        The loss that is minimized, and what is recorded: loss and logits of the main classifier.

    Source: Szegedy et al. (2015), "Going deeper with convolutions", section 5, for the weight of
    the auxiliary classifiers.
    """
    logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    loss, *others = [_cross_entropy(each, labels, ragged) for each in (logits, *auxiliary)]
    return loss + AUXILIARY_WEIGHT * sum(others), (loss, logits)


def _cross_entropy(logits: Array, labels: Array, ragged: bool) -> Array:
    if not ragged:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return jnp.sum(jnp.where(labels >= 0, each, 0.0))
