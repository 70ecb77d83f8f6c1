"""A study as it was asked, read once and checked; below it nobody takes a dict of settings."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from src.config import checks
from src.config.arms import Arm, axes, make_arms
from src.config.schema import (
    GROUPS,
    Runtime,
    StudySettings,
    check_names,
    part_of,
    trial_settings,
)
from src.fields import read, require_group
from src.models.registry import check_model_options
from src.training.settings import TrialSettings
from src.trees import Tree, plain, replaced


@dataclass(frozen=True)
class Config:
    """A study, checked.

    Attributes:
        tree: As its file and the command line make it; what study.json keeps.
        trial: What a trial does before the sweep changes it.
        study: Which trials there are.
        runtime: How they are run.
    """

    tree: Tree
    trial: TrialSettings
    study: StudySettings
    runtime: Runtime

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> "Config":
        """From a nested mapping.

        Raises:
            ConfigError: If it cannot be run as it says: field, value and what would be valid.
        """
        whole: Tree = {**{group: {} for group in GROUPS}, **plain(tree)}
        check_names(whole)
        for group in GROUPS:
            require_group((group,), whole[group])
        check_model_options(whole["model_options"])
        trial = trial_settings(whole)
        study = read(StudySettings, part_of(StudySettings, whole))
        config = cls(whole, trial, study, read(Runtime, part_of(Runtime, whole)))
        checks.check_study(study)
        checks.check_sweep(whole)
        checks.check_arms(whole, study, config.arms)
        return config

    @functools.cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The combinations of the sweep's values, in its order, the first field varying slowest."""
        return tuple(make_arms(self.tree))

    @property
    def swept(self) -> tuple[str, ...]:
        """Columns of results.csv that tell arms apart."""
        return tuple(axis[0].column for axis in axes(self.tree))

    def selection_size(self, arm: Arm) -> int:
        """Trials that choose the learning rate of an arm; none where its grid has one rate."""
        rates = len(arm.learning_rates)
        return rates * len(self.study.selection_seeds) if rates > 1 else 0

    @property
    def num_trials(self) -> int:
        """Trials of the whole study."""
        selection = sum(map(self.selection_size, self.arms))
        return selection + len(self.arms) * len(self.study.fresh_seeds)

    def with_data(self, name: str) -> "Config":
        """The same study of the data set that was found in place of the one asked for."""
        tree = replaced(self.tree, ("data", "name"), name)
        return replace(self, tree=tree, trial=trial_settings(tree))
