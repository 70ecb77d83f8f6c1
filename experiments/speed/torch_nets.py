"""The networks of the benchmark in PyTorch, channels last, with the same optimizer."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from src.models.googlenet import INCEPTION
from src.models.lenet import C3_INPUTS
from src.models.options import scaled
from src.models.vgg import CONVOLUTIONS, FEATURES

PAPER_LRN = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}  # PyTorch divides alpha by the size
CAFFE_LRN = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}


def conv(features: int, size: int, **options: Any) -> tuple[nn.Module, ...]:
    """A convolution and its activation; both layers are lazy: they find their inputs themselves."""
    return nn.LazyConv2d(features, size, **options), nn.ReLU()


def full(features: int) -> tuple[nn.Module, ...]:
    """A fully connected layer and its activation."""
    return nn.LazyLinear(features), nn.ReLU()


def average(size: int) -> nn.Module:
    """Overlapping average pooling over real pixels, windows hanging over the border."""
    return nn.AvgPool2d(size, 2, ceil_mode=True, count_include_pad=False)


def conv3(hidden: int) -> nn.Module:
    """cuda-convnet's "19pct" net and, with 64 hidden units, its "80sec" net."""
    fc64 = full(hidden) if hidden else ()
    return nn.Sequential(
        *(nn.LazyConv2d(32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU()),
        *(*conv(32, 5, padding=2), average(3)),
        *(*conv(64, 5, padding=2), average(3), nn.Flatten()),
        *(*fc64, nn.LazyLinear(10)),
    )


class Local(nn.Module):
    """A 3 by 3 convolution, padding 1, whose kernel is another one at every place."""

    def __init__(self, inputs: int, outputs: int, pixels: int):
        super().__init__()
        self.shape = (outputs, pixels, pixels)
        self.kernel = nn.Parameter(0.04 * torch.randn(pixels * pixels, 9 * inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(self.shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        windows = F.unfold(x, 3, padding=1).permute(2, 0, 1)  # [places, B, 9 inputs]
        y = torch.bmm(windows, self.kernel)
        return y.permute(1, 2, 0).reshape(-1, *self.shape) + self.bias


def conv2_local2() -> nn.Module:
    """cuda-convnet's "13pct" net."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        *(*conv(64, 5, padding=2), pool, *conv(64, 5, padding=2), pool),
        *(Local(64, 32, 8), nn.ReLU(), Local(32, 32, 8), nn.ReLU()),
        *(nn.Flatten(), nn.LazyLinear(10)),
    )


class Subsampling(nn.Module):
    """The sum of 2 by 2 pixels, times one trained number per map, plus a bias."""

    def __init__(self, maps: int):
        super().__init__()
        self.kernel = nn.Parameter(torch.full((maps, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return F.avg_pool2d(x, 2, divisor_override=1) * self.kernel + self.bias


class PartialConv(nn.Module):
    """A 5 by 5 convolution in which map o reads the maps `C3_INPUTS[o]` alone."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = [(o, i) for o, inputs in enumerate(C3_INPUTS) for i in inputs]
        self.kernel = nn.Parameter(0.1 * torch.randn(len(self.maps), 5, 5))
        self.bias = nn.Parameter(torch.zeros(len(C3_INPUTS)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        outputs, inputs = torch.tensor(self.maps).T
        whole = torch.zeros(len(C3_INPUTS), x.shape[1], 5, 5)
        whole = whole.index_put((outputs, inputs), self.kernel)
        return F.conv2d(x, whole, self.bias)


def lenet5() -> nn.Module:
    """LeNet-5 as in 1998."""
    return nn.Sequential(
        *(*conv(6, 5), Subsampling(6), nn.ReLU(), PartialConv(), nn.ReLU()),
        *(Subsampling(16), nn.ReLU(), *conv(120, 5), nn.Flatten(), *full(84), nn.LazyLinear(10)),
    )


def lenet5_modern() -> nn.Module:
    """LeNet-5 as it is read today."""
    return nn.Sequential(
        *(*conv(6, 5), nn.MaxPool2d(2), *conv(16, 5), nn.MaxPool2d(2)),
        *(nn.Flatten(), *full(120), *full(84), nn.LazyLinear(10)),
    )


def alexnet(width: float, *, small: bool) -> nn.Module:
    """AlexNet in two towers, 227 by 227 or, small, 32 by 32."""
    pool, lrn = nn.MaxPool2d(3, 2, ceil_mode=small), nn.LocalResponseNorm(**PAPER_LRN)
    f = [scaled(features, width, 2) for features in (96, 256, 384, 384, 256)]
    first = conv(f[0], 5, padding=2) if small else conv(f[0], 11, stride=4)
    hidden = scaled(1024 if small else 4096, width)
    return nn.Sequential(
        *(*first, lrn, pool, *conv(f[1], 5, padding=2, groups=2), lrn, pool),
        *(*conv(f[2], 3, padding=1), *conv(f[3], 3, padding=1, groups=2)),
        *(*conv(f[4], 3, padding=1, groups=2), pool, nn.Flatten()),
        *(*full(hidden), nn.Dropout(), *full(hidden), nn.Dropout(), nn.LazyLinear(10)),
    )


def vgg(layers: int, width: float) -> nn.Module:
    """VGG for 32 by 32 images."""
    stages = [
        layer
        for features, count in zip(FEATURES, CONVOLUTIONS[layers], strict=True)
        for part in (
            *(conv(scaled(features, width), 3, padding=1) for _ in range(count)),
            (nn.MaxPool2d(2),),
        )
        for layer in part
    ]
    hidden = scaled(512, width)
    return nn.Sequential(
        *(*stages, nn.Flatten(), *full(hidden), nn.Dropout()),
        *(*full(hidden), nn.Dropout(), nn.LazyLinear(10)),
    )


class Inception(nn.Module):
    """Four ways side by side."""

    def __init__(self, features: tuple[int, ...], width: float):
        super().__init__()
        one, reduce3, three, reduce5, five, project = (scaled(f, width) for f in features)
        ways = (
            conv(one, 1),
            (*conv(reduce3, 1), *conv(three, 3, padding=1)),
            (*conv(reduce5, 1), *conv(five, 5, padding=2)),
            (nn.MaxPool2d(3, 1, padding=1), *conv(project, 1)),
        )
        self.ways = nn.ModuleList(nn.Sequential(*way) for way in ways)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return torch.cat([way(x) for way in self.ways], dim=1)


def googlenet(width: float) -> nn.Module:
    """GoogLeNet for 32 by 32 images, without auxiliary classifiers."""
    pool, lrn = nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(**CAFFE_LRN)
    blocks = {name: Inception(features, width) for name, features in INCEPTION.items()}
    return nn.Sequential(
        *(*conv(scaled(64, width), 3, padding=1), pool, lrn),
        *(*conv(scaled(64, width), 1), *conv(scaled(192, width), 3, padding=1), lrn),
        *(blocks["3a"], blocks["3b"], pool),
        *(blocks[f"4{name}"] for name in "abcde"),
        *(pool, blocks["5a"], blocks["5b"]),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.LazyLinear(10)),
    )


NETS: dict[str, Callable[[float], nn.Module]] = {
    "conv3": lambda _: conv3(0),
    "conv3_fc64": lambda _: conv3(64),
    "conv2_local2": lambda _: conv2_local2(),
    "lenet5": lambda _: lenet5(),
    "lenet5_modern": lambda _: lenet5_modern(),
    "alexnet_cifar": lambda width: alexnet(width, small=True),
    "vgg11_cifar": lambda width: vgg(11, width),
    "vgg16_cifar": lambda width: vgg(16, width),
    "googlenet_cifar": googlenet,
    "alexnet": lambda width: alexnet(width, small=False),
}


def make_net(name: str, width: float, size: int) -> nn.Module:
    """A network whose lazy layers have seen an image of `size` by `size` pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lazy layers are a feature that may change
        net = NETS[name](width)
        net(torch.zeros(2, 3, size, size))
    return net.to(memory_format=torch.channels_last)


def make_step(
    name: str,
    width: float,
    batch: int,
    size: int,
    threads: int,
    *,
    compiled: bool,
    device: str = "cpu",
    mode: str | None = None,
) -> Callable[[], torch.Tensor]:
    """A training step on a batch of random images that is already on the device.

    Args:
        name: Name of a network in `NETS`.
        width: Share of its features.
        batch: Images in a step.
        size: Height and width of an image, pixels.
        threads: Of the CPU.
        compiled: Whether `torch.compile` compiles the network.
        device: `cpu` or `cuda`.
        mode: How it is compiled, as `torch.compile` names it.

    Returns:
        A function that does a step and returns its loss, which may still be computed.
    """
    torch.set_num_threads(threads)
    net = make_net(name, width, size).to(device)
    images = torch.randn(batch, 3, size, size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,), device=device)
    optimizer = torch.optim.SGD(net.parameters(), 0.001, momentum=0.9)
    forward = torch.compile(net, mode=mode) if compiled else net

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step
