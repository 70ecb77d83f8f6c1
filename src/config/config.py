"""A study's config, read and checked once; beyond it no function takes a dict of settings."""

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
    runtime_settings,
    trial_settings,
)
from src.fields import read, require_group
from src.models.registry import check_model_options
from src.training.settings import TrialSettings
from src.trees import Tree, plain, replaced


@dataclass(frozen=True)
class Config:
    """A checked config.

    Attributes:
        tree: The config as its file and the command line make it; study.json keeps it.
        trial: The settings of a trial before the sweep changes them.
        study: The settings that say which trials there are.
        runtime: The settings that say how they are run.
    """

    tree: Tree
    trial: TrialSettings
    study: StudySettings
    runtime: Runtime

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> "Config":
        """Reads a config from a nested mapping and checks it.

        Raises:
            ConfigError: Naming the field, its value and what would be valid.
        """
        whole: Tree = {**{group: {} for group in GROUPS}, **plain(tree)}
        check_names(whole)
        for group in GROUPS:
            require_group((group,), whole[group])
        check_model_options(whole["model_options"])
        trial = trial_settings(whole)
        study = read(StudySettings, part_of(StudySettings, whole))
        config = cls(whole, trial, study, runtime_settings(whole))
        checks.check_study(study)
        checks.check_sweep(whole)
        checks.check_arms(whole, study, config.arms)
        return replace(config, study=_with_baseline_as_swept(study, whole))

    @functools.cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The combinations of the sweep's values, in its order; the first field varies slowest."""
        return tuple(make_arms(self.tree))

    def selection_size(self, arm: Arm) -> int:
        """Number of trials that choose the learning rate of an arm; 0 if its grid has one rate."""
        rates = len(arm.learning_rates)
        return rates * len(self.study.selection_seeds) if rates > 1 else 0

    @property
    def num_trials(self) -> int:
        """Number of trials of the whole study."""
        selection = sum(map(self.selection_size, self.arms))
        return selection + len(self.arms) * len(self.study.fresh_seeds)

    def with_data(self, name: str) -> "Config":
        """The same study on another data set, which was found in place of the one asked for."""
        tree = replaced(self.tree, ("data", "name"), name)
        return replace(self, tree=tree, trial=trial_settings(tree))


def _with_baseline_as_swept(study: StudySettings, tree: Tree) -> StudySettings:
    """The study's settings, its baseline written as the sweep writes it: 0.0 where that says 0."""
    for axis in axes(tree):
        for setting in axis:
            if axis[0].column == study.compare.field and setting.value == study.compare.baseline:
                return replace(study, compare=replace(study.compare, baseline=setting.value))
    return study
