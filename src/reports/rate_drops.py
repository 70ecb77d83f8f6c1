"""The row of the claim about the learning rate: the test error about the rate's first drop."""

import math
from pathlib import Path

import numpy as np

from src import wording
from src.analysis.study import load_study
from src.records.trial import TrialRecord
from src.reports.findings import NOT_YET, Finding
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

    It is the first one whose rate drops. Nothing is compared with it, so the claim stays undecided.

    Raises:
        RecordError: If a record is damaged.
    """
    folder = experiments / DROP.study
    if not (folder / "study.json").exists():
        return Finding(DROP, "", "-")
    study = load_study(folder)
    if not study.trials:
        return Finding(DROP, DROP.study, NOT_YET)
    dropping = (trial for trial in study.trials if _dropped(trial).any())
    trial = next(dropping, study.trials[0])
    before, after, epoch = about_drop(trial)
    if math.isnan(epoch):
        return Finding(DROP, trial.row["trial"], "the rate never dropped")
    if math.isnan(before) or math.isnan(after):
        where = f"before the first drop, at epoch {epoch:.0f}, or within two epochs after it"
        return Finding(DROP, trial.row["trial"], f"not tested {where}")
    ours = (
        f"lowest test error before the first drop {wording.percent(before)}, within two epochs"
        f" after it, at epoch {epoch:.0f}, {wording.percent(after)}; {study.header['dataset']}"
    )
    trained = wording.percent(float(trial.row["final_train_error"]))
    remark = "one training, compared with none that keeps its rate"
    return Finding(DROP, trial.row["trial"], ours, trained, "not decided", remark)


def about_drop(trial: TrialRecord) -> tuple[float, float, float]:
    """Lowest test error before the first drop and within `WITHIN` epochs after it, and its epoch.

    The error after it, and the epoch, are nan if the rate never dropped; an error is nan too where
    none was measured.
    """
    epochs, errors = (np.asarray(trial.metrics[name], float) for name in ("epoch", "test_error"))
    dropped = _dropped(trial)
    if not dropped.any():
        return _lowest(errors), math.nan, math.nan
    epoch = float(epochs[~dropped].max(initial=0.0))
    after = errors[dropped & (epochs <= epoch + WITHIN)]
    return _lowest(errors[~dropped]), _lowest(after), epoch


def _dropped(trial: TrialRecord) -> np.ndarray:
    """[P] whether the rate had dropped by each point; a rate that is not recorded never does."""
    epochs = trial.metrics["epoch"]
    return np.asarray(trial.metrics.get("rate_factor", np.ones(len(epochs))), float) < 1


def _lowest(errors: np.ndarray) -> float:
    known = errors[~np.isnan(errors)]
    return float(known.min()) if known.size else math.nan
