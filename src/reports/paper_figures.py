"""What the records of a trained network say of the paper's Fig. 4, as a row of the claims."""

import json
from pathlib import Path

from src import wording
from src.analysis.verdicts import Verdict
from src.records import files
from src.records.files import RecordError
from src.reports.findings import Finding
from src.reports.paper_claims import Claim

NAME = "paper_figures"
NEIGHBOURS = Claim(
    "Images nearest in the last hidden layer are alike; those nearest in pixels are not",
    "6.1, Fig. 4",
    "by eye",
    NAME,
    "pixels",
    "features",
    (),
    1,
)


def neighbours(experiments: Path) -> Finding:
    """Whether neighbours in the last hidden layer are of an image's class more often than those in
    pixels: by 95% intervals over test images, of one trained network.

    Raises:
        RecordError: If the record is damaged.
    """
    path = experiments / NAME / f"{NAME}.json"
    if not path.exists():
        return Finding(NEIGHBOURS, "", "-")
    try:
        record = json.loads(files.read_bytes(path))
        near = record["neighbours"]
        features, pixels = (
            [float(near[name][end]) for end in ("value", "low", "high")]
            for name in ("same_class", "same_class_by_pixels")
        )
        images, dataset, trial = near["test_images"], record["dataset"], record["trial"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path} is damaged ({type(error).__name__}); make it again: python -m src.{NAME}"
        ) from error
    words = [
        f"{wording.percent(value)} ({wording.percent(low)} to {wording.percent(high)})"
        for value, low, high in (features, pixels)
    ]
    verdict: Verdict = "not decided"
    if features[1] > pixels[2]:
        verdict = "shown"
    elif features[2] < pixels[1]:
        verdict = "contradicted"
    ours = f"{words[0]} of them are of its class, in pixels {words[1]}; n = {images:,} test images"
    remark = "of one network"
    return Finding(NEIGHBOURS, trial, f"{ours}, {dataset}", verdict=verdict, remark=remark)
