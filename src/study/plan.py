"""The plan of a study, printed before it runs: its trials, and what they cost at most."""

import statistics
from collections.abc import Mapping, Sequence

from src.config.config import Config
from src.records.trial import TrialRecord, parse_trial_name
from src.study import order
from src.study.progress_words import SPENT
from src.study.time_left import Stage, study_seconds
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
    waiting_by_arm = []
    for arm in config.arms:
        races = [[t.name for t in trials] for trials in order.selection_trials(config, arm)]
        selection = [name for names in races for name in names]
        fresh = [f"{arm.name}-lr...-s{seed}" for seed in config.study.fresh_seeds]
        if all(name in done for name in selection):
            fresh = [trial.name for trial in order.fresh_trials(config, arm, done)]
        if selection:
            lines += [f"{arm.name}: {counted(len(selection), 'trial')} to choose a learning rate"]
            lines += [f"  {name}{_state(name, done)}" for name in selection]
        lines += [f"{arm.name}: {counted(len(fresh), 'trial')} with fresh seeds at the chosen rate"]
        lines += [f"  {name}{_state(name, done)}" for name in fresh]
        stages = [*races, fresh] if order.is_racing(config) else [selection, fresh]
        numbers = [sum(name not in done for name in names) for names in stages]
        left, epochs = left + sum(numbers), epochs + sum(numbers) * arm.settings.max_epochs
        waiting_by_arm.append(numbers)
    return [*lines, _cost(config, left, epochs), *_time(config, finished, waiting_by_arm, workers)]


def _state(name: str, done: Mapping[str, TrialRecord]) -> str:
    return f" ({done[name].row['status']})" if name in done else ""


def _cost(config: Config, left: int, epochs: float) -> str:
    total = config.num_trials
    done = f", {total - left} of them done" if left < total else ""
    chooses = any(len(arm.learning_rates) > 1 for arm in config.arms)
    fewer = ", fewer by racing" if chooses and order.is_racing(config) else ""
    return f"{counted(total, 'trial')}{done}: at most {epochs:g} epochs to train{fewer}"


def _time(
    config: Config,
    finished: Sequence[TrialRecord],
    waiting: Sequence[Sequence[int]],
    workers: int,
) -> list[str]:
    """The time at most, by the median speeds of the trials done; nothing if there are none.

    Args:
        config: The study's config.
        finished: The trials done. An arm that has none is as slow as the others.
        waiting: By arm, the number of trials to come in each stage; stages follow one another.
        workers: Number of trials side by side.
    """
    speeds: dict[str, list[float]] = {}
    for trial in finished:
        if trial.metrics["epoch"].size:
            seconds = sum(trial.row.get(kind, 0.0) for kind in SPENT)
            name = parse_trial_name(trial.row["trial"]).arm
            speeds.setdefault(name, []).append(seconds / float(trial.metrics["epoch"][-1]))
    if not speeds or not any(map(any, waiting)):
        return []
    usual = statistics.median(seconds for of_arm in speeds.values() for seconds in of_arm)
    stages = []
    for arm, numbers in zip(config.arms, waiting, strict=True):
        seconds = statistics.median(speeds.get(arm.name, [usual])) * arm.settings.max_epochs
        stages.append([Stage(waiting=(seconds,) * number) for number in numbers])
    most = duration(study_seconds(stages, workers))
    pretrains = any(arm.settings.pretraining.method != "none" for arm in config.arms)
    without = ", without pre-training" if pretrains else ""
    told = f"{workers} at a time, at {usual:.3g} s an epoch so far{without}"
    return [f"At most about {most} with {told}"]
