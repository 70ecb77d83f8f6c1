"""The table of the paper's claims, from the records of our studies: `python -m src.claims DIR`.

It is written into DIR/README.md and into README.md beside DIR, between `<!-- claims -->` and
`<!-- /claims -->`.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from src.analysis import comparison, paired
from src.analysis import times as analysis
from src.analysis.comparison import ArmRecord, Group
from src.analysis.paired import Estimate
from src.analysis.study import Study, load_study
from src.errors import LabError
from src.paths import local_path
from src.reports import budget, readme
from src.reports import sentences as wording
from src.reports.paper_claims import CLAIMS, UNTESTED, Claim

_HEADER = ("claim", "section", "the paper", "ours: 95% interval, n, data", "verdict", "records")


def claims_table(experiments: Path, link: str) -> str:
    """The table and the sentences it needs to be read rightly.

    Args:
        experiments: The folder of the studies.
        link: Path to that folder from where the table stands, empty or ending in a slash.

    Raises:
        RecordError: If a record is damaged.
    """
    names = dict.fromkeys(claim.study for claim in CLAIMS)
    studies = {name: _read(experiments / name) for name in names}
    rows = [row for claim in CLAIMS for row in _rows(claim, studies[claim.study], link)]
    rows += [[c.text, c.section, c.number, c.reason, "not run", "-"] for c in UNTESTED]
    text = (
        "Ours is what was measured on small nets and few images, as each study says; *holds* and"
        " *does not hold* are said of the direction, where the whole interval lies on one side."
        " Pairs of the same seed, Student's interval: few pairs decide little. Where several rows"
        " put the same question to one study, their intervals are widened so that all of them hold"
        f" together with 95% probability (Bonferroni); of all {len(rows)} rows some may err all the"
        " same."
    )
    return f"{text}\n\n{wording.table(_HEADER, rows)}"


def _read(folder: Path) -> Study | None:
    return load_study(folder) if (folder / "study.json").exists() else None


def _rows(claim: Claim, study: Study | None, link: str) -> list[list[str]]:
    """A row per group of the study's arms, such as its recipes."""
    first = [claim.text, claim.section, claim.number]
    if study is None:
        return [[*first, "no records yet", "-", "-"]]
    groups = comparison.make_groups(study)
    records = f"[{claim.study}]({link}{claim.study}/report.md)"
    alike = [c for c in CLAIMS if (c.study, c.measure) == (claim.study, claim.measure)]
    count = len(alike) * len(groups)
    return [
        [*first, f"{group.label}: {ours}", verdict, records]
        for group in groups
        for ours, verdict in [_finding(claim, study, group, count)]
    ]


def _finding(claim: Claim, study: Study, group: Group, count: int) -> tuple[str, str]:
    """What was found and whether the claim holds."""
    other = next((arm for arm in group.others if arm.value == claim.other), None)
    baseline = group.baseline
    if baseline is None or baseline.value != claim.baseline or other is None:
        return "not compared", "-"
    if not baseline.fresh or not other.fresh:
        return "not measured yet", "-"
    if claim.measure == "iterations":
        return _iterations(claim, study, baseline, other, count)
    if not budget.has_budget(study):
        return "not trained equally long", "-"
    found = group.difference(other, claim.measure, comparisons=count)
    known = "diverged" if math.isnan(found.value) else f"{budget.points(found.value)} points"
    words = f"{claim.measure} {known} ({budget.interval(found)}, {_data(study)})"
    return words, verdict(claim, found, 0.0)


def _iterations(
    claim: Claim, study: Study, baseline: ArmRecord, other: ArmRecord, count: int
) -> tuple[str, str]:
    target = study.config.trial.target_train_error
    found = paired.iterations_ratio(baseline.fresh, other.fresh, target, comparisons=count)
    if math.isnan(found.value):  # the medians at least bound it
        times = [analysis.times_to_error(arm.fresh, target) for arm in (baseline, other)]
        known = wording.ratio(analysis.ratio(*times))
    else:
        known = f"{found.value:.2f}"
    words = f"{known} times the iterations to {target:.0%} training error"
    return f"{words} ({_interval(found)}, {_data(study)})", verdict(claim, found, 1.0)


def _data(study: Study) -> str:
    images = study.config.trial.train_images
    return f"{study.header['dataset']}" + (f", {images:,} images" if images else "")


def _interval(found: Estimate) -> str:
    if math.isnan(found.low):
        return f"no interval, {budget.pairs(found)}"
    return f"95% interval {budget.ratio_bounds(found)}, {budget.pairs(found)}"


def verdict(claim: Claim, found: Estimate, equal: float) -> str:
    """Of the direction and, where the paper gives a factor, whether that lies in the interval."""
    side = budget.side(found, equal)
    if side == 0:
        return f"not decided at n = {found.seeds}"
    holds = side == (1 if claim.direction == "larger" else -1)
    words = "holds" if holds else "does not hold"
    if not claim.factor:
        return words
    inside = found.low <= claim.factor <= found.high
    return f"{words}; {claim.factor:g} times is {'within' if inside else 'outside'} the interval"


def main(arguments: Sequence[str]) -> int:
    """Fills the two READMEs.

    Raises:
        LabError: If there is no such folder, or a record is damaged.
    """
    if len(arguments) != 1:
        raise LabError("usage: python -m src.claims DIR, the folder that holds the studies")
    folder = local_path(arguments[0], "DIR")
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder; give the one that holds the studies")
    readme.fill(folder / "README.md", "claims", claims_table(folder, ""))
    top = claims_table(folder, f"{folder.name}/")
    readme.fill(folder.resolve().parent / "README.md", "claims", top)
    return 0
