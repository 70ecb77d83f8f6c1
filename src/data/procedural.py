"""A data set drawn by code: ten shapes, anyhow placed, turned and coloured, amid clutter.

It needs no files, so that a study can be tried anywhere. It is not CIFAR-10 and its numbers say
nothing about the paper's: records made on it carry its name.
"""

from collections.abc import Callable

import numpy as np

from src.data.dataset import Dataset, Split, digest

SIZE = 32
CHUNK = 500
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    # Distance from the edge, negative inside; the shape fills u and v from about -1 to 1.
    "disc": lambda u, v: np.hypot(u, v) - 0.9,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.7) - 0.25,
    "square": lambda u, v: _box(u, v, 0.8, 0.8),
    "triangle": lambda u, v: np.maximum(0.87 * np.abs(u) - 0.5 * v, v) - 0.55,
    "cross": lambda u, v: np.minimum(_box(u, v, 0.27, 1), _box(u, v, 1, 0.27)),
    "bars": lambda u, v: np.maximum(np.abs(np.abs(v) - 0.55) - 0.25, np.abs(u) - 1),
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 1, 0.75 - np.hypot(u - 0.5, v)),
    "corner": lambda u, v: np.maximum(_box(u, v, 0.9, 0.9), np.minimum(u, v) + 0.25),
    "diagonal": lambda u, v: np.maximum(_box(u, v, 0.9, 0.9), -np.sign(u * v) * _least(u, v)),
    "frame": lambda u, v: np.abs(_box(u, v, 0.7, 0.7)) - 0.2,
}


def make_procedural(
    seed: int = 2012, *, train_size: int = 20_000, test_size: int = 4_000
) -> Dataset:
    """Draws the data set: uint8 [N, 32, 32, 3], each class equally often, in random order.

    Args:
        seed: The same seed gives the same images.
        train_size: Training images, a multiple of ten.
        test_size: Test images, a multiple of ten; they do not depend on `train_size`.
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
    slope = rng.uniform(-1, 1, (number, 2, 1, 1)).astype(np.float32)
    u, v = _frames(rng, number, np.full(number, SIZE / 2), 0.0)
    ramp = (slope[:, 0] * u + slope[:, 1] * v)[..., None]  # [N, 32, 32, 1]
    image = _colours(rng, number) + 30 * ramp * rng.uniform(-1, 1, (number, 1, 1, 3))
    image = image.astype(np.float32)
    background = image.mean((1, 2), keepdims=True)
    for _ in range(2):
        image = _stroke(rng, image)
    image = _shape(rng, image, labels, background)
    image = _stroke(rng, image)
    noise = rng.standard_normal(image.shape, np.float32)
    image += noise * rng.uniform(8, 32, (number, 1, 1, 1)).astype(np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _shape(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray, background: np.ndarray
) -> np.ndarray:
    radius = rng.uniform(6, 12, len(labels))
    u, v = _frames(rng, len(labels), radius, 6.0)
    distance = np.empty_like(u)
    for label, shape in enumerate(SHAPES.values()):
        chosen = labels == label
        distance[chosen] = shape(u[chosen], v[chosen])
    direction = rng.standard_normal(background.shape)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    colour = background + direction * rng.uniform(40, 140, (len(labels), 1, 1, 1))
    return _paint(image, distance * radius[:, None, None], colour)


def _stroke(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A short line of any colour somewhere."""
    number = len(image)
    length = rng.uniform(3, 10, number)
    u, v = _frames(rng, number, length, 15.0)
    thickness = rng.uniform(0.5, 1.5, (number, 1, 1))
    across = np.abs(v) * length[:, None, None] - thickness
    along = (np.abs(u) - 1) * length[:, None, None]
    return _paint(image, np.maximum(across, along), _colours(rng, number))


def _paint(image: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Covers what lies inside, with an edge one pixel wide; distances are in pixels."""
    cover = np.clip(0.5 - distance, 0, 1)[..., None].astype(np.float32)
    return image + cover * (colour.astype(np.float32) - image)


def _frames(
    rng: np.random.Generator, number: int, radius: np.ndarray, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's place [N, 32, 32] in a frame of random place and angle, in units of `radius`."""
    angle = rng.uniform(0, 2 * np.pi, number)
    centre = rng.uniform(-shift, shift, (2, number, 1, 1))
    at = np.arange(SIZE) - (SIZE - 1) / 2
    x, y = at[None, None, :] - centre[0], at[None, :, None] - centre[1]
    cos, sin = (
        part[:, None, None] / radius[:, None, None] for part in (np.cos(angle), np.sin(angle))
    )
    return (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)


def _colours(rng: np.random.Generator, number: int) -> np.ndarray:
    return rng.uniform(30, 225, (number, 1, 1, 3))


def _box(u: np.ndarray, v: np.ndarray, width: float, height: float) -> np.ndarray:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _least(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(u), np.abs(v))
