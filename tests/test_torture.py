"""A fast version of `make torture`: every part of it, a few times."""

import os
import re
import subprocess
import sys

import pytest

from tests.torture.subject import ROOT

FEW = (
    "--configs=20",
    "--kills=2",
    "--terms=1",
    "--fills=1",
    "--flips=6",
    "--foreign=14",
    "--paths=2",
    "--environments=2",
    "--engines=0",  # test_clusters.py and test_hosts.py kill nodes, studies and hosts
    "--hosts=0",
    "--rows=B10,C14,F40,H36",
)


@pytest.mark.slow
def test_the_study_survives(tmp_path):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, "-m", "tests.torture", *FEW, f"--folder={tmp_path}"],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    tried = re.findall(r"^\| (\d+ [a-z]+|full disk).* \| 0 \|$", run.stdout, re.MULTILINE)
    assert tried[:2] == ["20 fuzzed", "3 kills"]
    assert tried[2] in ("1 full", "full disk")  # the latter where no tmpfs may be mounted
    assert tried[3:] == ["2 environments", "3 bytes", "3 bytes", "14 things", "17 odd"]
