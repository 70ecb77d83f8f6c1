"""A fast version of `make torture`: every part of it, a few times."""

import re
import subprocess
import sys

import pytest

from tests.torture.subject import ROOT

PARTS = ("configs", "kills", "terms", "fills", "flips")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "done"),
    [
        ({"configs": 20}, "20 fuzzed configs"),
        ({"kills": 3, "terms": 2}, "5 kills"),
        ({"fills": 1}, "1 full disks"),
        ({"flips": 10}, "5 bytes flipped in a half-done study"),
    ],
    ids=["configs", "kills", "fills", "flips"],
)
def test_the_study_survives(tmp_path, counts, done):
    flags = [f"--{part}={counts.get(part, 0)}" for part in PARTS]
    run = subprocess.run(
        [sys.executable, "-m", "tests.torture", *flags, f"--folder={tmp_path}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith(f"| {done}")]
    assert re.fullmatch(r"\| .* \| .* \| 0 \|", line)
