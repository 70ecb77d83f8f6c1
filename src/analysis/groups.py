"""Groups of a study's arms; the arms of one group differ in the compared field alone."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.analysis.choice import Choice, choose_rate, replaced_trials
from src.analysis.study import Study
from src.config.arms import Arm
from src.config.config import Config
from src.records.trial import TrialRecord, parse_trial_name
from src.training.settings import TrialSettings


@dataclass(frozen=True)
class ArmRecord:
    """The records of one arm.

    Attributes:
        name: Names of its trials begin with it.
        value: Its value of the compared field.
        settings: The settings that its trials share.
        grid: Its learning rates.
        choice: The choice among them; None without selection trials.
        chosen: Whether the choice is final; False while trials of its grid are missing.
        selection: The trials that its rate was chosen by.
        fresh: The trials at the chosen rate on fresh seeds; answers are made from these alone.
        replaced: Trials on fresh seeds that count no more, see `choice.replaced_trials`.
    """

    name: str
    value: str
    settings: TrialSettings
    grid: tuple[float, ...]
    choice: Choice | None
    chosen: bool
    selection: tuple[TrialRecord, ...]
    fresh: tuple[TrialRecord, ...]
    replaced: tuple[TrialRecord, ...] = ()

    @property
    def rate(self) -> float:
        """The learning rate its answer is measured at."""
        return self.choice.rate if self.choice else self.grid[0]

    @property
    def not_diverged(self) -> tuple[TrialRecord, ...]:
        """The fresh trials that did not diverge."""
        return tuple(trial for trial in self.fresh if trial.row["status"] != "diverged")


@dataclass(frozen=True)
class Group:
    """Arms that differ in the compared field alone.

    Attributes:
        fields: What tells groups apart: the config's network and recipe, and whatever is swept.
        arms: The arms, baseline first.
        baseline: The arm with the baseline's value; None if a variant leaves it out.
    """

    fields: dict[str, Any]
    arms: tuple[ArmRecord, ...]
    baseline: ArmRecord | None

    @property
    def label(self) -> str:
        """Such as `conv3, cuda_convnet` or `conv3, modern, batch_size 64`.

        Variants may change network and recipe: named are those that all arms of the group have.
        """
        settings = [arm.settings for arm in self.arms]
        shared = {
            "model": {each.model.name for each in settings},
            "recipe": {each.recipe.name for each in settings},
        }
        named = [
            name
            for key, names in shared.items()
            if key in self.fields and len(names) == 1
            for name in names
        ]
        others = [f"{k} {v}" for k, v in self.fields.items() if k not in shared]
        return ", ".join(named + others) or "all arms"

    @property
    def others(self) -> tuple[ArmRecord, ...]:
        """The arms compared with the baseline."""
        return tuple(arm for arm in self.arms if self.baseline and arm is not self.baseline)

    def arm(self, value: str) -> ArmRecord | None:
        """The arm with a value of the compared field."""
        return next((arm for arm in self.arms if arm.value == value), None)


def trained_apart(one: ArmRecord | None, two: ArmRecord | None) -> tuple[str, ...]:
    """Columns in which the fresh trials of two arms differ that should not: commit, device.

    Trials of one seed are held against each other, and all that were used against all; so a study
    whose later seeds were trained elsewhere is as it should be if both arms were.
    """
    first, second = (
        {trial.row["seed"]: trial.row for trial in arm.fresh} if arm else {} for arm in (one, two)
    )
    if not (first and second):
        return ()
    pairs = [(first[seed], second[seed]) for seed in first.keys() & second.keys()]
    return tuple(
        column
        for column in ("commit", "device")
        if any(mine[column] != theirs[column] for mine, theirs in pairs)
        or {row[column] for row in first.values()} != {row[column] for row in second.values()}
    )


def make_groups(study: Study) -> tuple[Group, ...]:
    """The groups of a study, in the order of its sweep."""
    compare = study.config.study.compare
    baseline = str(compare.baseline)
    trials: dict[str, list[TrialRecord]] = collections.defaultdict(list)
    for trial in study.trials:
        trials[parse_trial_name(trial.row["trial"]).arm].append(trial)
    members: dict[str, tuple[dict[str, Any], list[ArmRecord]]] = {}
    for arm in study.config.arms:
        fields, value = _fields(study.config, arm, compare.field)
        _, arms = members.setdefault(repr(fields), (fields, []))
        arms.append(_arm_record(study.config, arm, value, trials[arm.name]))
    return tuple(_make_group(fields, arms, baseline) for fields, arms in members.values())


def _make_group(fields: dict[str, Any], arms: list[ArmRecord], baseline: str) -> Group:
    ordered = tuple(sorted(arms, key=lambda arm: arm.value != baseline))
    return Group(fields, ordered, ordered[0] if ordered[0].value == baseline else None)


def _fields(config: Config, arm: Arm, compared: str) -> tuple[dict[str, Any], str]:
    """The fields that tell the arm's group from others, and its value of the compared field."""
    shared = config.trial
    fields = {"model": shared.model.name, "recipe": shared.recipe.name, **dict(arm.swept)}
    value = fields.pop(compared, arm.settings.model.as_tree().get(compared, "all"))
    return fields, str(value)


def _arm_record(config: Config, arm: Arm, value: str, trials: Sequence[TrialRecord]) -> ArmRecord:
    selection = tuple(t for t in trials if t.row["purpose"] == "selection")
    choice = choose_rate(config, selection) if selection else None
    chosen = len(selection) == config.selection_size(arm)
    replaced = replaced_trials(config, arm, trials)
    gone = {trial.row["trial"] for trial in replaced}
    fresh = [t for t in trials if t.row["purpose"] == "fresh" and t.row["trial"] not in gone]
    return ArmRecord(
        arm.name, value, arm.settings, arm.learning_rates, choice, chosen, selection, tuple(fresh),
        tuple(replaced),
    )  # fmt: skip


def rates_were_chosen(groups: Sequence[Group]) -> bool:
    """Whether an arm had more than one learning rate."""
    return any(len(arm.grid) > 1 for group in groups for arm in group.arms)


def was_raced(trial: TrialRecord, config: Config) -> bool:
    """Whether a trial was stopped because it could no longer win the choice of rate."""
    row, epochs = trial.row, trial.metrics["epoch"]
    if row["status"] != "censored" or row["purpose"] != "selection":
        return False
    name = parse_trial_name(row["trial"]).arm
    most = next(arm.settings.max_epochs for arm in config.arms if arm.name == name)
    return bool(np.all(epochs < most * (1 - 1e-9)))  # Epochs are quotients, and rounded.
