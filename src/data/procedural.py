"""A data set drawn by code: ten shapes, placed, turned and coloured at random, amid clutter.

It needs no files, so that a study can be tried anywhere. It is not CIFAR-10 and its numbers say
nothing about the paper's: records made on it carry its name.
"""

from collections.abc import Callable

import numpy as np

from src.data.dataset import Dataset, Split, digest

SIZE = 32
CHUNK = 250
# These decide how hard it is; a pair is the range that a number is drawn from.
RADIUS = (7.0, 13.0)  # Pixels.
SHIFT = 4.0  # Pixels, either way.
TILT = 0.6  # Radians, either way.
CONTRAST = (15.0, 100.0)  # Grey levels.
TINT = 30.0  # Grey levels, either way.
NOISE = (5.0, 20.0)  # Grey levels, standard deviation.
STROKES_BEHIND = 2
BRIGHTER = 0.9  # Share of shapes that are brighter than their background.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    # (u, v) -> distance from the edge, negative inside; shapes fill u and v from about -1 to 1.
    "disc": lambda u, v: np.hypot(u, v) - 0.9,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.7) - 0.25,
    "square": lambda u, v: _box(u, v, 0.8, 0.8),
    "triangle": lambda u, v: np.maximum(0.87 * np.abs(u) - 0.5 * v, v) - 0.55,
    "cross": lambda u, v: np.minimum(_box(u, v, 0.27, 1.0), _box(u, v, 1.0, 0.27)),
    "bars": lambda u, v: np.maximum(np.abs(np.abs(v) - 0.55) - 0.25, np.abs(u) - 1),
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 1, 0.75 - np.hypot(u - 0.5, v)),
    "corner": lambda u, v: np.maximum(_box(u, v, 0.9, 0.9), np.minimum(u, v) + 0.25),
    "diagonal": lambda u, v: np.maximum(_box(u, v, 0.9, 0.9), -np.sign(u * v) * _least(u, v)),
    "frame": lambda u, v: np.abs(_box(u, v, 0.7, 0.7)) - 0.2,
}


def make_procedural(
    seed: int = 2012, *, train_size: int = 20_000, test_size: int = 4_000
) -> Dataset:
    """Draws the data set: images [N, 32, 32, 3], each class equally often, in random order.

    Args:
        seed: The same seed gives the same images.
        train_size: Number of training images, a multiple of ten.
        test_size: Number of test images, a multiple of ten; they do not depend on `train_size`.
    """
    train, test = (
        _draw_split(np.random.default_rng([seed, stream]), size)
        for stream, size in enumerate((train_size, test_size))
    )
    names = tuple(SHAPES)
    return Dataset("procedural", train, test, len(names), names, digest(train, test))


def _draw_split(rng: np.random.Generator, size: int) -> Split:
    labels = rng.permutation(np.arange(size, dtype=np.int32) % len(SHAPES))
    starts = range(0, size, CHUNK)
    images = [_draw(rng, labels[start : start + CHUNK]) for start in starts]
    return Split(np.concatenate(images), labels)


def _draw(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """One image per label: a shaded background, strokes, the shape, a stroke, noise."""
    number = len(labels)
    background = _colours(rng, number)
    u, _ = _frames(rng, np.full((number, 1, 1), SIZE / 2, np.float32), shift=0.0, tilt=np.pi)
    image = background + (u * _uniform(rng, -30.0, 30.0, number))[..., None]
    for _ in range(STROKES_BEHIND):
        image = _stroke(rng, image)
    image = _shape(rng, image, labels, background)
    image = _stroke(rng, image)
    noise = rng.standard_normal(image.shape, np.float32)
    image += noise * _uniform(rng, *NOISE, number)[..., None]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _shape(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray, background: np.ndarray
) -> np.ndarray:
    radius = _uniform(rng, *RADIUS, len(labels))
    u, v = _frames(rng, radius, shift=SHIFT, tilt=TILT)
    distance = np.empty_like(u)
    for label, shape in enumerate(SHAPES.values()):
        chosen = labels == label
        distance[chosen] = shape(u[chosen], v[chosen])
    sign = np.where(rng.random((len(labels), 1, 1, 1)) < BRIGHTER, 1, -1).astype(np.float32)
    contrast = sign * _uniform(rng, *CONTRAST, len(labels))[..., None]
    tint = rng.uniform(-TINT, TINT, background.shape).astype(np.float32)
    return _paint(image, distance * radius, background + contrast + tint)


def _stroke(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A short line of random colour at a random place."""
    length = _uniform(rng, 2.0, 8.0, len(image))
    thickness = _uniform(rng, 0.5, 1.5, len(image))
    u, v = _frames(rng, length, shift=SIZE / 2, tilt=np.pi)
    distance = np.maximum(np.abs(v) * length - thickness, (np.abs(u) - 1) * length)
    return _paint(image, distance, _colours(rng, len(image)))


def _paint(image: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Covers what lies inside, with an edge one pixel wide; distances are in pixels."""
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    return image + cover * (colour - image)


def _frames(
    rng: np.random.Generator, radius: np.ndarray, *, shift: float, tilt: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's place [N, 32, 32] in a frame of random place and angle, in units of `radius`."""
    number = len(radius)
    angle = _uniform(rng, -tilt, tilt, number)
    at = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
    x = at[None, None, :] - _uniform(rng, -shift, shift, number)  # [N, 1, 32]
    y = at[None, :, None] - _uniform(rng, -shift, shift, number)  # [N, 32, 1]
    cos, sin = np.cos(angle) / radius.reshape(-1, 1, 1), np.sin(angle) / radius.reshape(-1, 1, 1)
    return cos * x + sin * y, cos * y - sin * x


def _colours(rng: np.random.Generator, number: int) -> np.ndarray:
    """Greys of random brightness, each with a tint: [N, 1, 1, 3]."""
    tint = rng.uniform(-TINT, TINT, (number, 1, 1, 3)).astype(np.float32)
    return _uniform(rng, 60.0, 195.0, number)[..., None] + tint


def _uniform(rng: np.random.Generator, low: float, high: float, number: int) -> np.ndarray:
    return rng.uniform(low, high, (number, 1, 1)).astype(np.float32)


def _box(u: np.ndarray, v: np.ndarray, width: float, height: float) -> np.ndarray:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _least(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(u), np.abs(v))
