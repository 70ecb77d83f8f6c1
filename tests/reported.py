"""Studies whose trials reach the target at given points, and what is reported of a study."""

import math
from pathlib import Path
from typing import Any

from src.analysis.effects import analyse
from src.analysis.study import load_study
from src.reports import compose as report
from tests import synthetic

INF, NAN = math.inf, math.nan


def compose(study_dir: Path) -> str:
    return report.compose(analyse(load_study(study_dir)))


def summary(study_dir: Path) -> str:
    return report.summary(analyse(load_study(study_dir)))


def steps(iterations: int, error: float = 0.25) -> list[dict[str, Any]]:
    """Points of a run that comes down to `error` at that iteration."""
    rows = synthetic.make_metrics(lambda e: 0.8, epochs=(iterations - 1) / synthetic.PER_EPOCH)
    return [{**row, "train_error": 0.8 if row is not rows[-1] else error} for row in rows]


def write_pair(study_dir: Path, relu: list[int], tanh: list[int], **changes: Any) -> None:
    """Fresh trials that reach 25% after so many points each; 0 never does in 100 points."""
    grid = {"learning_rates": [0.02], "sweep": {"model": {"activation": ["relu", "tanh"]}}}
    grid["fresh_seeds"] = [*range(200, 200 + max(len(relu), len(tanh), 1))]
    synthetic.write_header(study_dir, **(grid | changes))
    for activation, reached in (("relu", relu), ("tanh", tanh)):
        for seed, points in enumerate(reached):
            metrics = steps(39 * (points or 100), 0.25 if points else 0.5)
            fields = {"recipe": "modern", "learning_rate": 0.02, "seed": 200 + seed}
            synthetic.write_trial(study_dir, metrics, activation=activation, **fields)
