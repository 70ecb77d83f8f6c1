"""Makes the report and the figures of a study from its records: `python -m src.report DIR...`.

READMEs with a place for the answer are given it, see `fill_readmes`. Only records are read: nothing
is trained, and the same records give the same bytes.
"""

import argparse
import itertools
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from src import wording
from src.analysis import paper
from src.analysis.effects import Analysis, analyse
from src.analysis.measures import MEASURES
from src.analysis.study import load_study
from src.errors import LabError
from src.paths import local_path_of
from src.records.files import write_atomic
from src.records.study import is_study, reconcile_results
from src.records.trial import Row, parse_trial_name
from src.reports import likeness, networks, readme, sentences, tables, trials, webpage
from src.reports.figures import registry

MIXED = {  # column of results.csv: what changes no question, but last bits
    "device": "on different devices",
    "processor": "on different processors",
    "vectors": "with vector instructions of different widths",
    "jax_version": "with different versions of JAX",
    "jaxlib_version": "with different versions of jaxlib",
    "threads": "with different numbers of threads",
    "xla_flags": "with different flags of XLA",
}
FEW = 3  # interactions that stand in the answer; more are in their table alone


class Section(NamedTuple):
    """A heading of the report, and the text under it; the figures of `registry.FIGURES` follow."""

    heading: str
    text: Callable[[Analysis], str]


def _if_networks(analysis: Analysis) -> str:
    return networks.table(analysis) if networks.compares_networks(analysis) else ""


SECTIONS: tuple[Section, ...] = (
    Section("Networks", _if_networks),
    Section("Measures", tables.measures),
    Section("Interactions", tables.interactions),
    Section("Shares", tables.shares),
    Section("Learning rates", trials.learning_rates),
    Section("By training error", tables.thresholds),
    Section("Distance to the paper's curves", likeness.likeness),
    Section("Trials", trials.trials),
    Section("Time, machine, versions", trials.provenance),
)


def write_report(study_dir: Path) -> Analysis:
    """Writes report.md, report.html and the figures into the folder of a study.

    Returns:
        The comparisons that were made.

    Raises:
        RecordError: If a record is damaged or the report cannot be written.
    """
    study = load_study(study_dir)
    reconcile_results(study_dir, study.trials)
    analysis = analyse(study)
    registry.write_figures(study_dir, analysis)
    write_atomic(study_dir / "report.md", compose(analysis))
    webpage.write_page(study_dir)
    return analysis


def compose(analysis: Analysis) -> str:
    """The text of report.md."""
    figures = registry.links(analysis, "")
    parts = [
        f"# {sentences.title(analysis)}",
        _state(analysis),
        "\n".join(f"- {line}" for line in _answers(analysis)),
        *figures[:1],
        _paper_says(analysis),
        *_notes(analysis),
        *figures[1:],
    ]
    for heading, text in SECTIONS:
        under = [part for part in (text(analysis), *registry.links(analysis, heading)) if part]
        parts += [f"## {heading}", *under] if under else []
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(analysis: Analysis) -> str:
    """The answer in plain text, for a terminal."""
    return "\n".join(line.replace("**", "") for line in _summary_lines(analysis))


def fill_readmes(study_dir: Path, analysis: Analysis) -> None:
    """Copies the answer into the study's README.md and those of the two folders above it.

    Its place is between `<!-- answer: FOLDER/STUDY -->` and `<!-- /answer: FOLDER/STUDY -->`.

    Raises:
        RecordError: If a README cannot be written.
    """
    folder = study_dir.resolve()
    text = "\n".join(f"- {line}" for line in _summary_lines(analysis))
    for place in (folder, *folder.parents[:2]):
        readme.fill(place / "README.md", f"answer: {folder.parent.name}/{folder.name}", text)


def _summary_lines(analysis: Analysis) -> list[str]:
    lines = [_state(analysis), *_answers(analysis), _paper_says(analysis), *_notes(analysis)]
    return [line for line in lines if line]


def _state(analysis: Analysis) -> str:
    study = analysis.study
    done = len(study.trials) - len(analysis.replaced)
    planned = study.config.num_trials
    if done >= planned:
        return ""
    begun = f", {len(study.unfinished)} more begun" if study.unfinished else ""
    return f"**Not finished: {done} of {planned} trials are done{begun}.**"


def _answers(analysis: Analysis) -> list[str]:
    if len(analysis.study.config.arms) == 1:
        return [f"**{g.label}**: {sentences.alone(analysis, g)}" for g in analysis.groups]
    effects = [
        f"**{effect.group.label}**: {sentences.answer(analysis, effect)}"
        for effect in analysis.effects()
    ]
    between = analysis.interactions() if len(analysis.interactions()) <= FEW else ()
    told = [sentences.interaction(analysis, found) for found in between if found.interval.exists]
    return [*networks.claims(analysis), *effects, *told]


def _paper_says(analysis: Analysis) -> str:
    theirs = paper.ratios_beside(analysis.study, [analysis.target]).get(analysis.target)
    if theirs is None or analysis.measure.kind != "ratio":
        return ""
    text = (
        "The paper says that ReLU reaches 25% training error six times faster than tanh (section"
        " 3.1, Fig. 1, CIFAR-10). Its two curves, one run each,"
    )
    goal = wording.target(analysis.target)
    if math.isnan(theirs.bound):
        return f"{text} do not say how it is at {goal}."
    text += f" give {sentences.value_words(theirs)} times at {goal}."
    as_theirs = [
        f"{sentences.value_words(e.interval)} with {e.group.label}"
        f" ({sentences.interval(e.interval)})"
        for e in analysis.effects(MEASURES["iterations_as_in_figure"])
        if e.arm.value == "tanh" and not math.isnan(e.interval.bound)
    ]
    if not as_theirs:
        return text
    return f"{text} Ours, read in the same way, give {'; '.join(as_theirs)}."


def _notes(analysis: Analysis) -> list[str]:
    """Notes that are needed to read the answer rightly."""
    study, rows = analysis.study, [trial.row for trial in analysis.study.trials]
    notes = [_measured_on(analysis), sentences.DATA_NOTES.get(study.header["dataset"], "")]
    notes.append(_on_the_edge(analysis))
    if before := study.header.get("seeds_before"):
        seeds = (*before, study.config.study.fresh_seeds)
        words = ", then ".join(str(len(each)) for each in seeds)
        notes.append(
            f"Fresh seeds were added after the study had begun: {words} of them. Looking more than"
            " once makes an error likelier than the intervals say."
        )
    notes.append(_wider_grids(analysis))
    if len({row["commit"] for row in rows}) > 1:
        notes.append(f"Trials were run by different code: {trials.counted(rows, 'commit')}.")
    if any("-dirty" in row["commit"] for row in rows):
        notes.append("Trials marked -dirty were run by code that differed from its commit.")
    notes += _mixed(rows)
    notes += [
        f"**Trials of {arm} began with different weights, for the file that they start from has"
        " changed; they answer no question together.**"
        for arm in _of_different_beginnings(rows)
    ]
    return [note for note in notes if note]


def _on_the_edge(analysis: Analysis) -> str:
    """Which arms would have had a better rate, perhaps, had their grid been wider."""
    found = [
        (group.label, arm)
        for group in analysis.groups
        for arm in group.arms
        if arm.choice and arm.choice.at_edge and arm.chosen
    ]
    if not found:
        return ""
    edge = "is on the edge of its grid; a better one may lie outside: extend the grid.**"
    if len(found) == 1:
        ((label, arm),) = found
        return f"**{label}, {arm.value}: the chosen rate {arm.rate:g} {edge}"
    listed = [
        f"{label}: {', '.join(f'{arm.value} ({arm.rate:g})' for _, arm in arms)}"
        for label, arms in itertools.groupby(found, key=lambda each: each[0])
    ]
    return f"**The chosen rate of {len(found)} arms {edge} They are {'; '.join(listed)}."


def _wider_grids(analysis: Analysis) -> str:
    """How many arms were given further learning rates, and what became of their trials."""
    before = analysis.study.header.get("rates_before")
    if not before:
        return ""
    arms = [arm for group in analysis.groups for arm in group.arms]
    wider = wording.counted(sum(len(arm.grid) > len(before[0][arm.name]) for arm in arms), "arm")
    gone = wording.counted(len(analysis.replaced), "trial")
    ends = f"; {gone} at rates chosen before count no more" if analysis.replaced else ""
    return f"The grid of learning rates was extended in {wider} after the study had begun{ends}."


def _measured_on(analysis: Analysis) -> str:
    """Data, devices and views, and what the two usual recipes are if the answers name both."""
    devices = f" with {analysis.devices}" if analysis.devices else ""
    text = f"Measured on {analysis.study.trained_on}{devices}."
    if all(arm.settings.test_crops > 1 for arm in analysis.study.config.arms):
        text += " Each test image is seen in ten views, whose scores are averaged."
    recipes = [arm.settings.recipe for arm in analysis.study.config.arms]
    named = {recipe.name for recipe in recipes}
    changed = {recipe.name for recipe in recipes if not sentences.is_usual(recipe)}
    return text + (sentences.RECIPES if named - changed >= {*sentences.USUAL} else "")


def _mixed(rows: Sequence[Row]) -> list[str]:
    """What differs between the trials; in one sentence what divides them in the same way."""
    ways: dict[tuple[int, ...], list[str]] = {}
    for column in MIXED:
        values = [row.get(column, "unknown") for row in rows]
        ways.setdefault(tuple(map(values.index, values)), []).append(column)
    return [
        f"Trials were run {', '.join(MIXED[c] for c in columns)}: {trials.counted(rows, *columns)}."
        for firsts, columns in ways.items()
        if any(firsts)
    ]


def _of_different_beginnings(rows: Sequence[Row]) -> list[str]:
    """Names of the arms whose trials began with different weights."""
    found: dict[str, set[str]] = {}
    for row in rows:
        arm = parse_trial_name(row["trial"]).arm
        found.setdefault(arm, set()).add(row.get("start_sha256", ""))
    return sorted(arm for arm, weights in found.items() if len(weights) > 1)


def refuse_foreign(folder: Path) -> None:
    """Refuses a folder that has no study, but a file whose place the report would take.

    Raises:
        LabError: Naming the file.
    """
    drawn = [f"{row.name}.{kind}" for row in registry.FIGURES for kind in ("png", "svg")]
    for name in ("report.md", "report.html", *drawn):
        if os.path.lexists(folder / name):
            raise LabError(
                f"{folder / name} is of no study, and the study's own would take its place; choose"
                " another --workdir"
            )


def main(arguments: Sequence[str]) -> int:
    """Redraws the report of each folder that holds a study; returns 2 if one cannot be redrawn.

    Raises:
        LabError: If none of the folders holds a study, or that of the index is none.
    """
    parser = argparse.ArgumentParser(prog="python -m src.report", description=__doc__)
    parser.add_argument("studies", nargs="+", metavar="DIR", type=local_path_of("DIR"))
    parser.add_argument(
        "--index",
        type=local_path_of("--index"),
        help="folder above, where index.html is to list them",
    )
    given = parser.parse_args(arguments)
    studies = [path for path in given.studies if not path.exists() or is_study(path)]
    for path in given.studies:
        if path not in studies:
            print(f"note: {path} holds no study", file=sys.stderr)
    if not studies:
        raise LabError("there is no study to report on; give folders that hold a study.json")
    if given.index and not given.index.is_dir():
        raise LabError(
            f"--index {given.index} is not a folder; give the one that holds the studies"
        )
    failed = [not _redraw(path) for path in studies]
    if given.index:
        webpage.write_index(given.index)
    return 2 if any(failed) else 0


def _redraw(path: Path) -> bool:
    try:
        analysis = write_report(path)
        fill_readmes(path, analysis)
        print(f"{path}\n{summary(analysis)}\n")
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True
