"""The networks again, written for PyTorch from their papers, and what compares them with ours."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.nn import functional as F

from src.models.lenet import C3_INPUTS

torch.set_num_threads(1)  # beside JAX, more of them wait for one another
Tensor = torch.Tensor
Weights = Mapping[str, Any]


def check_same(
    model: nn.Module, params: Weights, images: np.ndarray, forward: Callable[..., Tensor]
) -> None:
    """Logits within 1e-4, and gradients within 1e-4 of each layer's largest, without dropout."""
    labels = np.arange(len(images)) % 5

    def loss_fn(params: Weights) -> tuple[jax.Array, jax.Array]:
        logits = model.apply({"params": params}, jnp.asarray(images))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

    # Compiling is what takes the time here, and much less without optimization.
    compiled_fast = {"xla_backend_optimization_level": 0}
    step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True), compiler_options=compiled_fast)
    (_, logits), grads = step(params)
    weights = jax.tree.map(_to_torch, params)
    expected = forward(torch.tensor(images.transpose(0, 3, 1, 2)), weights)
    F.cross_entropy(expected, torch.tensor(labels)).backward()
    scale = float(expected.detach().abs().max())
    np.testing.assert_allclose(logits, expected.detach(), rtol=1e-4, atol=1e-4 * min(1, scale))
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(weights), strict=True):
        wanted = np.asarray(_from_torch(theirs.grad))
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def _to_torch(value: jax.Array) -> Tensor:
    array = np.asarray(value)
    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    return torch.tensor(np.ascontiguousarray(array), requires_grad=True)


def _from_torch(value: Tensor) -> Tensor:
    return (
        value.permute(2, 3, 1, 0)
        if value.ndim == 4
        else value.permute(*reversed(range(value.ndim)))
    )


def conv(x: Tensor, layer: Weights, **options: Any) -> Tensor:
    return F.conv2d(x, layer["kernel"], layer["bias"], **options)


def full(x: Tensor, layer: Weights) -> Tensor:
    return F.linear(x, layer["kernel"], layer["bias"])


def flat(x: Tensor) -> Tensor:
    """As ours: row by row, then channel by channel."""
    return x.permute(0, 2, 3, 1).flatten(1)


def conv3(x: Tensor, w: Weights, *, name: str, activation: str, lrn: str) -> Tensor:
    """cuda-convnet's "19pct" and, with fc64, "80sec"; "18pct" normalizes within maps."""
    act = {"relu": torch.relu, "tanh": torch.tanh}[activation]

    def norm(x: Tensor) -> Tensor:
        squares = F.avg_pool2d(x * x, 3, 1, padding=1)  # zeros at the border are counted
        return x / (1 + 5e-5 * squares) ** 0.75 if lrn == "within" else x

    def average(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)

    x = norm(act(F.max_pool2d(conv(x, w["conv1"], padding=2), 3, 2, ceil_mode=True)))
    x = norm(average(act(conv(x, w["conv2"], padding=2))))
    x = flat(average(act(conv(x, w["conv3"], padding=2))))
    if "fc64" in w:
        x = full(x, w["fc64"])
        x = x if name == "quick" else act(x)
    return full(x, w["fc10"])


def alexnet(x: Tensor, w: Weights, *, towers: int, lrn: str, small: bool, scale: float) -> Tensor:
    """Two towers as two convolutions side by side; `scale` stands for dropout at testing."""

    def by_tower(x: Tensor, layer: Weights, padding: int) -> Tensor:
        shares = zip(*(t.chunk(towers) for t in (layer["kernel"], layer["bias"])), strict=True)
        towers_in = x.chunk(towers, dim=1)
        pairs = zip(towers_in, shares, strict=True)
        return torch.cat([F.conv2d(t, k, b, padding=padding) for t, (k, b) in pairs], dim=1)

    def norm(x: Tensor) -> Tensor:
        if lrn == "none":
            return x
        alpha, k = (5e-4, 2.0) if lrn == "paper" else (1e-4, 1.0)  # PyTorch divides by n = 5
        return F.local_response_norm(x, 5, alpha=alpha, beta=0.75, k=k)

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=small)

    stem = {"padding": 2} if small else {"stride": 4}
    x = pool(norm(torch.relu(conv(x, w["conv1"], **stem))))
    x = pool(norm(torch.relu(by_tower(x, w["conv2"], 2))))
    x = torch.relu(conv(x, w["conv3"], padding=1))
    x = torch.relu(by_tower(x, w["conv4"], 1))
    x = pool(torch.relu(by_tower(x, w["conv5"], 1)))
    x = scale * torch.relu(full(flat(x), w["fc6"]))
    x = scale * torch.relu(full(x, w["fc7"]))
    return full(x, w["fc8"])


def lenet5(x: Tensor, w: Weights) -> Tensor:
    """Each map of C3 by itself."""

    def subsample(x: Tensor, layer: Weights) -> Tensor:
        total = F.avg_pool2d(x, 2, divisor_override=1)
        return total * layer["kernel"][:, None, None] + layer["bias"][:, None, None]

    def c3(x: Tensor, layer: Weights) -> Tensor:
        maps, start = [], 0
        for number, inputs in enumerate(C3_INPUTS):
            kernel = layer["kernel"][start : start + len(inputs)].transpose(1, 2)[None]
            maps.append(F.conv2d(x[:, list(inputs)], kernel, layer["bias"][number][None]))
            start += len(inputs)
        return torch.cat(maps, dim=1)

    x = torch.tanh(subsample(torch.tanh(conv(x, w["c1"])), w["s2"]))
    x = torch.tanh(subsample(torch.tanh(c3(x, w["c3"])), w["s4"]))
    x = torch.tanh(conv(x, w["c5"])).flatten(1)
    return full(torch.tanh(full(x, w["f6"])), w["output"])


def lenet5_modern(x: Tensor, w: Weights) -> Tensor:
    x = F.max_pool2d(torch.relu(conv(x, w["conv1"])), 2)
    x = F.max_pool2d(torch.relu(conv(x, w["conv2"])), 2)
    x = torch.relu(full(flat(x), w["fc3"]))
    return full(torch.relu(full(x, w["fc4"])), w["fc5"])


def vgg11(x: Tensor, w: Weights) -> Tensor:
    for stage in ("1_1", "2_1", "3_1 3_2", "4_1 4_2", "5_1 5_2"):
        for name in stage.split():
            x = torch.relu(conv(x, w[f"conv{name}"], padding=1))
        x = F.max_pool2d(x, 2)
    x = torch.relu(full(flat(x), w["fc6"]))
    return full(torch.relu(full(x, w["fc7"])), w["fc8"])


def googlenet(x: Tensor, w: Weights, *, small: bool) -> tuple[Tensor, ...]:
    """Logits of the classifier and, where there are weights, of the two auxiliary ones."""

    def act_conv(x: Tensor, name: str, **options: Any) -> Tensor:
        return torch.relu(conv(x, w[name], **options))

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def inception(x: Tensor, name: str) -> Tensor:
        return torch.cat(
            [
                act_conv(x, f"{name}_1x1"),
                act_conv(act_conv(x, f"{name}_3x3_reduce"), f"{name}_3x3", padding=1),
                act_conv(act_conv(x, f"{name}_5x5_reduce"), f"{name}_5x5", padding=2),
                act_conv(F.max_pool2d(x, 3, 1, padding=1), f"{name}_project"),
            ],
            dim=1,
        )

    def auxiliary(x: Tensor, name: str) -> Tensor:
        x = flat(act_conv(F.avg_pool2d(x, 5, 3), f"{name}_conv"))
        return full(torch.relu(full(x, w[f"{name}_fc"])), w[f"{name}_classifier"])

    stem = {"padding": 1} if small else {"padding": 3, "stride": 2}
    x = F.local_response_norm(pool(act_conv(x, "conv1", **stem)), 5)  # its defaults are Caffe's
    x = F.local_response_norm(act_conv(act_conv(x, "conv2_reduce"), "conv2", padding=1), 5)
    x = x if small else pool(x)
    x = pool(inception(inception(x, "inception_3a"), "inception_3b"))
    outputs = []
    for block in "abcde":
        x = inception(x, f"inception_4{block}")
        name = {"a": "auxiliary1", "d": "auxiliary2"}.get(block)
        if f"{name}_fc" in w:
            outputs.append(auxiliary(x, name))
    x = inception(inception(pool(x), "inception_5a"), "inception_5b")
    return full(x.mean(dim=(2, 3)), w["classifier"]), *outputs
