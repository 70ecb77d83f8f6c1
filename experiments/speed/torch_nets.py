"""The networks of the benchmark in PyTorch, channels last, with the same optimizer."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

PAPER_LRN = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}  # PyTorch divides alpha by the size


def average(size: int) -> nn.Module:
    """Overlapping average pooling over real pixels, windows hanging over the border."""
    return nn.AvgPool2d(size, 2, ceil_mode=True, count_include_pad=False)


def conv3(hidden: int) -> nn.Module:
    """cuda-convnet's "19pct" net and, with 64 hidden units, its "80sec" net."""
    fc64 = (nn.Linear(1024, hidden), nn.ReLU()) if hidden else ()
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU()),
        *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), average(3)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), average(3), nn.Flatten()),
        *(*fc64, nn.Linear(hidden or 1024, 10)),
    )


def alexnet() -> nn.Module:
    """AlexNet in two towers, 227 by 227."""
    pool = nn.MaxPool2d(3, 2)
    lrn = nn.LocalResponseNorm(**PAPER_LRN)
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), lrn, pool),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), lrn, pool),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool, nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 10)),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "conv3": lambda: conv3(0),
    "conv3_fc64": lambda: conv3(64),
    "alexnet": alexnet,
}


def make_step(name: str, batch: int, size: int, threads: int, *, compiled: bool) -> Callable:
    """A training step on a batch of random images that is already in memory."""
    torch.set_num_threads(threads)
    net = NETS[name]().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), 0.001, momentum=0.9)
    forward = torch.compile(net) if compiled else net

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
