"""Tables of a study's findings, each with the sentences that it needs to be read rightly."""

import math
from collections.abc import Sequence
from dataclasses import replace

from src import wording
from src.analysis import paper, ranks
from src.analysis.effects import Analysis, Effect, Interaction
from src.analysis.groups import ArmRecord, Group
from src.analysis.measures import Measure
from src.analysis.ranks import RankCheck
from src.reports import sentences
from src.wording import table

ADJUSTMENTS = {"Dunnett": "Dunnett's test", "Holm": "Holm's rule"}
READINGS = {
    "iterations": "online",
    "iterations_as_in_figure": "as in Fig. 1",
    "iterations_frozen": "parameters fixed",
}
METHOD = (
    "Numbers of iterations are compared by the ratio of their geometric means, each less half a"
    " recording step. The 95% interval is Welch's on logarithms; where a trial was censored, it"
    " comes from the likelihood. Errors are compared by the difference of their means, with Welch's"
    " interval."
)


def measures(analysis: Analysis) -> str:
    """A table of each arm's mean by each measure, and its difference from the baseline."""
    listed, target = analysis.measures, analysis.target
    text = f"{METHOD}{_adjustments(analysis)}"
    text += " In brackets: the effect and its interval, relative to the baseline."
    if not analysis.effects():
        text = "Means over trials; of iterations the geometric mean, less half a recording step."
    header = ["group", "arm", "n", *(sentences.measure_words(m, target) for m in listed)]
    columns = [{_key(e.group, e.arm): e for e in analysis.effects(m)} for m in listed]
    rows = [
        [
            group.label,
            arm.value,
            str(len(arm.fresh)),
            *(
                _measured(analysis, measure, arm, effects.get(_key(group, arm)))
                for measure, effects in zip(listed, columns, strict=True)
            ),
        ]
        for group in analysis.groups
        for arm in group.arms
    ]
    return f"{text}\n\n{table(header, rows)}\n\n{_checks(analysis)}".strip()


def _adjustments(analysis: Analysis) -> str:
    """A sentence that says how the p-values of each measure are adjusted; "" if they are not."""
    found: dict[str, list[str]] = {}
    for measure in analysis.measures:
        if not all(math.isnan(effect.p) for effect in analysis.effects(measure)):
            words = sentences.measure_words(measure, analysis.target)
            found.setdefault(analysis.adjustment(measure), []).append(words)
    if not found or "" in found:
        return ""
    start = f" p is adjusted for all {len(analysis.effects())} comparisons"
    if len(found) == 1:
        return f"{start} ({ADJUSTMENTS[next(iter(found))]})."
    ways = [f"{ADJUSTMENTS[how]} ({'; '.join(words)})" for how, words in found.items()]
    return f"{start}, by {' or '.join(ways)}."


def _key(group: Group, arm: ArmRecord) -> tuple[str, str]:
    return group.label, arm.value


def _measured(analysis: Analysis, measure: Measure, arm: ArmRecord, effect: Effect | None) -> str:
    own = sentences.means(measure, arm, analysis.target)
    if effect is None or own == "-":
        return own
    found = effect.interval
    value, p = sentences.value_words(found), sentences.p_words(effect.p)
    return f"{own} ({value}: {sentences.ends(found)}{p})"


def _checks(analysis: Analysis) -> str:
    """A sentence with the same comparisons by ranks, if there are trials enough."""
    parts = []
    for effect in analysis.effects():
        check = analysis.ranks(effect)
        if check is None:
            continue
        name = f"{effect.group.label}, {effect.arm.value}"
        found = _median(effect.interval.kind, check)
        parts.append(f"{name}: {found}{wording.p_value(check.p)}")
    if not parts:
        return ""
    most = max(len(arm.fresh) for group in analysis.groups for arm in group.arms)
    test = "exact rank-sum test" if most <= ranks.MANY else "rank-sum test"
    start = f"Checked by ranks (median over all pairs of trials, {test})"
    return f"{start}: {'; '.join(parts)}."


def _median(kind: str, check: RankCheck) -> str:
    """The median over pairs and its interval; "" where in half the pairs one never got there."""
    if kind == "difference":
        ends = wording.points_ends(check.low, check.high)
        return f"{wording.points(check.value)} points ({ends}), "
    if not 0 < check.value < math.inf:
        return ""
    return f"{wording.ratio(check.value)} ({wording.ratio_ends(check.low, check.high)}), "


def interactions(analysis: Analysis) -> str:
    """A table of interactions between groups; "" for a single group."""
    all_found = analysis.interactions()
    if not all_found:
        return ""
    rows = [
        [
            _between(found, all_found),
            found.value,
            sentences.value_words(found.interval),
            sentences.ends(found.interval),
            wording.p_value(found.interval.p),
        ]
        for found in all_found
    ]
    kind = analysis.measure.kind
    what = "ratio of the two ratios" if kind == "ratio" else "difference of the two differences"
    header = ["groups", "arm", what, "95% interval", "p, by itself"]
    return f"How far the effect differs between two groups.\n\n{table(header, rows)}"


def _between(found: Interaction, others: Sequence[Interaction]) -> str:
    """The two groups by what differs; by what they share too, where others differ in the same."""
    over = "over" if found.interval.kind == "ratio" else "minus"
    words = f"{found.field}: {found.first} {over} {found.second}"
    alike = [each for each in others if found[:4] == each[:4]]
    if len(alike) == 1:
        return words
    group = found.groups[0]
    shared = {name: value for name, value in group.fields.items() if name != found.field}
    return f"{words}, {replace(group, fields=shared).label}"


def shares(analysis: Analysis) -> str:
    """A table of how much each part explains of the difference between two groups, or ""."""
    found = analysis.shares()
    if not found:
        return ""
    one, two = (group.fields[found[0].field] for group in analysis.groups[:2])
    rows = [
        [
            each.second,
            each.value,
            _percent(each.interval.value),
            f"{_percent(each.interval.low)} to {_percent(each.interval.high)}"
            if each.interval.exists
            else sentences.REASONS.get(each.interval.how, "no interval"),
        ]
        for each in found
    ]
    text = (
        f"How much of the difference between the ratio under {one} and that under {two} goes away"
        f" with a part of {one}: 100% if the ratio without it is as under {two}."
        " Shares are of the logarithm of the ratio, with Fieller's 95% interval. They need not add"
        " up to 100%, for parts act together."
    )
    apart = {words: None for each in found if (words := sentences.groups_apart(each))}
    told = "".join(f"\n\n{wording.capital(words)}." for words in apart)
    return f"{text}\n\n{table([found[0].field, 'arm', 'share', '95% interval'], rows)}{told}"


def _percent(share: float) -> str:
    rounded = f"{100 * share:.0f}%"
    return "-" if math.isnan(share) else "0%" if rounded == "-0%" else rounded


def thresholds(analysis: Analysis) -> str:
    """Ratio of iterations to each training error, in both readings."""
    errors = sorted(analysis.study.config.study.thresholds, reverse=True)
    rows = []
    for measure in analysis.readings:
        by_error = [analysis.effects(measure, error) for error in errors]
        for effects in zip(*by_error, strict=True):
            cells = [_ratio_cell(effect) for effect in effects]
            rows.append(
                [effects[0].group.label, effects[0].arm.value, READINGS[measure.name], *cells]
            )
    if not rows:
        return ""
    theirs = paper.ratios_beside(analysis.study, errors).values()
    if theirs:
        cells = list(map(sentences.value_words, theirs))
        rows.append(["the paper's curves", "tanh", READINGS["iterations_as_in_figure"], *cells])
    config = analysis.study.config
    baseline = config.study.compare.baseline
    windows = sorted({arm.settings.window_epochs for arm in config.arms})
    window = " or ".join("epoch" if epochs == 1 else f"{epochs:g} epochs" for epochs in windows)
    text = (
        f"Iterations relative to {baseline}. In brackets stands the 95% interval of each ratio by"
        " itself; among so many intervals some miss the truth. *Online* is the error over the last"
        f" {window}, known once so many images have been seen. *As in Fig. 1* is the error of the"
        " first 10,000 images after each epoch (of the first fifth, if there are no more), with"
        " straight lines between these points, as the paper's curves are read. Only the second may"
        " be set beside the paper's."
    )
    header = ["group", "arm", "reading", *map(wording.target, errors)]
    return f"{text}\n\n{table(header, rows)}"


def _ratio_cell(effect: Effect) -> str:
    found = effect.interval
    if found.how in ("not measured", "incomplete"):
        return "-"
    return f"{sentences.value_words(found)} ({sentences.ends(found)})"
