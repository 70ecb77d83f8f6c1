"""The windows of a pooling layer or a kernel: how many there are, and the pixels under each."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array


class Windows(NamedTuple):
    """Windows, all numbers in pixels; they are square if no width is given."""

    size: int
    stride: int
    padding: int = 0  # On each side of the image.
    ceil_mode: bool = False  # Whether the last window may hang over the border.
    width: int = 0  # Where it is not the height, `size`.

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.width or self.size

    def counts(self, x: Array) -> tuple[int, int]:
        """Number of windows along each axis of images [B, H, W, C].

        A window that would start beyond the last pixel is left out, as in Caffe and PyTorch.
        """
        rows, columns = map(self._count, x.shape[1:3], self.sides)
        return rows, columns

    def _count(self, pixels: int, side: int) -> int:
        room = pixels + 2 * self.padding - side
        count = (-(-room // self.stride) if self.ceil_mode else room // self.stride) + 1
        beyond = (count - 1) * self.stride >= pixels + self.padding
        return count - (self.ceil_mode and beyond)

    def views(self, x: Array, outside: float) -> list[Array]:
        """The pixel that each window has at (i, j), for every (i, j) row by row.

        Args:
            x: Images [B, H, W, C].
            outside: The value beyond their border.

        Returns:
            As many arrays [B, P, Q, C] as a window has pixels.
        """
        batch, height, width, channels = x.shape
        rows, columns = self.counts(x)
        spans = [(n - 1) * self.stride + 1 for n in (rows, columns)]
        ends = [
            span + side - 1 - pixels - self.padding
            for span, side, pixels in zip(spans, self.sides, (height, width), strict=True)
        ]
        pads = [(0, 0, 0), *((self.padding, end, 0) for end in ends), (0, 0, 0)]
        padded = lax.pad(x, jnp.asarray(outside, x.dtype), pads)
        return [
            lax.slice(
                padded,
                (0, i, j, 0),
                (batch, i + spans[0], j + spans[1], channels),
                (1, self.stride, self.stride, 1),
            )
            for i, j in np.ndindex(self.sides)
        ]
