"""Fig. 1 of Krizhevsky, Sutskever & Hinton (2012): its two curves, and ours read as they are."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from src.analysis import curves, intervals
from src.analysis.curves import Series
from src.analysis.intervals import Ends, Interval
from src.analysis.study import Study
from src.data.augment import Augment
from src.records.trial import TrialRecord
from src.training.settings import TrialSettings

PATH = Path(__file__).with_name("figure1_paper.csv")
DATASETS = ("cifar10", "cifar10-jpeg")  # The curves are drawn beside trials on these alone.
NETS = ("conv3", "conv3_fc64", "conv2_local2")  # Networks that may be the figure's.
POINTS = (1, 2, 3, 4, 5)  # Epochs after which ours are compared with the paper's.
TOLERANCE = 0.03


def read_curves() -> dict[str, Series]:
    """The curves of the figure, `relu` and `tanh`, by epoch; read out of its vector paths."""
    with open(PATH, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        name: Series(
            np.array([float(row["epoch"]) for row in rows if row["curve"] == name]),
            np.array([float(row["training_error"]) for row in rows if row["curve"] == name]),
        )
        for name in dict.fromkeys(row["curve"] for row in rows)
    }


def ratio(paper: Mapping[str, Series], baseline: str, other: str, threshold: float) -> Interval:
    """Epochs of `other` over epochs of `baseline` until `threshold`; a bound if never reached.

    Each curve is one run, so there is no interval.
    """
    one, two = (intervals.sample([_bounds(paper[name], threshold)]) for name in (baseline, other))
    return intervals.compare("ratio", one, two)


def _bounds(curve: Series, threshold: float) -> Ends:
    at = curves.crossing(curve, threshold)
    if at <= 0:  # The curve begins at or below the threshold.
        return math.nan, math.nan
    return (float(curve.at[-1]) if math.isinf(at) else at), at


def curves_beside(study: Study) -> dict[str, Series]:
    """The paper's curves if a study compares activations as its figure does, else none.

    That is in NETS alone, on all images of CIFAR-10 and their labels, as they are, from weights
    that are the seed's, and without regularization, as its caption says.
    """
    config, dataset = study.config, study.header["dataset"]
    alike = dataset in DATASETS and all(_is_alike(arm.settings) for arm in config.arms)
    return read_curves() if alike and config.study.compare.field == "activation" else {}


def _is_alike(settings: TrialSettings) -> bool:
    part = settings.train_images or settings.labels or settings.validation_images
    begun = settings.start_from.path or settings.pretraining.method != "none"
    changed = part or begun or settings.weight_decay or settings.augment != Augment()
    return settings.model.name in NETS and not changed


def ratios_beside(study: Study, thresholds: Sequence[float]) -> dict[float, Interval]:
    """The paper's tanh over its ReLU at each threshold; none if our baseline is not ReLU."""
    paper = curves_beside(study)
    if not paper or study.config.study.compare.baseline != "relu":
        return {}
    return {threshold: ratio(paper, "relu", "tanh", threshold) for threshold in thresholds}


def points(
    metrics: Mapping[str, np.ndarray], epochs: Sequence[int] = POINTS
) -> Float[np.ndarray, " points"]:
    """Our error at the epochs of the paper's points, read as in the figure; nan after a run's end.

    The figure does not say what a point is. It starts at epoch 0, below 90%, so point k is most
    likely the online error of the first 10,000 images after k epochs, one of the five files that
    CIFAR-10 comes in.
    """
    series = curves.as_in_figure(metrics)
    there = dict(zip(series.at.tolist(), series.values.tolist(), strict=True))
    return np.array([there.get(float(epoch), math.nan) for epoch in epochs])


def median_points(
    trials: Sequence[TrialRecord], epochs: Sequence[int] = POINTS
) -> Float[np.ndarray, " points"]:
    """Median over seeds of `points`; nan if one of the runs had ended."""
    return np.median([points(trial.metrics, epochs) for trial in trials], axis=0)


def differences(curve: Series, ours: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Our error minus the paper's at `POINTS`, fractions; nan if ours is."""
    return ours - np.interp(POINTS, curve.at, curve.values)
