"""Rows of the claims about the paper's "5 CNNs" and its ten views, from evaluated networks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src import wording
from src.analysis.intervals import Interval
from src.analysis.shares import Paired, Share
from src.analysis.verdicts import ERROR, Verdict
from src.records import files
from src.records.files import RecordError
from src.reports.findings import Finding
from src.reports.paper_claims import Claim

FOLDER = "ensembles"  # In experiments/; in it a folder for each evaluation of several trials.
TRAINED = "relu_vs_tanh_early"  # The study whose networks are averaged.
CROPPED = "imagenette"  # The study in experiments/ whose network sees crops.
NAME = "evaluation.json"
# Of each image: the whole one or its centre; corners and centre, each mirrored too.
VIEW, VIEWS = "1", "10"
AVERAGING = Claim(
    "Averaging the softmax of networks of other seeds lowers the error",
    "6, Table 2",
    "five: 40.7% to 38.1% top-1, ImageNet",
    TRAINED,
    direction=-1,
    effect=0.026,
    then=f"python -m src.evaluate runs/{TRAINED}/trials/conv3-cuda_convnet-relu-*"
    f" --out=experiments/{FOLDER}/conv3_relu",
)
TEN_VIEWS = Claim(
    "The ten views of an image lower the test error",
    "4.1",
    "39.0% to 37.5% top-1, 18.3% to 17.0% top-5, ILSVRC-2010",
    CROPPED,
    direction=-1,
    effect=0.015,
    then=f"python -m src.evaluate runs/{CROPPED}/trials/* --out=runs/{CROPPED}/evaluation",
)
Record = Mapping[str, Any]


def averages(experiments: Path) -> list[Finding]:
    """A row for each ensemble that was evaluated; one that says so if none was.

    Raises:
        RecordError: If a record is damaged.
    """
    paths = sorted((experiments / FOLDER).glob(f"*/{NAME}"))
    found = [_read(path, _of_average, "of several trials") for path in paths]
    return found or [Finding(AVERAGING, "", "-")]


def ten_views(experiments: Path) -> Finding:
    """A row for the network that was tested in one view and in ten.

    Raises:
        RecordError: If the record is damaged.
    """
    path = experiments / CROPPED / "evaluation" / NAME
    if not path.exists():
        return Finding(TEN_VIEWS, "", "-")
    return _read(path, _of_views, "of one trial in 1 and 10 views")


def _read(path: Path, find: Callable[[str, Record], Finding], what: str) -> Finding:
    remedy = "evaluate its trials again"
    try:
        return find(path.parent.name, files.read_sealed(path, remedy))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path} is not {what} ({type(error).__name__}); {remedy}") from error


def _of_average(name: str, record: Record) -> Finding:
    networks = record["networks"]
    pairs = [Paired(**each) for each in record["paired"][VIEW]]
    ours = f"{_average_words(networks, record['together'], pairs)}, {record['dataset']}"
    claim = replace(AVERAGING, study=f"{FOLDER}/{name}")
    trained = _ends([float(net["train_error"]) for net in networks])
    remark = f"of networks trained to {trained} training error"
    best = pairs[_best(networks)]
    return Finding(claim, name, ours, trained, judge(pairs), remark, _interval(best, record))


def _of_views(name: str, record: Record) -> Finding:
    (network,), (pair,) = record["networks"], (Paired(**each) for each in record["by_views"])
    one, ten = (Share(**network["errors"][number]["top1"]) for number in (VIEW, VIEWS))
    ours = (
        f"test error {wording.percent(one.value)}, in ten views {wording.percent(ten.value)}:"
        f" {_pair_words(pair)}; n = {wording.counted(one.images, 'test image')},"
        f" {record['dataset']}"
    )
    trained = _ends([float(network["train_error"])])
    claim = replace(TEN_VIEWS, study=f"{CROPPED}/{name}")
    found = _interval(pair, record)
    return Finding(claim, network["name"], ours, trained, judge([pair]), "of one network", found)


def _interval(pair: Paired, record: Record) -> Interval:
    """The difference as the figure of all claims draws it."""
    images = (record["images"], record["images"])
    return Interval(pair.value, pair.low, pair.high, images, "difference", "MOVER", pair.p)


def judge(pairs: Sequence[Paired]) -> Verdict:
    """Shown if the error is lower in every pair, so that an average must beat its best network."""
    if all(pair.p <= ERROR and pair.high < 0 for pair in pairs):
        return "shown"
    if all(pair.p <= ERROR and pair.low > 0 for pair in pairs):
        return "contradicted"
    return "not decided"


def _average_words(networks: Sequence[Record], together: Record, pairs: Sequence[Paired]) -> str:
    """In words, one network against the average of all, and the best one against it."""
    alone = [Share(**net["errors"][VIEW]["top1"]) for net in networks]
    mean = sum(share.value for share in alone) / len(alone)
    of_all = Share(**together[VIEW]["top1"])
    low, high = (wording.percent(end) for end in (of_all.low, of_all.high))
    return (
        f"test error of one network {wording.percent(mean)} (mean of {len(alone)},"
        f" {_ends([share.value for share in alone])}), of their average"
        f" {wording.percent(of_all.value)} (95% interval {low} to {high}); beside the best one"
        f" {_pair_words(pairs[_best(networks)])}; n ="
        f" {wording.counted(of_all.images, 'test image')}"
    )


def _best(networks: Sequence[Record]) -> int:
    """Number of the network that gets the fewest images wrong."""
    wrong = [network["errors"][VIEW]["top1"]["wrong"] for network in networks]
    return wrong.index(min(wrong))


def _pair_words(pair: Paired) -> str:
    return (
        f"{wording.points(pair.value)} points ({wording.points_ends(pair.low, pair.high)}, same"
        f" images, {wording.p_value(pair.p)})"
    )


def _ends(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(map(wording.percent, (min(values), max(values)))))
