"""How fast this machine multiplies, for a first word on how long a study takes."""

import time

import jax
import jax.numpy as jnp

SIZE = 512
SECONDS = 0.2


def multiply_adds_per_second() -> float:
    """Float32 multiply-adds a second of the default device in products of matrices.

    Large convolutions come near it; small networks do not, and are given too little time.
    """
    matrix = jnp.ones((SIZE, SIZE), jnp.float32)
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    product(matrix, matrix).block_until_ready()
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS:
        product(matrix, matrix).block_until_ready()
        count += 1
    return count * SIZE**3 / seconds
