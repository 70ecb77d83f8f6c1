"""Layers that are fast on a CPU too, each with the values of the plain XLA operation.

XLA's own gradients of these are slow on a CPU (select-and-scatter for the maximum, naive loops for
a convolution's weight gradient inside `lax.scan`). Here they are written with the operations that
are fast there.
`tests/test_layers.py` compares values and gradients with XLA's and PyTorch's.
"""

from src.models.layers.avg_pooling import avg_pool
from src.models.layers.convolution import Conv, conv
from src.models.layers.locally_connected import LocallyConnected
from src.models.layers.max_pooling import max_pool

__all__ = [
    "Conv",
    "LocallyConnected",
    "avg_pool",
    "conv",
    "max_pool",
]
