"""Comparisons in sentences that are no stronger than their intervals."""

import math
from collections.abc import Collection
from dataclasses import replace

from src import wording
from src.analysis import verdicts
from src.analysis.effects import Analysis, Effect, Interaction
from src.analysis.groups import ArmRecord, Group, trained_apart
from src.analysis.intervals import How, Interval, Sample
from src.analysis.measures import Measure
from src.records.trial import TrialRecord
from src.training.optimizers import Recipe

DATA_NOTES = {
    "cifar10-jpeg": "cifar10-jpeg is CIFAR-10 re-encoded as JPEG: not exactly the paper's images.",
    "procedural": "**Procedural images are drawn by code: they are not CIFAR-10, and the paper's"
    " numbers say nothing about them.**",
}
RECIPES = " `cuda_convnet` is the recipe of 2012, `modern` one of today."
USUAL = {  # What these words are said of, as in configs/base.py.
    "cuda_convnet": Recipe(
        input="centered", init="paper", bias_rate=2.0, order="permuted", file_images=10_000
    ),
    "modern": Recipe(input="standardized", init="modern", bias_rate=1.0, order="shuffled"),
}
FIELD_WORDS = {"lrn": "normalization", "model": "network", "name": "network"}
APART = {"commit": "by different code", "device": "on different devices"}
REASONS: dict[How, str] = {
    "no spread": "no interval: the trials of an arm do not differ",
    "too few": "no interval",
    "incomplete": "no interval: not every trial has this number",
    "not measured": "not measured yet",
}


def is_usual(recipe: Recipe) -> bool:
    """Whether a recipe is what `RECIPES` says of its name; its learning rates may be any."""
    usual = USUAL.get(recipe.name)
    return (
        usual is not None and replace(recipe, name="", learning_rates=usual.learning_rates) == usual
    )


def field_words(field: str) -> str:
    """A field's name within a sentence, such as `weight decay`."""
    return FIELD_WORDS.get(field, field.replace("_", " "))


def arm_words(field: str, value: str) -> str:
    """An arm by its value: `tanh`, but `dropout 0.5` and `flip True`."""
    return f"{field_words(field)} {value}" if _is_bare(value) else value


def _is_bare(value: str) -> bool:
    """Whether a value means nothing without the name of its field: a number, yes or no."""
    try:
        float(value)
    except ValueError:
        return value in ("True", "False", "None", "yes", "no")
    return True


def measure_words(measure: Measure, target: float) -> str:
    """A measure in words, such as `iterations to 25% training error`."""
    return measure.words.format(target=wording.target(target))


def _closed(words: str) -> str:
    """The words of a measure within a sentence: an apposition ends with a comma as it begins."""
    return f"{words}," if "," in words else words


def title(analysis: Analysis) -> str:
    """The title of a report, such as `Test error at the end by normalization, relative to none`."""
    compare = analysis.study.config.study.compare
    if len(analysis.study.config.arms) == 1:
        return f"One network trained: {analysis.groups[0].label}"
    words = wording.capital(_closed(measure_words(analysis.measure, analysis.target)))
    return f"{words} by {field_words(compare.field)}, relative to {compare.baseline}"


def alone(analysis: Analysis, group: Group) -> str:
    """What an arm that is compared with nothing came to, in a sentence."""
    arm = group.arms[0]
    reached = [
        f"{measure_words(measure, analysis.target)}: {means(measure, arm, analysis.target)}"
        for measure in analysis.measures
    ]
    seeds = len(arm.fresh)
    told = f"{'; '.join(reached)} ({'means, ' if seeds > 1 else ''}n = {seeds})"
    return "; ".join([told, *_without(analysis.measure, arm, analysis.target)]) + "."


def answer(analysis: Analysis, effect: Effect) -> str:
    """A sentence that says how an arm differs from its baseline, and how surely."""
    group, arm, found, _ = effect
    other = arm_words(analysis.compared, arm.value)
    baseline = arm_words(analysis.compared, str(analysis.study.config.study.compare.baseline))
    if found.how == "not measured" or group.baseline is None:
        return f"{other} against {baseline}: not measured yet."
    measure = analysis.measure
    words = measure_words(measure, analysis.target)
    if found.how == "incomplete":
        return f"{other} against {baseline}: {words} not known, {_missing(analysis, effect)}."
    if math.isnan(found.bound):
        ends = f" ({interval(found)}{p_words(effect.p)})" if found.exists else ""
        return f"{other} against {baseline}: {_too_few(analysis, effect)}{ends}."
    numbers = [means(measure, each, analysis.target) for each in (arm, group.baseline)]
    return (
        f"{_claim(measure, found, words, other, baseline)} ({interval(found)}{p_words(effect.p)};"
        f" {' against '.join(numbers)}).{conclusion(effect)}"
        f"{_sentence(apart('the two', trained_apart(group.baseline, arm)))}"
    )


def apart(these: str, columns: Collection[str]) -> str:
    """What differs between trials beside what is compared; "" if nothing does."""
    ways = " and ".join(words for column, words in APART.items() if column in columns)
    return ways and f"{these} were trained {ways}"


def _sentence(words: str) -> str:
    """Words as one more sentence; "" if there are none."""
    return words and f" {wording.capital(words)}."


def groups_apart(found: Interaction) -> str:
    """What differs between the trials of groups beside their field; "" if nothing does."""
    columns = {
        column
        for first, *others in zip(*found.pairs, strict=True)
        for other in others
        for column in trained_apart(first, other)
    }
    named = [arm_words(found.field, str(group.fields[found.field])) for group in found.groups]
    *before, last = (f"those with {each}" for each in named)
    return apart(f"{', '.join(before)} and {last}", columns)


def _too_few(analysis: Analysis, effect: Effect) -> str:
    """How many trials got there, where these are too few to say which arm is sooner."""
    arms = [arm for arm in (effect.arm, effect.group.baseline) if arm]
    samples = [analysis.measure.sample(arm.fresh, analysis.target) for arm in arms]
    there = [int((~each.censored).sum()) for each in samples]
    words = measure_words(analysis.measure, analysis.target)
    if all(number == len(each.low) for number, each in zip(there, samples, strict=True)):
        return f"{words} of 0 have no ratio"
    goal = _goal(analysis.measure, words)[1] or words
    if not any(there):
        return f"no trial got to {goal}"
    told = [
        f"{number} of {len(arm.fresh)} of {arm.value}"
        for number, arm in zip(there, arms, strict=True)
    ]
    return f"too few trials got to {goal} to say which does sooner, {' and '.join(told)}"


def _goal(measure: Measure, words: str) -> tuple[str, str]:
    """What is counted, and the goal that it is counted to, which only a time has."""
    counted, _, goal = words.partition(" to ") if measure.reading else (words, "", "")
    return counted, goal


def _claim(measure: Measure, found: Interval, words: str, other: str, baseline: str) -> str:
    if found.kind == "ratio":
        counted, goal = _goal(measure, words)
        reach = f" to reach {goal}" if goal else ""
        times = f"{value_words(found)} times as many {counted}"
        return f"{other} needs {times} as {baseline}{reach}"
    apart, than = _apart(found)
    return f"With {other} the {_closed(words)} is {apart} {than} with {baseline}"


def _apart(found: Interval) -> tuple[str, str]:
    """A difference in words, and the word that joins what it is a difference to."""
    points = f"{abs(100 * found.value):.1f}"
    if points == "0.0":
        return "to a tenth of a point the same", "as"
    return f"{points} points {'lower' if found.value < 0 else 'higher'}", "than"


def _missing(analysis: Analysis, effect: Effect) -> str:
    """A sentence that says which trials have no number."""
    arms = [arm for arm in (effect.group.baseline, effect.arm) if arm]
    return "; ".join(
        part for arm in arms for part in _without(analysis.measure, arm, analysis.target)
    )


def _without(measure: Measure, arm: ArmRecord, target: float) -> list[str]:
    """How many trials of an arm have no number, by what became of them."""
    without = int(sum(math.isnan(x) for x in measure.sample(arm.fresh, target).low))
    diverged = sum(trial.row["status"] == "diverged" for trial in arm.fresh)
    ends = {"diverged": diverged, "have none": without - diverged}
    return [
        f"{number} of {len(arm.fresh)} trials of {arm.value} {how}"
        for how, number in ends.items()
        if number
    ]


def p_words(p: float) -> str:
    """The p-value behind an interval, such as `, p = 0.03`; "" if there is none."""
    return "" if math.isnan(p) else f", {wording.p_value(p)}"


def conclusion(effect: Effect) -> str:
    """What follows from an interval that shows no effect; "" if it shows one."""
    found = effect.interval
    if not found.exists:
        return ""
    if found.side and (math.isnan(effect.p) or effect.p <= verdicts.ERROR):
        return ""
    margin = verdicts.MARGINS[found.kind]
    if verdicts.equivalent(found, margin):
        return f" Any difference is smaller than {margin_words(found.kind, margin)}."
    return " No difference is shown."


def remark(found: Interval, verdict: verdicts.Verdict) -> str:
    """The margin that follows a verdict of no effect larger than it; "" behind all others."""
    if verdict != "no effect larger than":
        return ""
    return margin_words(found.kind, verdicts.MARGINS[found.kind])


def margin_words(kind: str, margin: float) -> str:
    """A margin in words, such as `a factor of 1.5` or `2 points`."""
    return f"a factor of {margin:g}" if kind == "ratio" else f"{100 * margin:g} points"


def interaction(analysis: Analysis, found: Interaction) -> str:
    """A sentence that says how far an effect depends on what two groups do not share."""
    ratio = found.interval.kind == "ratio"
    one, two = (arm_words(found.field, value) for value in (found.first, found.second))
    arms = (found.value, str(analysis.study.config.study.compare.baseline))
    value, baseline = (arm_words(analysis.compared, each) for each in arms)
    start = f"The {'ratio' if ratio else 'difference'} of {value} to {baseline}"
    if not found.interval.exists or math.isnan(found.interval.bound):
        return f"{start} with {one} against {two}: {REASONS.get(found.interval.how, 'unknown')}."
    known = interval(found.interval)
    p = p_words(found.interval.p)
    side = found.interval.side
    depends = f" So it depends on the {field_words(found.field)}." if side else ""
    depends += _sentence(groups_apart(found))
    if ratio:
        times = f"{value_words(found.interval)} times as large"
        return f"{start} is {times} with {one} as with {two} ({known}{p}).{depends}"
    words = measure_words(analysis.measure, analysis.target)
    apart, than = _apart(found.interval)
    return (
        f"The {_closed(words)} with {value}, minus that with {baseline}, is {apart} with {one}"
        f" {than} with {two} ({known}{p}).{depends}"
    )


def value_words(found: Interval) -> str:
    """The value in words, such as `5.6`, `more than 6.4` or `-3.1 points`."""
    if math.isnan(found.bound):
        return "unknown"
    if found.kind == "difference":
        return f"{wording.points(found.value)} points"
    if math.isinf(found.value):
        return f"more than {wording.ratio(found.bound, math.floor)}"
    if found.value == 0:
        return f"less than {wording.ratio(found.bound, math.ceil)}"
    return wording.ratio(found.value)


def ends(found: Interval) -> str:
    """The interval alone, such as `5.2 to 6.1` or `-0.4 to +2.8`."""
    if not found.exists:
        return "no interval"
    words = wording.ratio_ends if found.kind == "ratio" else wording.points_ends
    return words(found.low, found.high)


def bar_words(found: Interval) -> str:
    """Value and interval beside a bar whose axis names the unit: `-3.1 (-4.0 to -2.2)`."""
    return f"{value_words(found).removesuffix(' points')} ({ends(found)})"


def interval(found: Interval) -> str:
    """The interval and the numbers of trials, or why there is none."""
    n = f"n = {found.n[1]} and {found.n[0]}" if found.n[0] != found.n[1] else f"n = {found.n[0]}"
    if not found.exists:
        return f"{REASONS.get(found.how, 'no interval')}, {n}"
    return f"95% interval {ends(found)}, {n}"


def means(measure: Measure, arm: ArmRecord, target: float) -> str:
    """An arm's mean in words: `16,848`, `> 7,839`, `24.8%`, or `-` if it is unknown."""
    return mean(measure.sample(arm.fresh, target), measure.kind)


def mean(sample: Sample, kind: str) -> str:
    """The mean of errors, or the geometric mean of times."""
    if not len(sample.low) or any(math.isnan(x) for x in sample.low):
        return "-"
    if kind == "difference":
        return wording.percent(float(sample.middle.mean()))
    if not all(sample.at_least):
        return "-"  # A trial without points is known to take longer than nothing.
    known = math.exp(sum(map(math.log, sample.at_least)) / len(sample.low))
    shown = f"{known:,.0f}" if known >= 10 or known == int(known) else f"{known:.3g}"
    return f"> {shown}" if sample.censored.any() else shown


def to_target(trial: TrialRecord) -> str:
    """Iterations of one trial to the target, or where it stopped or diverged."""
    row = trial.row
    if row["iterations_to_target"] < math.inf:
        return wording.count(row["iterations_to_target"])
    if row["status"] == "diverged":
        return f"never, diverged at {row['iterations']:,}"
    return f"> {row['iterations']:,}"
