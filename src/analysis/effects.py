"""What a study found: every arm against its baseline, by the study's measure and by others."""

import itertools
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import NamedTuple

from src.analysis import families, intervals, parts
from src.analysis.groups import ArmRecord, Group, make_groups
from src.analysis.intervals import Interval, Sample
from src.analysis.measures import MEASURES, Measure, get_measures
from src.analysis.ranks import RankCheck, rank_check
from src.analysis.study import Study
from src.records.trial import TrialRecord


class Effect(NamedTuple):
    """An arm held against its baseline by one measure.

    Attributes:
        group: The arm's group, with the baseline.
        arm: The arm that is compared.
        interval: How it differs from the group's baseline.
        p: The p-value of no effect, adjusted for all comparisons of the study by this measure.
    """

    group: Group
    arm: ArmRecord
    interval: Interval
    p: float


class Interaction(NamedTuple):
    """How far an effect depends on the field in which two groups differ.

    Attributes:
        field: The only field in which the groups differ.
        first: Its value in one group.
        second: Its value in the other.
        value: The arm that is compared with the baseline in both.
        groups: The two groups, and of a share the one that sets its scale.
        interval: The effect under `first` over that under `second`, or minus it.
    """

    field: str
    first: str
    second: str
    value: str
    groups: tuple[Group, ...]
    interval: Interval

    @property
    def pairs(self) -> tuple[tuple[ArmRecord | None, ArmRecord | None], ...]:
        """Baseline and arm of each group."""
        return tuple((group.baseline, group.arm(self.value)) for group in self.groups)


@dataclass(frozen=True)
class Analysis:
    """A study's records, read once, and all comparisons of them, each made once.

    Attributes:
        study: The study's question and records.
        groups: Its arms, in groups.
        measure: The measure that it compares.
        further: Further measures that it reports.
    """

    study: Study
    groups: tuple[Group, ...]
    measure: Measure
    further: tuple[Measure, ...]
    _made: dict[tuple[str, float], tuple[Effect, ...]] = field(default_factory=dict, compare=False)

    @property
    def devices(self) -> str:
        """The devices that trials ran on, by name; "" if there are no trials."""
        return ", ".join(sorted({trial.row["device"] for trial in self.study.trials}))

    @property
    def target(self) -> float:
        """The training error to reach, a fraction."""
        return self.study.config.trial.target_train_error

    @property
    def compared(self) -> str:
        """The field by which arms are told apart."""
        return self.study.config.study.compare.field

    @property
    def replaced(self) -> tuple[TrialRecord, ...]:
        """Trials that count no more, since the grid of their arm has grown."""
        arms = (arm for group in self.groups for arm in group.arms)
        return tuple(itertools.chain.from_iterable(arm.replaced for arm in arms))

    @property
    def equally_long(self) -> bool:
        """Whether all trials train for the same time, so that their final errors compare."""
        return not any(arm.settings.stop_at_target for arm in self.study.config.arms)

    @property
    def frozen(self) -> bool:
        """Whether all trials measure their training error with fixed parameters."""
        return all("frozen" in arm.settings.readings for arm in self.study.config.arms)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The study's measure, the further ones and, if trials train equally long, final errors."""
        listed = [self.measure, *self.further]
        listed += [MEASURES["test_error"], MEASURES["train_error"]] if self.equally_long else []
        return tuple({measure.name: measure for measure in listed}.values())

    @property
    def readings(self) -> tuple[Measure, ...]:
        """Iterations to a training error, one measure for each reading that the records allow."""
        names = ["iterations", "iterations_as_in_figure"]
        names += ["iterations_frozen"] if self.frozen else []
        return tuple(MEASURES[name] for name in names)

    def effects(self, measure: Measure | None = None, target: float = 0.0) -> tuple[Effect, ...]:
        """Every arm against its baseline, in the order of the groups.

        Args:
            measure: None takes the study's.
            target: A training error; 0 takes the study's.
        """
        measure, target = measure or self.measure, target or self.target
        key = (measure.name, target)
        if key not in self._made:
            self._made[key] = self._compare(measure, target)
        return self._made[key]

    def _compare(self, measure: Measure, target: float) -> tuple[Effect, ...]:
        pairs = [(group, arm) for group in self.groups for arm in group.others]
        samples = self._samples(measure, target)
        found = [
            intervals.compare(measure.kind, baseline, other)
            for baseline, others in samples
            for other in others
        ]
        adjusted = families.adjusted(measure.kind, samples, found)
        return tuple(
            Effect(*pair, interval, p)
            for pair, interval, p in zip(pairs, found, adjusted, strict=True)
        )

    def _samples(self, measure: Measure, target: float) -> list[tuple[Sample, list[Sample]]]:
        """The numbers of each group's baseline and of its other arms."""
        return [
            (
                measure.sample(group.baseline.fresh, target),
                [measure.sample(arm.fresh, target) for arm in group.others],
            )
            for group in self.groups
            if group.baseline
        ]

    def adjustment(self, measure: Measure) -> str:
        """How a measure's p-values are adjusted: `Dunnett`, `Holm`, or empty for a single one."""
        return families.method(measure.kind, self._samples(measure, self.target))

    def interactions(self, measure: Measure | None = None) -> tuple[Interaction, ...]:
        """Each arm's effect in a group against that in another which differs in one field."""
        measure = measure or self.measure
        return tuple(
            Interaction(
                name,
                str(one.fields[name]),
                str(two.fields[name]),
                arm.value,
                (one, two),
                self._interaction(measure, one, two, arm.value),
            )
            for one, two in itertools.combinations(self.groups, 2)
            for name in _only_difference(one, two)
            for arm in one.others
            if two.arm(arm.value)
        )

    def shares(self) -> tuple[Interaction, ...]:
        """How much of the difference between the first two groups each further group explains.

        There are shares if times are compared and at least three groups differ in their recipe
        alone, and each further one is the first without a part: fewer of its settings are changed
        than the second has others, see `parts.share`. The `second` of a result names that group.
        """
        if len(self.groups) < 3 or self.measure.kind != "ratio":
            return ()
        one, two, *others = self.groups
        if any(list(_only_difference(one, each)) != ["recipe"] for each in (two, *others)):
            return ()
        if not all(0 < _changes(one, part) < _changes(one, two) for part in others):
            return ()
        return tuple(
            Interaction(
                "recipe",
                str(one.fields["recipe"]),
                str(part.fields["recipe"]),
                arm.value,
                (one, part, two),
                parts.share(
                    (
                        self._arms(self.measure, one, arm.value),
                        self._arms(self.measure, two, arm.value),
                    ),
                    self._arms(self.measure, part, arm.value),
                ),
            )
            for part in others
            for arm in one.others
        )

    def _interaction(self, measure: Measure, one: Group, two: Group, value: str) -> Interval:
        first, second = (self._arms(measure, group, value) for group in (two, one))
        return intervals.interaction(measure.kind, first, second)

    def _arms(self, measure: Measure, group: Group, value: str) -> intervals.Arms:
        arms = (group.baseline, group.arm(value))
        one, two = (measure.sample(arm.fresh if arm else (), self.target) for arm in arms)
        return one, two

    def ranks(self, effect: Effect) -> RankCheck | None:
        """The same comparison by ranks, as a check; None where there are too few trials."""
        arms = self._arms(self.measure, effect.group, effect.arm.value)
        return rank_check(self.measure.kind, *arms)


def analyse(study: Study) -> Analysis:
    """Reads a study's question into its groups and measures."""
    measure, *further = get_measures(study.config.study.compare).values()
    return Analysis(study, make_groups(study), measure, tuple(further))


def _only_difference(one: Group, two: Group) -> Sequence[str]:
    """The one field in which two groups differ; empty if there are none or several."""
    apart = [name for name in one.fields if one.fields[name] != two.fields.get(name)]
    return apart if len(apart) == 1 and one.fields.keys() == two.fields.keys() else []


def _changes(one: Group, two: Group) -> int:
    """Number of settings in which the recipes of two groups differ."""
    recipes = (group.arms[0].settings.recipe for group in (one, two))
    settings = (astuple(replace(recipe, name="", learning_rates=())) for recipe in recipes)
    return sum(mine != theirs for mine, theirs in zip(*settings, strict=True))
