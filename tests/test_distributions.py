"""Quantiles and tails against SciPy's own distributions, and what they spare a process."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from src.analysis.distributions import (
    binomial_tail,
    normal_log_cdf,
    normal_quantile,
    t_quantile,
    t_tail,
)

FREEDOMS = (1.0, 1.7, 4.0, 38.2, 1e4)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_student(freedom):
    p = np.array([0.5, 0.95, 0.975, 0.999])
    np.testing.assert_allclose(t_quantile(p, freedom), stats.t.ppf(p, freedom), rtol=1e-12)
    t = np.array([0.0, 0.3, 2.1, 40.0, math.inf])
    np.testing.assert_allclose(t_tail(t, freedom), stats.t.sf(t, freedom), rtol=1e-12)


def test_normal():
    p = np.array([0.5, 0.8, 0.975])
    np.testing.assert_allclose(normal_quantile(p), stats.norm.ppf(p), rtol=1e-12)
    z = np.array([-40.0, -1.0, 0.0, 3.0])
    np.testing.assert_allclose(normal_log_cdf(z), stats.norm.logcdf(z), rtol=1e-12)


def test_coins():
    for heads, coins in ((0, 1), (3, 10), (7, 7), (480, 1000)):
        assert binomial_tail(heads, coins) == pytest.approx(stats.binom.cdf(heads, coins, 0.5))


@pytest.mark.slow
def test_a_study_starts_without_what_only_its_report_needs():
    """In a process of its own: this one has imported everything."""
    code = (
        "import sys; import src.laboratory, src.training.train, src.weights.start;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    assert "flax" in imported
    slow = {"scipy", "matplotlib", "orbax", "tensorstore", "tensorflow_datasets", "grain", "PIL"}
    assert not imported & slow
