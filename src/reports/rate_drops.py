"""The row of the claim about the learning rate: the test error about the rate's first drop."""

import math
from pathlib import Path

import numpy as np

from src import wording
from src.analysis.study import load_study
from src.records.trial import TrialRecord
from src.reports.findings import Finding
from src.reports.paper_claims import Claim

WITHIN = 2.0  # Epochs after the drop.
DROP = Claim(
    "Dividing the rate by 10 when the validation error stalls lowers the test error",
    "5",
    "three times in 90 epochs",
    "alexnet_cifar10",
)


def first_drop(experiments: Path) -> Finding:
    """The lowest test error before the first drop, and within two epochs after it, of one training.

    No training beside it keeps its rate, so the claim stays undecided.

    Raises:
        RecordError: If a record is damaged.
    """
    folder = experiments / DROP.study
    if not (folder / "study.json").exists():
        return Finding(DROP, "", "-")
    study = load_study(folder)
    if not study.trials:
        return Finding(DROP, DROP.study, "not measured yet")
    trial = study.trials[0]
    before, after, epoch = about_drop(trial)
    if math.isnan(after):
        return Finding(DROP, trial.row["trial"], "the rate never dropped")
    ours = (
        f"lowest test error before the first drop {wording.percent(before)}, within two epochs"
        f" after it, at epoch {epoch:.0f}, {wording.percent(after)}; {study.header['dataset']}"
    )
    trained = wording.percent(float(trial.row["final_train_error"]))
    remark = "one training, and none beside it that keeps its rate"
    return Finding(DROP, trial.row["trial"], ours, trained, "not decided", remark)


def about_drop(trial: TrialRecord) -> tuple[float, float, float]:
    """Lowest test error before the first drop and within `WITHIN` epochs after it, and its epoch.

    The error after it, and the epoch, are nan if the rate never dropped.
    """
    epochs, errors, factors = (
        np.asarray(trial.metrics[name], float) for name in ("epoch", "test_error", "rate_factor")
    )
    dropped = factors < 1
    if not dropped.any():
        return float(np.nanmin(errors)), math.nan, math.nan
    epoch = float(epochs[~dropped].max())
    after = errors[dropped & (epochs <= epoch + WITHIN)]
    return float(np.nanmin(errors[~dropped])), float(np.nanmin(after)), epoch
