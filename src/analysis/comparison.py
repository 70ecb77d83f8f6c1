"""From a study's records to what it compares: groups of arms, each at its own learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.analysis import paired
from src.analysis import times as analysis
from src.analysis.choice import Choice, choose_rate
from src.analysis.paired import Estimate
from src.analysis.study import Study
from src.analysis.times import Ratio
from src.config.arms import Arm
from src.config.config import Config
from src.records.trial import TrialRecord
from src.training.settings import TrialSettings


@dataclass(frozen=True)
class ArmRecord:
    """What was found of one arm."""

    name: str  # of the arm
    value: str  # of the compared field
    settings: TrialSettings  # of its trials
    grid: tuple[float, ...]
    choice: Choice | None  # None where there was nothing to choose from
    chosen: bool  # False while trials of its grid are missing
    selection: tuple[TrialRecord, ...]
    fresh: tuple[TrialRecord, ...]  # at the chosen rate

    @property
    def rate(self) -> float:
        """The learning rate its answer is measured at."""
        return self.choice.rate if self.choice else self.grid[0]


@dataclass(frozen=True)
class Group:
    """Arms that differ in the compared field alone."""

    fields: dict[str, Any]  # what they share: model, recipe and whatever else is swept
    arms: tuple[ArmRecord, ...]
    baseline: ArmRecord | None

    @property
    def label(self) -> str:
        """Such as `conv3, cuda_convnet` or `conv3, modern, batch_size 64`."""
        named = [str(self.fields[key]) for key in ("model", "recipe") if key in self.fields]
        others = [f"{k} {v}" for k, v in self.fields.items() if k not in ("model", "recipe")]
        return ", ".join(named + others)

    @property
    def others(self) -> tuple[ArmRecord, ...]:
        """The arms compared with the baseline."""
        return tuple(arm for arm in self.arms if self.baseline and arm is not self.baseline)

    def ratios(self, other: ArmRecord, thresholds: list[float]) -> dict[float, Ratio]:
        """Of `other` over the baseline at each threshold; empty while either has no fresh trial."""
        if not (self.baseline and self.baseline.fresh and other.fresh):
            return {}
        return analysis.ratio_by_threshold(self.baseline.fresh, other.fresh, thresholds)

    def difference(self, other: ArmRecord, measure: str, *, comparisons: int) -> Estimate:
        """Of a final error, see `paired.MEASURES`, from the baseline's; paired by seed."""
        before = self.baseline.fresh if self.baseline else ()
        measure_fn = paired.MEASURES[measure]
        return paired.difference(before, other.fresh, measure_fn, comparisons=comparisons)


def make_groups(study: Study) -> tuple[Group, ...]:
    """The groups of a study, in the order of its sweep; in each the baseline comes first."""
    compare = study.config.study.compare
    baseline = str(compare.baseline)
    members: dict[str, tuple[dict[str, Any], list[ArmRecord]]] = {}
    for arm in study.config.arms:
        fields, value = _fields(study.config, arm, compare.field)
        _, arms = members.setdefault(repr(fields), (fields, []))
        arms.append(_arm_record(study, arm, value))
    return tuple(
        Group(
            fields,
            tuple(sorted(arms, key=lambda arm: arm.value != baseline)),
            _named(arms, baseline),
        )
        for fields, arms in members.values()
    )


def rates_were_chosen(groups: Sequence[Group]) -> bool:
    """Whether an arm had more than one learning rate."""
    return any(len(arm.grid) > 1 for group in groups for arm in group.arms)


def planned_trials(study: Study) -> int:
    """How many trials the study has when it is done."""
    config, arms = study.config.study, study.config.arms
    selection = sum(
        len(arm.learning_rates) * len(config.selection_seeds)
        for arm in arms
        if len(arm.learning_rates) > 1
    )
    return selection + len(arms) * len(config.fresh_seeds)


def was_raced(trial: TrialRecord, config: Config) -> bool:
    """Whether a trial was stopped because it could no longer win the choice of rate."""
    row, epochs = trial.row, trial.metrics["epoch"]
    stopped = row["status"] == "censored" and row["purpose"] == "selection"
    return stopped and bool(np.all(epochs < config.trial.max_epochs))


def _fields(config: Config, arm: Arm, compared: str) -> tuple[dict[str, Any], str]:
    """What tells the arm's group from others, and the arm's value of the compared field."""
    shared = config.trial
    fields = {"model": shared.model.name, "recipe": shared.recipe.name, **dict(arm.swept)}
    value = fields.pop(compared, arm.settings.model.as_tree().get(compared, "all"))
    return fields, str(value)


def _arm_record(study: Study, arm: Arm, value: str) -> ArmRecord:
    mine = [t for t in study.trials if t.row["trial"].rsplit("-lr", 1)[0] == arm.name]
    selection = tuple(t for t in mine if t.row["purpose"] == "selection")
    choice = choose_rate(study.config, selection) if selection else None
    wanted = len(arm.learning_rates) * len(study.config.study.selection_seeds)
    chosen = len(arm.learning_rates) == 1 or len(selection) == wanted
    rate = choice.rate if choice else arm.learning_rates[0]
    fresh = [t for t in mine if t.row["purpose"] == "fresh" and t.row["learning_rate"] == rate]
    return ArmRecord(
        arm.name, value, arm.settings, arm.learning_rates, choice, chosen, selection, tuple(fresh)
    )


def _named(arms: list[ArmRecord], value: str) -> ArmRecord | None:
    return next((arm for arm in arms if arm.value == value), None)
