"""The plan of a study, printed before it runs: its trials, and what they cost at most."""

import statistics
from collections.abc import Mapping, Sequence

from src.config.config import Config
from src.records.trial import TrialRecord
from src.study import order
from src.wording import counted, duration


def describe_plan(config: Config, finished: Sequence[TrialRecord], workers: int) -> list[str]:
    """Lines for a terminal: every trial, their number, the most epochs and, if known, time left.

    Args:
        config: A checked config.
        finished: The trials done already; the speed of the others is taken from them.
        workers: Number of trials side by side.
    """
    done = {trial.row["trial"]: trial for trial in finished}
    lines, left, epochs = [], 0, 0.0
    for arm in config.arms:
        selection = [t.name for trials in order.selection_trials(config, arm) for t in trials]
        fresh = [f"{arm.name}-lr...-s{seed}" for seed in config.study.fresh_seeds]
        if all(name in done for name in selection):
            fresh = [trial.name for trial in order.fresh_trials(config, arm, done)]
        if selection:
            lines += [f"{arm.name}: {counted(len(selection), 'trial')} to choose a learning rate"]
            lines += [f"  {name}{_state(name, done)}" for name in selection]
        lines += [f"{arm.name}: {counted(len(fresh), 'trial')} with fresh seeds at the chosen rate"]
        lines += [f"  {name}{_state(name, done)}" for name in fresh]
        waiting = sum(name not in done for name in selection + fresh)
        left, epochs = left + waiting, epochs + waiting * arm.settings.max_epochs
    return [*lines, _cost(config, left, epochs), *_time(finished, epochs, workers)]


def _state(name: str, done: Mapping[str, TrialRecord]) -> str:
    return f" ({done[name].row['status']})" if name in done else ""


def _cost(config: Config, left: int, epochs: float) -> str:
    total = config.num_trials
    done = f", {total - left} of them done" if left < total else ""
    chooses = any(len(arm.learning_rates) > 1 for arm in config.arms)
    fewer = ", fewer by racing" if chooses and order.is_racing(config) else ""
    return f"{counted(total, 'trial')}{done}: at most {epochs:g} epochs to train{fewer}"


def _time(finished: Sequence[TrialRecord], epochs: float, workers: int) -> list[str]:
    """The time at most, by the median speed of the trials done; nothing if there are none."""
    speeds = [
        trial.row["train_seconds"] / trial.metrics["epoch"][-1]
        for trial in finished
        if trial.metrics["epoch"].size
    ]
    if not speeds or not epochs:
        return []
    seconds = statistics.median(speeds)
    most = duration(epochs * seconds / workers)
    return [f"At most about {most} with {workers} at a time, at {seconds:.3g} s an epoch so far"]
