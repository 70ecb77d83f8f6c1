"""Random variation of training images on the device, each with its own key (paper, section 4.1).

Everything here acts on centred grey levels: pixels minus the training set's mean, not yet divided
by its deviation. Zero is then the mean pixel, and fills the border of a translated image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from src.fields import AtLeast, Within

Image = Float[Array, "H W C"]
AugmentFn = Callable[[Float[Array, "B H W C"], Array, Array, Array], Float[Array, "B h w C"]]

PLACINGS = 3  # Images may share the first three operations: crop, translation and flip.
AUGMENT_STREAM = 2**31 - 1  # Keeps these draws apart from dropout's, which has the same keys.


@dataclass(frozen=True)
class Augment:
    """How training images are varied at random (paper, section 4.1).

    An operation that is off draws no random numbers.
    """

    crop: Annotated[
        int,
        Within(0, 1000, "0 (off) or pixels"),
        "side of a random square, tested on the central one; 0: whole images; paper: 224 of 256",
    ] = 0
    translation: Annotated[
        int, Within(0, 1000, "0 (off) or pixels"), "largest shift up, down and sideways, pixels"
    ] = 0
    flip: Annotated[bool, "mirror half of the images left to right"] = False
    noise: Annotated[
        float,
        Within(0, 255, "0 (off) or a deviation"),
        "standard deviation of noise on every value, grey levels",
    ] = 0.0
    pca: Annotated[
        float,
        Within(0, 255, "0 (off) or a deviation"),
        "standard deviation of the paper's alpha, which has 0.1",
    ] = 0.0
    pca_epochs: Annotated[
        float,
        AtLeast(0, most=10**5),
        "epochs after which colours are left alone; 0: they never are",
    ] = 0.0
    shared: Annotated[
        int,
        AtLeast(1, most=10**6),
        "so many consecutive images of a batch have one crop, shift and flip; 32 as run in 2012",
    ] = 1

    def taken(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Height, width and channels of what a network reads of images of that shape."""
        height, width, channels = shape
        return self.crop or height, self.crop or width, channels


def make_augment_fn(
    options: Augment, components: Float[np.ndarray, "C C"], pca_steps: int | None = None
) -> AugmentFn | None:
    """Makes the function (images [B, H, W, C], keys [B], shared keys [B], step) -> images.

    Args:
        options: The operations.
        components: [C, C] from `scaling.colour_components`; used if `options.pca` is not 0.
        pca_steps: Number of updates after which colours are left alone; None: never.

    Returns:
        The function; None if all operations are off.
    """
    crop, translation, noise, pca = options.crop, options.translation, options.noise, options.pca

    def colour(image: Image, key: Array, step: Array) -> Image:
        changed = add_colour(image, key, pca, jnp.asarray(components))
        return changed if pca_steps is None else jnp.where(step < pca_steps, changed, image)

    # Keys derive from the place in this list, so an operation that is off changes no other's draws.
    operations: list[tuple[bool, Callable[[Image, Array, Array], Image]]] = [
        (crop > 0, lambda image, key, step: random_crop(image, key, crop)),
        (translation > 0, lambda image, key, step: translate(image, key, translation)),
        (options.flip, lambda image, key, step: random_flip(image, key)),
        (pca > 0, colour),
        (noise > 0, lambda image, key, step: add_noise(image, key, noise)),
    ]
    if not any(used for used, _ in operations):
        return None

    def augment(image: Array, key: Array, shared: Array, step: Array) -> Array:
        streams = [jax.random.fold_in(each, AUGMENT_STREAM) for each in (shared, key)]
        for number, (used, operation) in enumerate(operations):
            if used:
                stream = streams[number >= PLACINGS]
                image = operation(image, jax.random.fold_in(stream, number), step)
        return image

    return jax.vmap(augment, (0, 0, 0, None))


def random_crop(image: Image, key: Array, size: int) -> Float[Array, "size size C"]:
    """A square of `size` x `size` pixels; every place in the image is equally likely."""
    height, width, channels = image.shape
    top, left = jax.random.randint(key, (2,), 0, jnp.array([height - size + 1, width - size + 1]))
    return lax.dynamic_slice(image, (top, left, 0), (size, size, channels))


def translate(image: Image, key: Array, pixels: int) -> Image:
    """Moves the image by up to `pixels` in each direction; zeros fill the border.

    Every shift by whole pixels is equally likely.

    Source: He et al. (2016), section 4.2, who pad centred CIFAR-10 images by 4 pixels and crop.
    cuda-convnet trained on crops of 24 x 24 pixels instead, for which there is `random_crop`.
    """
    padded = jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    return lax.dynamic_slice(padded, (top, left, 0), image.shape)


def random_flip(image: Image, key: Array) -> Image:
    """Mirrors the image left to right with probability 1/2."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def add_noise(image: Image, key: Array, sigma: float) -> Image:
    """Adds independent normal noise of `sigma` grey levels to every pixel and channel."""
    return image + sigma * jax.random.normal(key, image.shape, image.dtype)


def add_colour(image: Image, key: Array, sigma: float, components: Float[Array, "C C"]) -> Image:
    """Adds one colour to all pixels: the components weighted by alpha ~ N(0, sigma).

    Source: Krizhevsky, Sutskever & Hinton (2012), section 4.1.
    """
    alpha = sigma * jax.random.normal(key, (image.shape[-1],), image.dtype)
    return image + (components @ alpha).reshape(1, 1, -1)
