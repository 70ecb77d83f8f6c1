"""Errors of networks, alone and averaged, on the images of a test set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from src.analysis.shares import Paired, Share, paired, share
from src.trained.candidates import Candidate
from src.trained.several import check_alike
from src.training import evaluation
from src.training.program import images_at_once
from src.weights.tensors import WeightsError

MOST_FEATURES = 2**30  # Numbers, which take 4 GiB.


class Errors(NamedTuple):
    """The shares of a test set that top 1 and top 5 miss."""

    top1: Share
    top5: Share


class Tested(NamedTuple):
    """The errors of networks on a test set.

    Attributes:
        labels: Labels of the images.
        alone: Number of views -> errors of each network by itself.
        together: Number of views -> errors of their averaged softmax.
        paired: Number of views -> for each network, top-1 errors of the average against its own,
            image by image; empty for one network.
        by_views: For each network, top-1 errors with the most views against those with the fewest;
            empty for one number of views.
        confusion: [classes, answers] numbers of images by class and answer of the average with the
            most views; the last column counts answers that are not classes of the data set.
        outputs: Number of each network's outputs, classes of the data set or not.
    """

    labels: Int[np.ndarray, " N"]
    alone: dict[int, list[Errors]]
    together: dict[int, Errors]
    paired: dict[int, list[Paired]]
    by_views: list[Paired]
    confusion: Int[np.ndarray, "classes answers"]
    outputs: int


def measure(candidates: Sequence[Candidate], views: Sequence[int], most: int = 0) -> Tested:
    """Errors of each network and of all together.

    Args:
        candidates: The networks, tested on the same images.
        views: Numbers of views to average, at least one: 1, 2 (image and mirror) or 10 (crops).
        most: Test only the first so many images; 0: all.

    Raises:
        DataError: If they are tested on different images.
        WeightsError: If they cannot be averaged.
    """
    check_alike(candidates)
    outputs = candidates[0].outputs
    alone: dict[int, list[Errors]] = {}
    together: dict[int, Errors] = {}
    pairs: dict[int, list[Paired]] = {}
    wrong: list[list[Bool[np.ndarray, " N"]]] = []
    for number in views:
        found = [probabilities(candidate, number, most) for candidate in candidates]
        labels = found[0][1]
        wanted = outputs[labels]
        alone[number] = [errors(scores, wanted) for scores, _ in found]
        mean = np.mean([scores for scores, _ in found], axis=0)
        together[number] = errors(mean, wanted)
        wrong.append([scores.argmax(axis=1) != wanted for scores, _ in found])
        if len(candidates) > 1:
            pairs[number] = [paired(each, mean.argmax(axis=1) != wanted) for each in wrong[-1]]
    by_views = [paired(*each) for each in zip(wrong[0], wrong[-1], strict=True)]
    by_views = by_views if len(views) > 1 else []
    counts = confusion(mean, labels, outputs)
    return Tested(labels, alone, together, pairs, by_views, counts, mean.shape[1])


def probabilities(
    candidate: Candidate, views: int, most: int = 0
) -> tuple[Float[np.ndarray, "N outputs"], Int[np.ndarray, " N"]]:
    """Softmax averaged over the views of each image, and the images' labels."""

    def mean_softmax(variables: PyTree, pixels: Array) -> Array:
        shown = view(pixels, *candidate.size, views)
        logits: Any = candidate.model.apply(variables, shown.reshape(-1, *shown.shape[2:]))
        return jax.nn.softmax(logits).reshape(views, len(pixels), -1).mean(axis=0)

    return _over_images(candidate, mean_softmax, views, most)


def view(
    images: Float[Array, "B H W C"], height: int, width: int, number: int
) -> Float[Array, "views B h w C"]:
    """Views of images: the central crop, that with its mirror image, or the paper's ten crops.

    Args:
        images: The images.
        height: Height of a view in pixels.
        width: Width of a view in pixels.
        number: Number of views: 1, 2 or 10.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 4.1.
    """
    if number == 10:
        return evaluation.ten_crops(images, height, width)
    centre = evaluation.central_crop(images, height, width)
    return jnp.stack([centre, centre[:, :, ::-1]][:number])


def features(
    candidate: Candidate, layer: str, most: int = 0
) -> tuple[Float[np.ndarray, "N ..."], Int[np.ndarray, " N"]]:
    """Outputs of a layer, before the activation that follows, for the central view of each image.

    Args:
        candidate: The network.
        layer: Name of the layer in `python -m src.networks`; `drop7` is fc7 after its activation.
        most: Use only the first so many images; 0: all.

    Returns:
        The outputs and the images' labels.

    Raises:
        WeightsError: If there is no such layer, or its outputs would be more than 4 GiB.
    """
    check_layer(candidate, layer, most)
    height, width = candidate.size

    def of_layer(variables: PyTree, pixels: Array) -> Array:
        return _layers(candidate, variables, evaluation.central_crop(pixels, height, width))[layer]

    return _over_images(candidate, of_layer, 1, most)


def check_layer(candidate: Candidate, layer: str, most: int = 0) -> None:
    """Refuses a layer whose outputs cannot be had, before any image is read; see `features`.

    Raises:
        WeightsError: If there is no such layer, or its outputs would be more than 4 GiB.
    """
    height, width = candidate.size
    channels = candidate.shift.shape[-1]
    image = jnp.zeros((2, height, width, channels))  # One would pass for all images.
    shapes: dict[
        str, tuple[int, ...]
    ] = {}  # Keeps the order of the layers; JAX's trees sort by name.

    def note(variables: PyTree, image: Array) -> None:
        shapes.update({k: v.shape for k, v in _layers(candidate, variables, image).items()})

    jax.eval_shape(note, candidate.variables, image)
    if layer not in shapes:
        raise WeightsError(f"{candidate.name} has no layer {layer!r}; it has {', '.join(shapes)}")
    numbers = candidate.count(most) * int(np.prod(shapes[layer][1:]))
    if numbers > MOST_FEATURES:
        raise WeightsError(
            f"features of {layer} are {numbers:,} numbers; a later layer has fewer, or give a"
            " number of --images"
        )


def _layers(candidate: Candidate, variables: PyTree, pixels: Array) -> dict[str, Array]:
    """The output of every layer by its name, if it is an array with a row for each image.

    Of a layer that is called again, it is that of the last call.
    """
    _, state = candidate.model.apply(
        variables, pixels, capture_intermediates=True, mutable=["intermediates"]
    )
    outputs: dict[str, Array] = {}

    def walk(tree: Any, path: tuple[str, ...]) -> None:
        for name, value in tree.items():
            if name == "__call__":
                if isinstance(value[-1], Array) and value[-1].shape[:1] == pixels.shape[:1]:
                    outputs["/".join(path)] = value[-1]
            elif isinstance(value, Mapping):  # Else the network itself has kept it there.
                walk(value, (*path, name))

    walk(state["intermediates"], ())
    outputs.pop("", None)  # Without the network itself.
    return outputs


def _over_images(
    candidate: Candidate, fn: Callable[[PyTree, Array], Array], views: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Applies `fn` to the variables and scaled pixels, batch by batch; returns labels as well."""
    at_once = images_at_once(views * candidate.size[0] ** 2)

    @jax.jit
    def on_batch(variables: PyTree, images: Array) -> Array:
        return fn(variables, (images.astype(jnp.float32) - candidate.shift) / candidate.scale)

    results: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for images, of_images in candidate.batches(at_once, most):
        size = len(results[0]) if results else len(images)
        missing = ((0, size - len(images)), (0, 0), (0, 0), (0, 0))  # One shape, one compilation.
        found = on_batch(candidate.variables, np.pad(images, missing))
        results.append(np.asarray(found)[: len(images)])
        labels.append(of_images)
    return np.concatenate(results), np.concatenate(labels)


def errors(scores: Float[np.ndarray, "N outputs"], wanted: Int[np.ndarray, " N"]) -> Errors:
    """Shares of images whose output is not the first, and not among the first five."""
    missed = [
        int(evaluation.misses(jnp.asarray(scores), jnp.asarray(wanted), k).sum())
        for k in (1, evaluation.TOP)
    ]
    return Errors(*(share(count, len(wanted)) for count in missed))


def confusion(
    scores: Float[np.ndarray, "N outputs"],
    labels: Int[np.ndarray, " N"],
    outputs: Int[np.ndarray, " classes"],
) -> Int[np.ndarray, "classes answers"]:
    """Numbers of images by class and answer; the last column counts answers of no class."""
    answers = np.full(scores.shape[1], len(outputs))
    answers[outputs] = np.arange(len(outputs))
    counts = np.zeros((len(outputs), len(outputs) + 1), np.int64)
    np.add.at(counts, (labels, answers[scores.argmax(axis=1)]), 1)
    return counts
