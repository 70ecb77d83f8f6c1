"""How fast this machine multiplies, for a first word on how long a study takes."""

import math
import time

import jax
import jax.numpy as jnp

SIZE = 512
SECONDS = 0.2


def multiply_adds_per_second(workers: int) -> float:
    """Float32 multiply-adds a second in products of matrices, for one of so many trials.

    By the fastest of several products, so that it is this machine's speed whatever else runs on it.
    Large convolutions come near it; small networks do not, and are given too little time. Trials
    share an accelerator, while on a CPU each has a thread of its own, as the product here has.
    """
    matrix = jnp.ones((SIZE, SIZE), jnp.float32)
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    product(matrix, matrix).block_until_ready()
    start, fastest = time.perf_counter(), math.inf
    while (begun := time.perf_counter()) < start + SECONDS:
        product(matrix, matrix).block_until_ready()
        fastest = min(fastest, time.perf_counter() - begun)
    sharing = 1 if jax.default_backend() == "cpu" else workers
    return SIZE**3 / fastest * jax.device_count() / sharing
