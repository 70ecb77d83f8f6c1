"""Rows of the claims about the paper's Figs. 3 and 4, from the records of trained networks."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from src import wording
from src.analysis.verdicts import ERROR, Verdict
from src.records import files
from src.records.files import RecordError
from src.reports.findings import Finding
from src.reports.paper_claims import Claim

NAME = "paper_figures"
COMMAND = f"python -m src.{NAME} runs/{NAME}/trials/*"
NEIGHBOURS = Claim(
    "Images nearest in the last hidden layer are alike; those nearest in pixels are not",
    "6.1, Fig. 4",
    "by eye",
    NAME,
    then=COMMAND,
)

TOWERS = Claim(
    "The two towers specialize, during every run",
    "6.1, Fig. 3",
    "one in colour, one in shape",
    NAME,
    then=COMMAND,
)


def neighbours(experiments: Path) -> Finding:
    """Whether neighbours in the last hidden layer have an image's class more often than in pixels.

    It compares 95% intervals over the test images of one trained network.

    Raises:
        RecordError: If the record is damaged.
    """
    return _read(experiments, NEIGHBOURS, _of_neighbours)


def towers(experiments: Path) -> Finding:
    """Whether the towers' kernels differ more in colour than kernels dealt at random do.

    Raises:
        RecordError: If the record is damaged.
    """
    return _read(experiments, TOWERS, _of_towers)


def _read(experiments: Path, claim: Claim, find: Callable[[dict[str, Any]], Finding]) -> Finding:
    path = experiments / NAME / NAME / f"{NAME}.json"  # The command puts it into its study.
    if not path.exists():
        return Finding(claim, "", "-")
    try:
        found = find(json.loads(files.read_bytes(path)))
        return replace(found, claim=replace(claim, study=f"{NAME}/{NAME}"))
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path} is damaged ({type(error).__name__}); make it again: python -m src.{NAME}"
        ) from error


def _of_neighbours(record: dict[str, Any]) -> Finding:
    near = record["neighbours"]
    features, pixels = (
        [float(near[name][end]) for end in ("value", "low", "high")]
        for name in ("same_class", "same_class_by_pixels")
    )
    words = [
        f"{wording.percent(value)} ({wording.percent(low)} to {wording.percent(high)})"
        for value, low, high in (features, pixels)
    ]
    verdict: Verdict = "not decided"
    if features[1] > pixels[2]:
        verdict = "shown"
    elif features[2] < pixels[1]:
        verdict = "contradicted"
    ours = (
        f"{words[0]} of them are of its class, in pixels {words[1]};"
        f" n = {near['test_images']:,} test images, {record['dataset']}"
    )
    return Finding(NEIGHBOURS, record["trial"], ours, verdict=verdict, remark="of one network")


def _of_towers(record: dict[str, Any]) -> Finding:
    """Shown if it is so in every run, as the paper says."""
    runs = [run["kernels"] for run in record["runs"]]
    if all(run["colour_apart_p"] is None for run in runs):
        return Finding(TOWERS, "all runs", "conv1 has learned nothing of colour")
    apart = [run["colour_apart_p"] is not None and run["colour_apart_p"] <= ERROR for run in runs]
    each = [
        "nothing learned of colour"
        if run["colour_apart_p"] is None
        else f"{' and '.join(map(wording.percent, run['colour_of_what_is_learned']))}"
        f" ({wording.p_value(run['colour_apart_p'])})"
        for run in runs
    ]
    ours = (
        f"colour's share of what conv1 has learned, by tower (random 67%): {'; '.join(each)};"
        f" p of kernels dealt to towers at random; {record['dataset']}"
    )
    verdict: Verdict = "shown" if all(apart) and len(runs) > 1 else "not decided"
    remark = f"in {sum(apart)} of {len(runs)} runs"
    return Finding(TOWERS, f"n = {len(runs)}", ours, verdict=verdict, remark=remark)
