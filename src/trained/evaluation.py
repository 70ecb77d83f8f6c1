"""Tests finished trials and published weights, alone and averaged.

    python -m src.evaluate STUDY/trials/TRIAL [...] [--weights=FILE ...] [--data=NAME]
        [--data_dir=DIR] [--views=1,2] [--images=N] [--features=LAYER] [--out=DIR]
        [--layout=NAME] [--mean=FILE]
    python -m src.evaluate --redraw DIR [...]

Writes evaluation.json (sealed), report.md, report.html and, with --features, features.npz into DIR,
runs/evaluate/NAME if it is not given. Several networks are tested alone and by their averaged
softmax, as the paper's "5 CNNs". With --redraw it writes reports anew from their evaluation.json.
"""

import argparse
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from src.paths import local_path
from src.records import files
from src.records.provenance import provenance
from src.reports import webpage
from src.trained.candidates import Candidate, of_trial, of_weights
from src.trained.evaluation_report import VIEWS, Record, compose, describe
from src.trained.testing import Errors, Tested, features, measure
from src.weights.layouts import NAMES
from src.weights.tensors import WeightsError

RECORD = "evaluation.json"


def main(arguments: Sequence[str]) -> int:
    """Tests what the command line names."""
    given = _parse(arguments)
    if given.redraw:
        for folder in given.redraw:
            _redraw(local_path(folder, "--redraw"))
        return 0
    data_dir = given.data_dir and str(local_path(given.data_dir, "--data_dir"))
    mean = local_path(given.mean, "--mean") if given.mean else None
    candidates = [of_trial(local_path(t, "TRIAL"), data_dir, given.data) for t in given.trials] + [
        of_weights(
            local_path(path, "--weights"), data_dir, given.data, layout=given.layout, mean=mean
        )
        for path in given.weights
    ]
    views = given.views or _views_of_all(candidates)
    _check_views(candidates, views)
    out = local_path(given.out or f"runs/evaluate/{_folder(candidates)}", "--out")
    files.refuse_foreign(out, RECORD, ("report.md", "report.html", "features.npz"))
    tested = measure(candidates, views, given.images)
    record = make_record(candidates, tested)
    if given.features:
        record["features"] = write_features(candidates[0], given.features, given.images, out)
    files.write_sealed(out / RECORD, record)
    _write_report(out, record)
    return 0


def _write_report(out: Path, record: Record) -> None:
    files.write_atomic(out / "report.md", compose(record))
    webpage.write_page(out)
    print("\n".join([*describe(record), f"{out}/report.html"]).replace("**", ""))


def _redraw(folder: Path) -> None:
    remedy = "evaluate the networks again"
    record = files.read_sealed(folder / RECORD, remedy)
    try:
        _write_report(folder, record)
    except KeyError as error:
        message = f"{folder / RECORD} has no {error}: other code wrote it; {remedy}"
        raise files.RecordError(message) from error


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m src.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("trials", nargs="*", metavar="TRIAL", help="folder of a trial, STUDY/trials/TRIAL")
    add("--weights", action="append", default=[], metavar="FILE", help="may be given again")
    add("--data", default="", metavar="NAME", help="default: what the network was trained on")
    add("--data_dir", default="", metavar="DIR", help="TFDS data directory")
    add("--views", type=_numbers, default=(), help="1, 2 (image and mirror) or 10 (crops)")
    add("--images", type=_count, default=0, help="the first so many test images; 0: all")
    add("--features", default="", metavar="LAYER", help="of the first network, as features.npz")
    add("--out", default="", metavar="DIR", help="folder of the report")
    add("--layout", default="", help=f"where a file does not tell: {', '.join(NAMES)}")
    add("--mean", default="", metavar="FILE", help="mean image, in place of a mean colour")
    add("--redraw", nargs="+", default=[], metavar="DIR", help="write these reports anew")
    given = parser.parse_args(arguments)
    if given.redraw and (given.trials or given.weights):
        parser.error("--redraw tests nothing: leave trials and --weights out")
    if not given.trials and not given.weights and not given.redraw:
        parser.error("nothing to test: give the folder of a trial, or --weights=FILE")
    return given


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(sorted({int(part) for part in text.split(",")}))
    if not set(numbers) <= VIEWS.keys():
        raise argparse.ArgumentTypeError(f"{text!r} should be 1, 2, 10, or 1,10")
    return numbers


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} should be a number of images, 0 for all")
    return int(text)


def _views_of_all(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    shared = set.intersection(*(set(candidate.views) for candidate in candidates))
    return tuple(sorted(shared))


def _check_views(candidates: Sequence[Candidate], views: Sequence[int]) -> None:
    for candidate in candidates:
        for number in views:
            if number == 10 and 10 not in candidate.views:
                raise WeightsError(
                    f"{candidate.name} sees whole images, of which there are no crops: --views=1,2"
                )


def _folder(candidates: Sequence[Candidate]) -> str:
    first = candidates[0].name.rsplit(".", 1)[0] if candidates[0].name else "network"
    more = f"+{len(candidates) - 1}" if len(candidates) > 1 else ""
    return f"{first}{more}-{candidates[0].dataset.name}"


# --- The record. ---


def make_record(candidates: Sequence[Candidate], tested: Tested) -> Record:
    """All numbers of the report."""
    dataset = candidates[0].dataset
    names = list(dataset.label_names) or [str(label) for label in range(len(tested.confusion))]
    return {
        "dataset": dataset.name,
        "digest": dataset.digest,
        "images": len(tested.labels),
        "networks": [
            {
                "name": candidate.name,
                **candidate.facts,
                "errors": {str(n): _errors(each[i]) for n, each in tested.alone.items()},
            }
            for i, candidate in enumerate(candidates)
        ],
        "together": {str(number): _errors(found) for number, found in tested.together.items()},
        "paired": {
            str(number): [each._asdict() for each in found]
            for number, found in tested.paired.items()
        },
        "by_views": [found._asdict() for found in tested.by_views],
        "outputs": int(candidates[0].outputs.max()) + 1,
        "class_names": names,
        "confusion": tested.confusion.tolist(),
        "made_by": provenance(),
    }


def _errors(errors: Errors) -> Record:
    return {"top1": errors.top1._asdict(), "top5": errors.top5._asdict()}


def write_features(candidate: Candidate, layer: str, most: int, out: Path) -> Record:
    """Writes features.npz: `features` [N, ...], `labels` [N], `class_names`."""
    found, labels = features(candidate, layer, most)
    content = BytesIO()
    names = np.array(candidate.dataset.label_names, dtype=str)
    np.savez(content, features=found, labels=labels, class_names=names)
    files.write_atomic(out / "features.npz", content.getvalue())
    return {"layer": layer, "network": candidate.name, "shape": list(found.shape)}
