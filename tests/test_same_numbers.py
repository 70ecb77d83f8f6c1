"""Same question, same numbers: in process and in a worker, whatever the shell says."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
FAST = ("conv3", "alexnet_cifar")  # to compile
NETS = [*FAST, "conv2_local2", "lenet5", "vgg11_cifar"]
# The place of a trial: what is called before JAX starts, and what the shell has set.
ALONE = ("configure_jax(); environment.start_jax()", {"PJRT_NPROC": "4", "NPROC": "3"})
OTHER_SHELL = (
    "configure_jax(); environment.start_jax()",
    {
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_cpu_max_isa=SSE4_2",
        "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    },
)  # fmt: skip
WORKER = ("find_devices()", {"PJRT_NPROC": "1"})  # It has its study's environment.


def bits(name: str) -> str:
    """Digest of parameters and errors after a few steps of a narrow network."""
    from src.training.program import Program  # noqa: PLC0415
    from tests import test_training_networks as networks  # noqa: PLC0415
    from tests import tiny  # noqa: PLC0415

    dataset = tiny.make_dataset(networks.BATCH, 8, size=networks.SIZES.get(name, 32))
    program = Program(networks.settings_of(name), dataset)
    state, errors = networks.train(program, program.start(0))
    arrays = jax.tree.leaves(jax.device_get((state, errors)))
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()


def bits_at(place: tuple[str, dict[str, str]], names: list[str]) -> dict[str, str]:
    """The same in a process of its own."""
    start, variables = place
    code = (
        f"from src import environment; environment.{start}\n"
        "import json\nfrom tests.test_same_numbers import bits\n"
        f"print(json.dumps({{name: bits(name) for name in {names!r}}}))"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=kept | {"JAX_NUM_CPU_DEVICES": "1"} | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_trial_has_the_same_bits_wherever_it_runs():
    """The networks have every kind of layer."""
    alone = bits_at(ALONE, NETS)
    assert bits_at(WORKER, NETS) == alone
    assert bits_at(OTHER_SHELL, list(FAST)) == {name: alone[name] for name in FAST}
