"""Fig. 1 of Krizhevsky, Sutskever & Hinton (2012): its two curves, and ours read like them."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from src.analysis import times as analysis
from src.analysis.study import Study
from src.analysis.times import Ratio, Times
from src.records.trial import TrialRecord

PATH = Path(__file__).with_name("figure1_paper.csv")
DATASETS = ("cifar10", "cifar10-jpeg")  # what its curves may be laid beside
NETS = ("conv3", "conv3_fc64", "conv2_local2")  # those that may be the figure's
POINT_EPOCHS = 0.2  # a point is the error of 10,000 of the 50,000 training images
POINTS = (1, 2, 3, 4, 5)  # where ours are compared with the paper's
TOLERANCE = 0.03

Curve = tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]  # epochs, training errors


def read_curves(path: Path = PATH) -> dict[str, Curve]:
    """The curves of the figure, `relu` and `tanh`, read out of its vector paths."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        name: (
            np.array([float(row["epoch"]) for row in rows if row["curve"] == name]),
            np.array([float(row["training_error"]) for row in rows if row["curve"] == name]),
        )
        for name in dict.fromkeys(row["curve"] for row in rows)
    }


def crossing(curve: Curve, threshold: float) -> float:
    """First epoch at which the straight lines between points are down to `threshold`, or inf."""
    epochs, errors = curve
    there = np.flatnonzero(errors <= threshold)
    if not there.size:
        return math.inf
    after = int(there[0])
    if after == 0:
        return float(epochs[0])
    part = (errors[after - 1] - threshold) / (errors[after - 1] - errors[after])
    return float(epochs[after - 1] + part * (epochs[after] - epochs[after - 1]))


def ratio(curves: Mapping[str, Curve], baseline: str, other: str, threshold: float) -> Ratio:
    """Epochs of `other` over epochs of `baseline` until `threshold`; bounded if never reached."""
    times = [_times(curves[name], threshold) for name in (baseline, other)]
    return analysis.ratio(*times)


def curves_beside(study: Study) -> dict[str, Curve]:
    """The curves where ours may be laid beside them: activations in one of NETS, on CIFAR-10."""
    config, dataset = study.config, study.header["dataset"]
    alike = config.trial.model.name in NETS and dataset in DATASETS
    return read_curves() if alike and config.study.compare.field == "activation" else {}


def ratios_beside(study: Study, thresholds: Sequence[float]) -> dict[float, Ratio]:
    """The paper's tanh over its ReLU at each threshold, where ours is relative to ReLU too."""
    curves = curves_beside(study)
    if not curves or study.config.study.compare.baseline != "relu":
        return {}
    return {threshold: ratio(curves, "relu", "tanh", threshold) for threshold in thresholds}


def _times(curve: Curve, threshold: float) -> Times:
    at_most = crossing(curve, threshold)
    return Times(np.array([min(at_most, curve[0][-1])]), np.array([at_most]))


def points(
    metrics: Mapping[str, np.ndarray], epochs: Sequence[int] = POINTS
) -> Float[np.ndarray, " points"]:
    """Our error where the paper has a point: of the first fifth of an epoch after each of `epochs`.

    The figure does not say what a point is. It starts at epoch 0, below 90%, so point k is most
    likely the online error of the first 10,000 images after k epochs, one of the five files that
    CIFAR-10 comes in. nan where the run ended before.
    """
    return np.array(
        [
            analysis.online_error(
                metrics["epoch"], metrics["interval_error"], float(k), k + POINT_EPOCHS
            )
            for k in epochs
        ]
    )


def median_points(
    trials: Sequence[TrialRecord], epochs: Sequence[int] = POINTS
) -> Float[np.ndarray, " points"]:
    """Median over seeds of `points`; nan where one of the runs had ended."""
    return np.median([points(trial.metrics, epochs) for trial in trials], axis=0)


def differences(curve: Curve, ours: Float[np.ndarray, "5"]) -> Float[np.ndarray, "5"]:
    """Ours minus the paper's at POINTS; nan where ours has none."""
    return ours - np.interp(POINTS, *curve)
