"""Findings: what our studies found about each claim, and the verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src import wording
from src.analysis import verdicts
from src.analysis.effects import Analysis, Effect, Interaction
from src.analysis.families import holm
from src.analysis.groups import ArmRecord, Group, trained_apart
from src.analysis.intervals import Interval
from src.analysis.measures import MEASURES, get_measure
from src.analysis.verdicts import Verdict
from src.reports import sentences
from src.reports.paper_claims import CLAIMS, Claim

NOT_YET = "not measured yet"
CONFOUNDED: tuple[Verdict, str] = ("confounded", "the arms were trained by different code")


@dataclass(frozen=True)
class Finding:
    """A row of the table of claims.

    Attributes:
        claim: The claim.
        group: The group of arms that was asked; empty if no study has asked the claim yet.
        ours: What was found, in words.
        trained: How far training got, in words.
        verdict: A word of `verdicts.Verdict`; None if there is nothing to judge, and then `ours`
            says why.
        remark: What stands beside the verdict.
        found: The interval of the first measure that has a value; None where none has.
    """

    claim: Claim
    group: str
    ours: str
    trained: str = "-"
    verdict: Verdict | None = None
    remark: str = ""
    found: Interval | None = None

    @property
    def waits(self) -> bool:
        """Whether its study has not come so far."""
        return not self.group or self.ours == NOT_YET

    @property
    def words(self) -> str:
        """The verdict in the words of the table."""
        between = " " if self.verdict == "no effect larger than" else "; "
        return between.join(part for part in (self.verdict, self.remark) if part) or "-"


def find_all(studies: Mapping[str, Analysis | None]) -> list[Finding]:
    """The findings of all claims, in the order of the table, one per group of a study's arms.

    Args:
        studies: Folder in experiments/ -> its analysis, None if it has no records.
    """
    return [each for claim in CLAIMS for each in find(claim, studies[claim.study])]


def find(claim: Claim, analysis: Analysis | None) -> list[Finding]:
    """The findings of one study about one claim."""
    if analysis is None:
        return [Finding(claim, "", "-")]
    if claim.rule == "interaction":
        return [_interaction(claim, analysis)]
    rows = [
        _of_group(claim, analysis, group)
        for group in analysis.groups
        if all(str(group.fields.get(name)) == value for name, value in claim.where)
    ]
    return rows or [Finding(claim, ", ".join(value for _, value in claim.where), "not compared")]


def _of_group(claim: Claim, analysis: Analysis, group: Group) -> Finding:
    effects = [
        effect
        for name in claim.measures
        for effect in analysis.effects(get_measure(name))
        if effect.group is group and effect.arm.value == claim.other
    ]
    if group.baseline is None or group.baseline.value != claim.baseline or not effects:
        return Finding(claim, group.label, "not compared")
    if effects[0].interval.how == "not measured":
        return Finding(claim, group.label, NOT_YET)
    if MEASURES[claim.measures[0]].equally_long and not analysis.equally_long:
        return Finding(claim, group.label, "not trained equally long")
    arms = (group.baseline, effects[0].arm)
    parts = [
        _effect_words(name, analysis.target, effect.interval, effect.p)
        for name, effect in zip(claim.measures, effects, strict=True)
    ]
    ours = f"{'; '.join(parts)}; {analysis.study.trained_on}{_shared_rate(arms)}"
    verdict, remark = _judge_arms(claim, effects, arms)
    known = [effect.interval for effect in effects if not math.isnan(effect.interval.value)]
    found = known[0] if known else None
    return Finding(claim, group.label, ours, _trained(arms), verdict, remark, found)


def _interaction(claim: Claim, analysis: Analysis) -> Finding:
    """The finding of an interaction; all that are claimed of a study are one family."""
    same = [c for c in CLAIMS if (c.study, c.rule) == (claim.study, claim.rule) and c != claim]
    asked, *others = (_interaction_of(each, analysis) for each in (claim, *same))
    if asked is None:
        (_, first), (_, second) = claim.where
        return Finding(claim, f"{first} over {second}", NOT_YET)
    p_values = [each.interval.p if each else math.nan for each in (asked, *others)]
    return _of_interaction(claim, analysis, asked, holm(p_values)[0], alone=not others)


def _interaction_of(claim: Claim, analysis: Analysis) -> Interaction | None:
    (field, first), (_, second) = claim.where
    wanted = (field, first, second, claim.other)
    for found in analysis.interactions(MEASURES[claim.measures[0]]):
        if (found.field, found.first, found.second, found.value) == wanted:
            return found
    return None


def _of_interaction(
    claim: Claim, analysis: Analysis, found: Interaction, adjusted: float, *, alone: bool
) -> Finding:
    """The finding; an interval without a p can be judged alone, but not as one of several."""
    interval, label = found.interval, f"{found.first} over {found.second}"
    if interval.how == "not measured":
        return Finding(claim, label, NOT_YET)
    if not interval.exists:
        return Finding(claim, label, sentences.interval(interval), verdict="not decided")
    known = f"{sentences.interval(interval)}{sentences.p_words(adjusted)}"
    ours = (
        f"{sentences.value_words(interval)} times the ratio ({known}); {analysis.study.trained_on}"
    )
    p = adjusted if alone or not math.isnan(adjusted) else 1.0
    verdict = verdicts.judge(interval, claim.direction, p=p)
    remark = sentences.remark(interval, verdict)
    remark = "; ".join(part for part in (remark, sentences.groups_apart(found)) if part)
    if any(_differ_in_code(pair) for pair in found.pairs):
        verdict, remark = CONFOUNDED
    return Finding(claim, label, ours, verdict=verdict, remark=remark, found=interval)


# --- Words. ---


def _effect_words(measure: str, target: float, found: Interval, p: float) -> str:
    words = sentences.measure_words(MEASURES[measure], target)
    value = sentences.value_words(found)
    start = f"{value} times the {words}" if found.kind == "ratio" else f"{words} {value}"
    return f"{start} ({sentences.interval(found)}{sentences.p_words(p)})"


def _shared_rate(arms: Sequence[ArmRecord]) -> str:
    """A note if no arm could choose its learning rate."""
    if any(len(arm.grid) > 1 for arm in arms):
        return ""
    if len({arm.rate for arm in arms}) == 1:
        return "; one rate for both"
    return f"; rates set before: {', '.join(f'{arm.value} {arm.rate:g}' for arm in arms)}"


def _trained(arms: Sequence[ArmRecord]) -> str:
    """Training errors of the baseline and of the arm at the end, in words."""
    return " and ".join(sentences.means(MEASURES["train_error"], arm, 0.0) for arm in arms)


# --- Verdicts. ---


def _judge_arms(
    claim: Claim, effects: Sequence[Effect], arms: Sequence[ArmRecord]
) -> tuple[Verdict, str]:
    """The verdict and the remark beside it."""
    found = effects[0].interval
    if _differ_in_code(arms):
        return CONFOUNDED
    overfits = claim.rule == "overfitting"
    judged = [_judge(claim, effect) for effect in effects]
    verdict = judge_overfitting(*judged) if overfits else judged[0]
    factor = "" if overfits else _factor(claim, found)
    apart = sentences.apart("the two", trained_apart(*arms))
    remarks = (sentences.remark(found, verdict), factor, apart)
    return verdict, "; ".join(part for part in remarks if part)


def _differ_in_code(arms: Sequence[ArmRecord | None]) -> bool:
    """Whether the two arms of a group were trained by different commits."""
    return "commit" in trained_apart(*arms)


def _judge(claim: Claim, effect: Effect) -> Verdict:
    sought = claim.factor or claim.effect
    return verdicts.judge(effect.interval, claim.direction, p=effect.p, effect=sought)


def judge_overfitting(equal: Verdict, end: Verdict) -> Verdict:
    """Whether an arm overfits less.

    A gap between training and test error decides nothing, since it is smaller for an arm that
    trains more slowly.

    Args:
        equal: Verdict on the test error at equal training error.
        end: Verdict on the test error at the end, each arm at its own rate.

    Returns:
        "shown" if one of the two is, and the one at the end is not contradicted.
    """
    if end == "contradicted":
        return end
    if "shown" in (equal, end):
        return "shown"
    return equal if equal in (end, "contradicted") else "not decided"


def _factor(claim: Claim, found: Interval) -> str:
    """Whether the claimed factor lies in the interval, which is known even without a direction."""
    if not claim.factor or not found.exists:
        return ""
    if found.holds(claim.factor):
        return f"{claim.factor:g} times is within the interval"
    above = claim.factor > found.high
    end, outwards = (found.high, math.ceil) if above else (found.low, math.floor)
    shown = float(wording.ratio(end, outwards).replace(",", ""))
    seems_within = shown >= claim.factor if above else shown <= claim.factor
    ends = f", which ends at {end:.4g}" if seems_within else ""
    return f"{claim.factor:g} times is outside the interval{ends}"
