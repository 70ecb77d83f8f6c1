"""The state of a trial, read back from its folder without its data."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from src import own
from src.records import locks, study, trial
from src.records.files import RecordError
from src.training import checkpoints, optimizers
from src.training.points import Grid, Points
from src.training.program import first_state
from src.training.settings import TrialSettings, read_settings
from src.training.stages import make_stages
from src.training.step import TrainState


class Kept(NamedTuple):
    """The newest checkpoint of a trial.

    Attributes:
        settings: The trial's settings.
        state: Its state at the last step that was saved.
        iteration: Optimizer updates done.
        header: The content of its study's study.json.
        of: Its identity.
    """

    settings: TrialSettings
    state: TrainState
    iteration: int
    header: dict[str, Any]
    of: trial.Identity


def read_kept(trial_dir: Path, *, finished: bool) -> Kept:
    """Reads a trial's newest checkpoint.

    Args:
        trial_dir: `STUDY/trials/TRIAL`, see `study.find_trial`.
        finished: Whether the trial must be finished.

    Raises:
        RecordError: If there is no such trial, it is not finished, no checkpoint is sound, or its
            training has diverged.
        InUseError: If it is being trained.
        CodeError: If its network or activation is the user's own, and has changed since.
        ConfigError: If its settings are not ones that this code knows.
    """
    given, trial_dir = trial_dir, study.find_trial(trial_dir)
    if not given.is_dir():
        raise RecordError(f"there is no folder {given}; give one as STUDY/trials/TRIAL")
    if study.is_study(given):
        raise RecordError(f"{given} is a study; give one of its trials, STUDY/trials/TRIAL")
    if not study.holds_study(trial_dir.parent.parent):
        raise RecordError(
            f"{given} is no trial, since no study.json lies two folders above it; give one as"
            " STUDY/trials/TRIAL"
        )
    header = study.read_study_header(trial_dir.parent.parent)
    of = study.identity_of(header, trial_dir.name, trial_dir)
    settings = read_settings(trial.read_config(trial_dir, of))
    for name in settings.model.names:
        own.check_recorded(name, header.get("own_code", {}).get(name, ""), trial_dir)
    with locks.unchanging(trial_dir):
        if finished and trial.read_result(trial_dir, of) is None:
            raise RecordError(f"{trial_dir} is not finished; run its study again to finish it")
        found = checkpoints.read_newest(trial_dir / "checkpoints", _like(settings, header), of)
    if found.arrays is None:
        raise RecordError("; ".join(found.complaints) or f"{trial_dir} holds no checkpoint")
    state = found.arrays["state"]
    if not all(np.isfinite(values).all() for values in jax.tree.leaves(state.variables)):
        raise RecordError(
            f"{trial_dir} has diverged: its weights are no numbers; give another trial"
        )
    return Kept(settings, state, found.progress["iteration"], header, of)


def _like(settings: TrialSettings, header: dict[str, Any]) -> PyTree:
    """Shapes and types of what a checkpoint holds."""
    model = settings.model.make(settings.recipe.init, header["num_classes"])
    # Only shapes are wanted, so it does not matter at which iterations the stages begin.
    stages = make_stages(settings.schedule, Grid(settings, 1).iteration_of)
    optimizer = optimizers.make_optimizer(0.0, settings.recipe, settings.weight_decay, stages)
    shape = settings.augment.taken(header["image_shape"])
    state = jax.eval_shape(lambda: first_state(model.init, optimizer, shape, 0))
    return {"state": state, **Points().window}
