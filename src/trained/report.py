"""Figs. 3 and 4 of the paper from trained networks.

    python -m src.paper_figures STUDY/trials/TRIAL [...] [--out DIR] [--data_dir DIR]

Writes kernels, predictions and neighbours as PNG and SVG, paper_figures.json with the numbers that
go with them, report.md and report.html; fills in DIR/README.md if it has a place for them. DIR is
STUDY/paper_figures if it is not given. Several trials must be seeds of one network: the kernels of
each are drawn and measured, while images are shown to the first one alone. Figures may be drawn
again with more seeds; those of other trials are not replaced.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from src.data import Split, image_shape
from src.errors import LabError
from src.paths import local_path_of
from src.records import files
from src.records import trial as records
from src.records.study import find_trial
from src.reports import readme, webpage
from src.reports.figures import canvas
from src.reports.figures import trained as trained_figures
from src.reports.sentences import DATA_NOTES
from src.trained import kernels, neighbours
from src.trained.network import Trained, load_trained
from src.trained.seeds import check_seeds
from src.wording import p_value

PREDICTED, RETRIEVED, NEIGHBOURS = 8, 5, 6  # images of Fig. 4: left, right, and beside each
QUERIES, KEYS = 2000, 50_000  # the first test and training images, which are compared
NAME = "paper_figures"
FIGURES = ("kernels", "predictions", "neighbours")

Record = dict[str, Any]


class Findings(NamedTuple):
    """What a network makes of the images that are shown and counted."""

    network: Trained
    test: Split
    train: Split
    probabilities: Float[np.ndarray, "Q classes"]  # Probabilities of the test images.
    features: int  # activities of the last hidden layer
    rows: Int[np.ndarray, "Q k"]  # Rows of the training images nearest to each test image.


def write_figures(trial_dirs: Sequence[Path], out: Path, data_dir: str = "") -> Record:
    """Draws the figures, and returns the numbers of the record.

    Args:
        trial_dirs: Folders `STUDY/trials/TRIAL`, each with a checkpoint.
        out: Folder of the figures.
        data_dir: TFDS data directory, as `config.data.dir`.

    Raises:
        LabError: If they are not seeds of one network, it cannot be drawn, or would take the place
            of a file that is not its own.
    """
    drawn = [f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")]
    files.refuse_unwritable(out)
    files.refuse_foreign(out, f"{NAME}.json", ["report.md", "report.html", *drawn])
    networks = [load_trained(trial_dir, data_dir) for trial_dir in trial_dirs]
    check_seeds(networks)
    _refuse_undrawable(networks[0])
    _refuse_other(out, networks)
    found = [network.first_kernels() for network in networks]
    findings = look_at(networks[0])
    record: Record = {
        "trial": trial_dirs[0].name,
        "dataset": networks[0].dataset.name,
        "digest": networks[0].dataset.digest,
        "runs": [_run(*each) for each in zip(networks, found, strict=True)],
        "neighbours": measure_neighbours(findings),
    }
    with files.begun(out, f"{NAME}.json"):
        with canvas.style():
            for name, figure in _draw(findings, found, record).items():
                canvas.save(figure, out / name)
        files.write_atomic(out / f"{NAME}.json", json.dumps(record, indent=1) + "\n")
        files.write_atomic(out / "report.md", compose(record))
        webpage.write_page(out)
    readme.fill(out / "README.md", NAME, "\n".join(f"- {line}" for line in describe(record)))
    return record


def _refuse_undrawable(network: Trained) -> None:
    """Refuses images that are neither grey nor red, green, blue, before work is done for them."""
    channels = image_shape(network.dataset)[-1]
    if channels not in (1, 3):
        raise LabError(
            f"{network.trial_dir}: images of {network.dataset.name} have {channels} channels, and"
            " only those of 1 or 3 can be drawn; give a trial on other data"
        )


def _refuse_other(out: Path, networks: Sequence[Trained]) -> None:
    """Takes the place of figures of these trials, or of some of them, but of no others."""
    path, remedy = out / f"{NAME}.json", f"choose another --out, or remove {out}"
    if not os.path.lexists(path):
        return
    try:
        runs = json.loads(files.read_bytes(path))["runs"]
        there = {run.get("identity", run["trial"]): run["trial"] for run in runs}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise files.RecordError(f"{path} is damaged ({type(error).__name__}); {remedy}") from error
    given = {name for each in networks for name in (each.identity, each.of.trial)}
    if others := [name for identity, name in there.items() if identity not in given]:
        raise files.RecordError(
            f"{out} holds the figures of {others[0]}, which is not given now; {remedy}"
        )


def _run(network: Trained, found: kernels.Kernels) -> Record:
    """The record's numbers for one trial."""
    row = records.read_result(network.trial_dir, network.of) or {}
    return {
        "trial": network.of.trial,
        "identity": network.identity,
        "iteration": network.iteration,
        "test_error": row.get("final_test_error"),
        "kernels": kernels.describe(found, network.towers) | {"layer": network.layer_names()[0]},
    }


def look_at(network: Trained) -> Findings:
    """Runs the first test and training images through the network."""
    test, train = network.images("test", QUERIES), network.images("train", KEYS)
    of_test, of_train = network.outputs(test.images), network.outputs(train.images)
    rows = neighbours.nearest(of_test.features, of_train.features, NEIGHBOURS)
    return Findings(network, test, train, of_test.probabilities, of_test.features.shape[1], rows)


def measure_neighbours(findings: Findings) -> Record:
    """Shares of neighbours that have the image's own class: by features, by pixels, by chance."""
    test, train, rows = findings.test, findings.train, findings.rows
    by_pixels = neighbours.nearest(test.images, train.images, rows.shape[1])
    return {
        "neighbours": rows.shape[1],
        "features": findings.features,
        "test_images": len(test.labels),
        "training_images": len(train.labels),
        **{
            name: neighbours.share_of_same_class(test.labels, near, train.labels)._asdict()
            for name, near in (("same_class", rows), ("same_class_by_pixels", by_pixels))
        },
    }


def compose(record: Mapping[str, Any]) -> str:
    """The text of report.md."""
    sections = [
        f"# Figs. 3 and 4 of the paper, on {record['dataset']}",
        "\n".join(f"- {line}" for line in describe(record)),
        DATA_NOTES.get(record["dataset"], ""),
        "## Fig. 3: kernels of the first layer",
        "![Kernels of the first layer](kernels.png)",
        "## Fig. 4, left: the most likely classes",
        "![Test images and their five most likely classes](predictions.png)",
        "## Fig. 4, right: the nearest training images",
        "![Test images and the training images nearest to them](neighbours.png)",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def describe(record: Mapping[str, Any]) -> list[str]:
    """The record's numbers in words."""
    near = record["neighbours"]
    same, by_pixels = near["same_class"], near["same_class_by_pixels"]
    return [
        *(line for run in record["runs"] for line in _run_words(run, record["dataset"])),
        f"**Fig. 4, right**, `{record['trial']}`: of the {near['neighbours']} training images"
        " nearest to a test image in"
        f" the {near['features']} activities of the last hidden layer, {same['value']:.1%} are of"
        f" its class (95% interval {same['low']:.1%} to {same['high']:.1%}); nearest in pixels:"
        f" {by_pixels['value']:.1%} ({by_pixels['low']:.1%} to {by_pixels['high']:.1%}); by chance:"
        f" {same['chance']:.1%}. n = {near['test_images']:,} test images, among"
        f" {near['training_images']:,} training images.",
    ]


def _run_words(run: Mapping[str, Any], dataset: str) -> list[str]:
    first, error = run["kernels"], run["test_error"]
    tested = "" if error is None else f", test error {error:.1%}"
    learned, shares = first["correlation_of_what_is_learned"], first["colour_of_what_is_learned"]
    before, now = first["correlation_before_training"], first["correlation"]
    colour, left = "", f"the {first['left_of_the_beginning']:.0%} of their beginning that is left"
    told = ["are all the same" if now is None else f"correlate at {now:.2f}"]
    told.append("they began all the same" if before is None else f"before training at {before:.2f}")
    told.append(
        f"beside {left}, nothing was learned"
        if learned is None
        else f"without {left}, at {learned:.2f}"
    )
    if shares is not None:
        each = ", ".join(f"{share:.0%}" for share in shares)
        colour = f" Colour's share of what is learned, by tower: {each} (grey 0%, random 67%)."
    if shares is not None and len(shares) > 1:
        colour += " Kernels dealt to the towers at random are as far apart with"
        colour += f" {p_value(first['colour_apart_p'])}."
    return [
        f"`{run['trial']}`: {run['iteration']} iterations on {dataset}{tested}.",
        f"**Fig. 3**: in the {first['count']} kernels of {first['layer']}, weights one pixel"
        f" apart {'; '.join(told)}.{colour}",
    ]


def _draw(
    findings: Findings, found: Sequence[kernels.Kernels], record: Record
) -> dict[str, Figure]:
    network, test, train = findings.network, findings.test, findings.train
    first = first_of_each_class(test.labels)
    left, right = first[:PREDICTED], first[:RETRIEVED]
    near, names = findings.rows[right], network.class_names
    made_by = f"data: {record['dataset']}; {record['trial']}, {network.iteration} iterations"
    same = record["neighbours"]["same_class"]
    return {
        "kernels": trained_figures.kernels(
            _views(record["runs"], found),
            network.towers,
            f"{made_by}\neach scaled by its own largest weight; grey: no weight"
            f"\nlearned: without the part of the first weights that is left,"
            f" {', '.join(f'{each.left:.0%}' for each in found)}",
        ),
        "predictions": trained_figures.predictions(
            test.images[left],
            test.labels[left],
            findings.probabilities[left],
            names,
            f"{made_by}\nthe first test image of each class; red: its true class",
        ),
        "neighbours": trained_figures.neighbours(
            test.images[right],
            test.labels[right],
            train.images[near],
            train.labels[near],
            names,
            f"{made_by}\nsmallest Euclidean distance in the last hidden layer; red: another class"
            f"\nof the same class: {same['value']:.1%}, by chance {same['chance']:.1%}"
            f" (n = {len(test.labels):,} test images)",
        ),
    }


def _views(
    runs: Sequence[Mapping[str, Any]], found: Sequence[kernels.Kernels]
) -> dict[str, Float[np.ndarray, "h w channels kernels"]]:
    """Title -> kernels: first those of the first run, then what each run has learned."""
    seeds = [records.parse_trial_name(run["trial"]).seed for run in runs]
    titles = ["learned"] if len(runs) == 1 else [f"learned, seed {seed}" for seed in seeds]
    views = {"as trained": found[0].trained}
    return views | {title: each.learned for title, each in zip(titles, found, strict=True)}


def first_of_each_class(labels: Int[np.ndarray, " N"]) -> Int[np.ndarray, " classes"]:
    """Rows of the first image of each class, in the order of the file."""
    return np.sort(np.unique(labels, return_index=True)[1])


def main(arguments: Sequence[str]) -> int:
    """Draws what the command line asks for.

    Raises:
        LabError: If it cannot be drawn.
    """
    parser = argparse.ArgumentParser(
        prog="python -m src.paper_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    trial = local_path_of("TRIAL")
    add("trials", type=trial, nargs="+", metavar="TRIAL", help="STUDY/trials/TRIAL")
    add("--out", type=local_path_of("--out"), help="default: STUDY/paper_figures")
    add("--data_dir", default="", help="TFDS data directory")
    given = parser.parse_args(arguments)
    trial_dirs = [find_trial(path) for path in given.trials]
    out = given.out or trial_dirs[0].parent.parent / NAME
    record = write_figures(trial_dirs, out, given.data_dir)
    print("\n".join(describe(record)))
    return 0
