"""From the records of a study to its report and figures: `python -m src.report DIR...`.

READMEs that have a place for the answer are given it, see `fill_readmes`. Reads records only:
nothing is trained, and the same records give the same bytes.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from src.analysis import paper
from src.analysis.comparison import Group, make_groups, planned_trials, rates_were_chosen
from src.analysis.study import Study, load_study
from src.errors import LabError
from src.paths import local_path
from src.records.files import write_atomic
from src.records.study import reconcile_results
from src.reports import budget, networks, readme, tables, webpage
from src.reports import sentences as wording
from src.reports.figures import study as figures

MIXED = {  # column of results.csv: what changes no question, but last bits
    "device": "on different devices",
    "processor": "on different processors",
    "threads": "with different numbers of threads",
    "xla_flags": "with different flags of XLA",
}
TRACES = ("study.json", "results.csv", "trials")  # a folder with one of these is a study's


def write_report(study_dir: Path) -> None:
    """Writes report.md, report.html and the figures into the folder of a study.

    Raises:
        RecordError: If a record is damaged or the report cannot be written.
    """
    study = load_study(study_dir)
    reconcile_results(study_dir, study.trials)
    figures.write_figures(study_dir, study)
    write_atomic(study_dir / "report.md", compose(study))
    webpage.write_page(study_dir)


def summary(study_dir: Path) -> str:
    """The answer in plain text, for a terminal.

    Raises:
        RecordError: If a record is damaged.
    """
    lines = _summary_lines(load_study(study_dir))
    return "\n".join(line.replace("**", "") for line in lines)


def fill_readmes(study_dir: Path) -> None:
    """Copies the answer into the study's README.md and those of the two folders above it.

    Its place is between `<!-- answer: FOLDER/STUDY -->` and `<!-- /answer: FOLDER/STUDY -->`.

    Raises:
        RecordError: If a record is damaged or a README cannot be written.
    """
    folder = study_dir.resolve()
    text = "\n".join(f"- {line}" for line in _summary_lines(load_study(study_dir)))
    for place in (folder, *folder.parents[:2]):
        readme.fill(place / "README.md", f"answer: {folder.parent.name}/{folder.name}", text)


def _summary_lines(study: Study) -> list[str]:
    groups = make_groups(study)
    lines = [_state(study), *_answers(groups, study), _paper_says(study), *_notes(groups, study)]
    return [line for line in lines if line]


def compose(study: Study) -> str:
    """The text of report.md."""
    config, groups = study.config, make_groups(study)
    likeness = tables.likeness(study, groups)
    sections = [
        f"# Iterations to {config.trial.target_train_error:.0%} training error by"
        f" {config.study.compare.field}, relative to {config.study.compare.baseline}",
        _state(study),
        "\n".join(f"- {line}" for line in _answers(groups, study)),
        _paper_says(study),
        *_notes(groups, study),
        *_networks(groups, study),
        *_final_errors(groups, study),
        "![Training error by epoch](training_error.png)",
        "## Learning rates",
        tables.learning_rates(study, groups),
        "![Iterations to the target by learning rate](learning_rates.png)"
        if rates_were_chosen(groups)
        else "",
        "## By training error",
        tables.thresholds(study, groups),
        "![Ratio of iterations by training error](ratios.png)",
        "## Distance to the paper's curves" if likeness else "",
        likeness,
        "## Trials",
        tables.trials(study),
        "## Time, machine, versions",
        tables.provenance(study),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _networks(groups: Sequence[Group], study: Study) -> list[str]:
    if not networks.compares_networks(study):
        return []
    figure = "![Loss and errors by iterations and by seconds](curves.png)"
    return [figure, "## Networks", networks.table(study, groups)]


def _final_errors(groups: Sequence[Group], study: Study) -> list[str]:
    if not budget.has_budget(study):
        return []
    return [
        "## Final errors",
        budget.table(study, groups),
        "![Final errors by arm](final_errors.png)",
        "![Training and test error by epoch](overfitting.png)",
    ]


def _state(study: Study) -> str:
    done, planned = len(study.trials), planned_trials(study)
    if done >= planned:
        return ""
    begun = f", {len(study.unfinished)} more begun" if study.unfinished else ""
    return f"**Not finished: {done} of {planned} trials are done{begun}.**"


def _answers(groups: Sequence[Group], study: Study) -> list[str]:
    ratios = [
        f"**{group.label}**: {wording.answer(study, group, other)}"
        for group in groups
        for other in group.others
    ]
    return [*networks.claims(groups), *ratios, *budget.answers(study, groups)]


def _paper_says(study: Study) -> str:
    target = study.config.trial.target_train_error
    theirs = paper.ratios_beside(study, [target])
    if not theirs:
        return ""
    return (
        "The paper (section 3.1, Fig. 1, CIFAR-10): ReLU reaches 25% training error six times"
        f" faster than tanh; its two curves, one run each, give {wording.ratio(theirs[target])}"
        f" times at {target:.0%}."
    )


def _notes(groups: Sequence[Group], study: Study) -> list[str]:
    """What must be known to read the answer rightly."""
    notes = [wording.DATA_NOTES.get(study.header["dataset"], "")]
    notes += [
        f"**{group.label}, {arm.value}: the chosen rate {arm.rate:g} is on the edge of its grid; a"
        " better one may lie outside: extend the grid.**"
        for group in groups
        for arm in group.arms
        if arm.choice and arm.choice.at_edge and arm.chosen
    ]
    if before := study.header.get("seeds_before"):
        words = ", then ".join(
            str(len(seeds)) for seeds in (*before, study.config.study.fresh_seeds)
        )
        notes.append(f"Fresh seeds were added after the study had begun: {words} of them.")
    rows = [trial.row for trial in study.trials]
    if len({row["commit"] for row in rows}) > 1:
        notes.append(f"Trials were run by different code: {tables.counted(rows, 'commit')}.")
    if any("-dirty" in row["commit"] for row in rows):
        notes.append("Trials marked -dirty were run by code that differed from its commit.")
    notes += [
        f"Trials were run {words}: {tables.counted(rows, column)}."
        for column, words in MIXED.items()
        if len({row.get(column, "unknown") for row in rows}) > 1
    ]
    return [note for note in notes if note]


def main(arguments: Sequence[str]) -> int:
    """Redraws the report of each folder that holds a study; 2 if one cannot be.

    Raises:
        LabError: If none of the folders holds a study.
    """
    parser = argparse.ArgumentParser(prog="python -m src.report", description=__doc__)
    parser.add_argument("studies", nargs="+", metavar="DIR", type=local_path)
    parser.add_argument(
        "--index", type=local_path, help="folder above, where index.html is to list them"
    )
    given = parser.parse_args(arguments)
    studies = [path for path in given.studies if not path.exists() or _is_study(path)]
    for path in given.studies:
        if path not in studies:
            print(f"note: {path} holds no study", file=sys.stderr)
    if not studies:
        raise LabError("there is no study to report of; give folders that hold a study.json")
    failed = [not _redraw(path) for path in studies]
    if given.index:
        webpage.write_index(given.index)
    return 2 if any(failed) else 0


def _is_study(path: Path) -> bool:
    return any(os.path.lexists(path / name) for name in TRACES)


def _redraw(path: Path) -> bool:
    try:
        write_report(path)
        fill_readmes(path)
        print(f"{path}\n{summary(path)}\n")
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True
