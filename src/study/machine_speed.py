"""Measures how fast this machine multiplies, for a first estimate of a study's time."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np

SIZE = 512
SECONDS = 0.02


def multiply_adds_per_second(workers: int) -> float:
    """Float32 multiply-adds per second in matrix products, for one of `workers` trials.

    The fastest of several products counts, so that other programs on the machine matter little.
    Large convolutions come near this speed; small networks do not, so their time is estimated too
    short. Trials share an accelerator; on a CPU each has a thread of its own, as the product here.
    A cluster whose machines have not come yet has no worker so far.
    """
    matrix = jax.device_put(np.ones((SIZE, SIZE), np.float32))
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    product(matrix, matrix).block_until_ready()
    start, fastest = time.perf_counter(), math.inf
    while (begun := time.perf_counter()) < start + SECONDS:
        product(matrix, matrix).block_until_ready()
        fastest = min(fastest, time.perf_counter() - begun)
    sharing = 1 if jax.default_backend() == "cpu" else max(1, workers)
    return SIZE**3 / fastest * jax.device_count() / sharing
