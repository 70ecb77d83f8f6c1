"""Environments of shells, notebooks and containers: the same numbers, or one line."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import jax

from tests.torture import subject
from tests.torture.subject import CONFIG, PATIENCE_SECONDS, ROOT, Subject

FEW = (
    "--config.max_epochs=1", "--config.learning_rates=(0.02,)", "--config.fresh_seeds=(1,)",
    "--config.tensorboard=False",
)  # fmt: skip
# Settings of JAX that choose devices, not numbers: set here already.
NOT_TRIED = ("JAX_NUM_CPU_DEVICES", "JAX_MOCK_GPU_TOPOLOGY", "JAX_MOCK_NUM_GPU_PROCESSES")
VALUES = ("1", "0", "true", "perhaps", "", "-1", "highest", "raise", "disallow", "cuda", "tpu")
OTHERS: dict[str, tuple[str | None, ...]] = {  # None: not set
    "XLA_FLAGS": (
        "--xla_cpu_enable_fast_math=true",
        "--no_such_flag",
        "flags.txt",
        "'--half",
        "--",
        "--xla_cpu_max_isa=SSE4_2 --xla_cpu_prefer_vector_width=128",
        "--xla_gpu_no_such=1",
        "--xla_cpu_multi_thread_eigen=false",
        "--xla_backend_optimization_level=0",
    ),
    "MPLBACKEND": ("module://matplotlib_inline.backend_inline", "GTK4Agg", "", "nonsense"),
    "MPLCONFIGDIR": ("/proc/nowhere", ""),
    "HOME": (None, "/nonexistent", "/proc", ""),
    "XDG_CACHE_HOME": (None, "relative", "/proc/x", "/dev/null", ""),
    "JAX_COMPILATION_CACHE_DIR": ("/proc/x", "gs://bucket/x", "/dev/null"),
    "TMPDIR": ("/nonexistent", "/proc", ""),
    "LC_ALL": ("C", "POSIX", "de_DE.ISO-8859-1", "no_SUCH"),
    "PYTHONUTF8": ("0",),
    "PYTHONCOERCECLOCALE": ("0",),
    "PYTHONIOENCODING": ("ascii", "latin-1"),
    "PYTHONOPTIMIZE": ("1", "2"),
    "PYTHONHASHSEED": ("1", "random"),
    "PYTHONWARNINGS": ("error", "error::DeprecationWarning", "nonsense"),
    "PJRT_NPROC": ("7", "0", "many"),
    "NPROC": ("5", "-1"),
    "OMP_NUM_THREADS": ("3", "0", "many"),
    "OPENBLAS_NUM_THREADS": ("2",),
    "GIT_DIR": ("/nonexistent", "/"),
    "GIT_WORK_TREE": ("/",),
    "TZ": ("Nowhere/Land", "UTC+26"),
    "COLUMNS": ("0", "many"),
    "TERM": ("dumb", ""),
    "NVIDIA_TF32_OVERRIDE": ("1",),
    "TF_CPP_MIN_LOG_LEVEL": ("0", "many"),
    "SOURCE_DATE_EPOCH": ("1", "never"),
    "TFDS_DATA_DIR": ("gs://bucket", "~nosuchuser"),
}


@dataclass
class Environments:
    """What was tried and what came of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def torture(study: Subject, count: int, seed: int) -> Environments:
    """Runs two trials of an epoch in `count` environments, each with a few settings drawn."""
    rng, found = random.Random(seed), Environments()
    sound = study.folder / "environment-sound"
    code, lines = _run(study, sound, {}, 1)
    assert code == 0, lines
    settings = [f"JAX_{name[4:].upper()}" for name in jax.config.values if name.startswith("jax_")]
    settings = sorted(set(settings) - set(NOT_TRIED))
    for number in range(count):
        variables: dict[str, str | None] = {
            rng.choice(settings): rng.choice(VALUES) for _ in range(rng.randint(0, 3))
        }
        others = list(OTHERS)[number % len(OTHERS)], *rng.sample(list(OTHERS), rng.randint(0, 2))
        variables |= {name: rng.choice(OTHERS[name]) for name in others}
        workdir = study.folder / f"environment-{number}"
        code, lines = _run(study, workdir, variables, rng.choice([1, 2]))
        outcome, failures = _outcome(sound, workdir, code, lines)
        found.outcomes[outcome] += 1
        found.failures += [f"{variables}: {failure}" for failure in failures]
    return found


def _outcome(sound: Path, workdir: Path, code: int, lines: list[str]) -> tuple[str, list[str]]:
    traces = [f"traceback: {lines[-4:]}" for line in lines if "Traceback" in line][:1]
    if code == 0:
        return "the same numbers", traces + subject.differences(sound, workdir)
    errors = [line for line in lines if line.startswith("error: ")]
    clear = code == 2 and len(errors) == 1 and not traces
    return "refused in a line", [] if clear else [f"code {code}: {lines[-4:]}"]


def _run(
    study: Subject, workdir: Path, variables: dict[str, str | None], workers: int
) -> tuple[int, list[str]]:
    environment = {k: v for k, v in (study.environment | variables).items() if v is not None}
    arguments = [f"--config={CONFIG}", f"--workdir={workdir}", *FEW]
    arguments += [f"--config.data.dir={study.data_dir}", f"--config.workers={workers}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "src.main", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return -1, ["it hangs"]
    return process.returncode, said.decode(errors="replace").splitlines()
