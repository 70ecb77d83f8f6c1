"""Tests finished trials and published weights, alone and averaged.

    python -m src.evaluate STUDY/trials/TRIAL [...] [--weights=FILE ...] [--data=NAME]
        [--data_dir=DIR] [--views=1,2] [--images=N] [--features=LAYER] [--out=DIR]
        [--layout=NAME] [--mean=FILE]
    python -m src.evaluate --redraw DIR [...]

Writes evaluation.json (sealed), report.md, report.html and, with --features, features.npz into DIR,
a folder of these networks in runs/evaluate if it is not given. The same networks may be tested
again there, on no fewer images or views; others are refused. Several networks are tested alone and
by their averaged softmax, as the paper's "5 CNNs". With --redraw it writes reports anew from their
evaluation.json.
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from src import doors
from src.errors import LabError
from src.records import files
from src.records.provenance import loaded_commit, provenance
from src.reports import webpage
from src.trained.candidates import Candidate, of_trial, of_weights
from src.trained.evaluation_flags import parse
from src.trained.evaluation_folder import (
    FEATURES,
    RECORD,
    check_folder,
    default_folder,
    refuse_less,
)
from src.trained.evaluation_report import Record, compose, describe
from src.trained.several import told_apart
from src.trained.testing import Errors, Tested, check_layer, features, measure
from src.weights.tensors import WeightsError


def main(arguments: Sequence[str]) -> int:
    """Tests what the command line names; returns 2 if a report cannot be written anew."""
    given = parse(arguments, __doc__)
    if given.redraw:
        return max([_redraw(folder) for folder in given.redraw])
    loaded_commit()
    candidates = told_apart(_candidates(given))
    views = given.views or _views_of_all(candidates)
    _check_views(candidates, views)
    out = given.out or default_folder(candidates)
    check_folder(out, candidates)
    refuse_less(out, candidates[0], given.images, views, given.features)
    if given.features is not None:
        check_layer(candidates[0], given.features, given.images)
    tested = measure(candidates, views, given.images)
    record = make_record(candidates, tested)
    with files.begun(out, RECORD):
        if given.features is not None:
            record["features"] = write_features(candidates[0], given.features, given.images, out)
        files.write_sealed(out / RECORD, record)
        _write_report(out, record)
    return 0


def _candidates(given: argparse.Namespace) -> list[Candidate]:
    """The networks that the command line names."""
    trials = [of_trial(path, given.data_dir, given.data) for path in given.trials]
    published = [
        of_weights(path, given.data_dir, given.data, layout=given.layout, mean=given.mean)
        for path in given.weights
    ]
    if given.mean is not None:
        _refuse_one_mean_of_several(given.mean, published)
    return trials + published


def _refuse_one_mean_of_several(mean: Path, published: Sequence[Candidate]) -> None:
    """A mean image is that of one size, one order of colours and one scale of grey levels."""
    first = published[0]
    for other in published[1:]:
        if other.facts["given"] != first.facts["given"]:
            raise WeightsError(
                f"--mean={mean} is subtracted for every file, and {other.name} is given other"
                f" images than {first.name}: leave it out, or test them apart"
            )


def _write_report(out: Path, record: Record) -> None:
    files.write_atomic(out / "report.md", compose(record))
    webpage.write_page(out)
    print("\n".join([*describe(record), f"{out}/report.html"]).replace("**", ""))


def _redraw(folder: Path) -> int:
    """Writes a report anew; says what is wrong if it cannot be, for others may follow."""
    remedy = "evaluate the networks again"
    try:
        files.refuse_begun(folder, RECORD, remedy)
        _write_report(folder, files.read_sealed(folder / RECORD, remedy))
        return 0
    except KeyError as error:
        fault = f"{folder / RECORD} has no {error}: other code wrote it; {remedy}"
    except LabError as error:
        fault = str(error)
    return doors.refuse(fault)


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
                "identity": candidate.identity,
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
        "outputs": tested.outputs,
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
    files.write_atomic(out / FEATURES, content.getvalue())
    of = {"network": candidate.name, "identity": candidate.identity}
    return {"layer": layer, **of, "shape": list(found.shape)}
