"""Every network's step and test lower for GPUs and TPUs, which this machine need not have.

XLA's own compilers for them do not run here: what is shown is that JAX has a rule for each
operation on each platform, and that what is done for a CPU alone stays there.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src.models.registry import MODEL_NAMES, ModelSettings, get_network
from src.training import optimizers, program
from src.training.optimizers import Recipe
from src.training.program import Program
from src.training.settings import TrialSettings
from tests import tiny

pytestmark = pytest.mark.slow

PLATFORMS = ("cuda", "tpu")
BATCH = 32  # two parts on a CPU


def lowered(name: str, parallel: Any = "shard_map") -> tuple[list[str], set[str]]:
    """StableHLO, for all platforms at once, of a training step and a batch's test; the kernels."""
    size = get_network(name).image_size
    settings = dataclasses.replace(
        TrialSettings(), model=ModelSettings(name), recipe=Recipe("modern"), batch_size=BATCH
    )
    arm = Program(settings, tiny.make_dataset(2, 2, size=size), parallel)
    optimizer = optimizers.make_optimizer(0.0, settings.recipe, 0.0)
    shape = arm.input_shape
    state = jax.eval_shape(lambda: program.first_state(arm.model.init, optimizer, shape, 0))
    rows = np.zeros((1, len(arm.devices), BATCH // len(arm.devices)), np.int32)
    if parallel == "pmap":
        rows = rows.reshape(1, len(arm.devices), -1)
    rate, key = jnp.float32(0.1), jax.random.key(0)
    traced = (
        arm._steps.trace(state, rows, rate, key, arm.data["train"]),
        arm._count_misses.trace(state.variables, rows, arm.data["test"]),
    )
    texts = [each.lower(lowering_platforms=PLATFORMS).as_text() for each in traced]
    kernels = {
        f"tensor<{'x'.join(map(str, leaf.shape))}xf32>"
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)
        if leaf.ndim == 4 and "local" not in str(path)  # those are matrix products everywhere
    }
    return texts, kernels


def without_convolution(kernels: set[str], text: str) -> set[str]:
    """Kernels that are not read, as they are, by a convolution of XLA's."""
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    return {kernel for kernel in kernels if not any(kernel in line for line in lines)}


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_step_and_test_lower_for_gpu_and_tpu(monkeypatch, name):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # what is for a CPU stays there
    texts, kernels = lowered(name)
    assert kernels
    for text in texts:
        assert not without_convolution(kernels, text)


def test_what_is_done_for_a_cpu_would_be_noticed():
    """The test above can fail: there the first kernel of conv3 is given a fourth channel."""
    texts, kernels = lowered("conv3")
    assert "tensor<5x5x3x32xf32>" in without_convolution(kernels, texts[1])


def test_what_has_no_rule_on_a_platform_would_be_noticed(monkeypatch):
    """The test above can fail: an operation for CPUs alone does not lower for a GPU or a TPU."""
    monkeypatch.setattr(program.evaluation, "central_crop", only_on_cpu)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(NotImplementedError, match="schur"):
        lowered("conv3")


def only_on_cpu(images: jax.Array, height: int, width: int) -> jax.Array:
    """Schur's decomposition, which JAX has for CPUs alone."""
    del height, width
    (t, _) = jax.scipy.linalg.schur(images[0, :, :, 0])
    return images + t.sum()
