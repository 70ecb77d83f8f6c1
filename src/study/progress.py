"""The progress of a running study: where each trial stands, how others have ended, time left.

On a terminal each trial has one line that changes in its place; elsewhere, for example in a file,
lines follow one another.
"""

import math
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from src.analysis.choice import replaced_trials
from src.config.arms import Arm
from src.config.config import Config
from src.records.trial import TrialRecord, parse_trial_name
from src.study import machine_speed, order, time_left
from src.study.order import Task
from src.study.progress_words import (
    SPENT,
    Position,
    end_words,
    left_words,
    live_words,
    position_words,
    stack_words,
)
from src.study.screen import Screen
from src.study.time_left import Left, Stage

EVERY_SECONDS = 30.0  # Between two lines about a trial, if lines follow one another.
SAID = {"complaint": "warning", "note": "note"}  # Kinds of messages that are one line.
NEWEST = 20  # A speed is measured over so many points.
Stages = list[tuple[list[Left], list[Left]]]  # The stages of an arm, as in `time_left.Stage`.


class Display:
    """Hears of every trial and prints the progress of the study."""

    def __init__(
        self,
        config: Config,
        finished: Mapping[str, TrialRecord],
        workers: int,
        networks: Mapping[str, Mapping[str, int]] | None = None,
        machine: Callable[[int], float] = machine_speed.multiply_adds_per_second,
        screen: Screen | None = None,
    ):
        """Begins where the study stands.

        Args:
            config: The study's config.
            finished: Name -> record of the trials done so far; the runner adds to it.
            workers: Number of trials side by side.
            networks: Arm -> size of its network, as in study.json.
            machine: Number of trials side by side -> multiply-adds per second for each. It is
                measured once, if the speed of no trial is known.
            screen: Where to print.
        """
        self.config, self.trials, self.workers = config, finished, workers
        self.machine, self.screen = machine, screen or Screen()
        self.total = config.num_trials
        sizes = networks or {}
        self.multiply_adds = {
            arm.name: float(sizes[arm.name]["multiply_adds"] * arm.settings.batch_size)
            for arm in config.arms
            if arm.name in sizes
        }
        self.races = {arm.name: _races(config, arm) for arm in config.arms}
        self.measured = _speeds(finished.values())  # Arm -> seconds of a step.
        self.ended: dict[str, list[TrialRecord]] = {}  # Arm -> its finished trials.
        for name, trial in finished.items():
            self.ended.setdefault(parse_trial_name(name).arm, []).append(trial)
        self.arms = {arm.name: arm for arm in config.arms}
        self.replaced = {arm: names for arm in self.ended if (names := self._replaced(arm))}
        # By arm and purpose, iterations; then by the name of a trial under way: the trial, those in
        # its program, its newest points, its curve of iterations and training errors.
        self.expected: dict[tuple[str, str], float] = {}
        self.tasks: dict[str, Task] = {}
        self.beside: dict[str, Sequence[str]] = {}
        self.stacks: dict[str, Mapping[str, Any]] = {}  # The newest point of its stack.
        self.points: dict[str, deque[Position]] = {}
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.most: dict[str, float] = {}  # Arm -> iterations of a trial at most.
        self.shown: dict[str, float] = {}
        self._machine_speed: float | None = None

    def started(self, task: Task, beside: Sequence[str] = ()) -> None:
        """Tells that a trial has begun or goes on; those `beside` it share its program."""
        name = task.trial.name
        self.beside[name] = beside
        self.tasks[name], self.shown[name] = task, time.monotonic()
        self.points[name], self.curves[name] = deque(maxlen=NEWEST), []
        if self.screen.is_terminal:
            self._redraw()
        else:
            self._say(name, "starting")

    def heard(self, name: str, kind: str, payload: Any) -> None:
        """Takes a worker's message about a trial: where it stands, a complaint or a note."""
        if kind in SAID:
            self.screen.say(f"{SAID[kind]}: {payload}")
        elif name in self.tasks and kind == "pretraining":
            self._hear_of_stack(name, payload)
        elif name in self.tasks:
            self._learn(name, payload)
            is_first = len(self.points[name]) == 1
            if self.screen.is_terminal:
                self._redraw()
            elif is_first or time.monotonic() - self.shown[name] >= EVERY_SECONDS:
                self.shown[name] = time.monotonic()
                arm = self.tasks[name].trial.arm
                where = position_words(
                    payload, self._step_seconds(name), measured=arm in self.measured
                )
                self._say(name, "; ".join([where, *self._left_words(name)]))

    def _hear_of_stack(self, name: str, point: Mapping[str, Any]) -> None:
        self.stacks[name] = point
        if self.screen.is_terminal:
            self._redraw()
        elif time.monotonic() - self.shown[name] >= EVERY_SECONDS:
            self.shown[name] = time.monotonic()
            self._say(name, stack_words(point, self._updates(name)))

    def _updates(self, name: str) -> int:
        return self.tasks[name].trial.settings.pretraining.steps

    def finished(self, row: Mapping[str, Any]) -> None:
        """Tells that a trial has ended; its record is among the finished ones already."""
        name = row["trial"]
        task = self.tasks.pop(name)
        del self.points[name], self.curves[name]
        self.stacks.pop(name, None)
        self.measured |= _speeds([self.trials[name]])
        self.ended.setdefault(task.trial.arm, []).append(self.trials[name])
        self.expected = {key: n for key, n in self.expected.items() if key[0] != task.trial.arm}
        if (arm := task.trial.arm) in self.replaced:
            self.replaced[arm] = self._replaced(arm)
        self._say(name, end_words(self.trials[name], task.limits, task.trial.settings))
        self._redraw()

    def left(self, name: str, otherwise: float = math.nan) -> Left:
        """What is left of a running trial, by its own curve or by the ended trials of its arm.

        Args:
            name: Name of the trial.
            otherwise: The images that it is assumed to see in all if neither tells.
        """
        trial, points = self.tasks[name].trial, self.points[name]
        if not points:
            return self._left_of_new(trial.arm, trial.purpose, otherwise, 1)[0]
        done, last = float(points[-1]["iteration"]), float(points[-1]["last"])
        total = self._total(name)
        if math.isnan(total):
            total = otherwise / trial.settings.batch_size
            total = last if done >= total else total
        return time_left.left(done, total, last, self._step_seconds(name) * self._sharing(name))

    def study_left(self) -> Left:
        """Seconds until the last trial of the study ends.

        An arm about which nothing is known yet is assumed to need as many images as the others.
        """
        typical = self._typical_images()
        arms = [self._stages(arm, typical) for arm in self.config.arms]
        busy = round(sum(1 / self._sharing(name) for name in self.tasks))  # machines
        workers = max(self.workers, busy)
        most = time_left.study_seconds(_in_seconds(arms, "most"), workers)
        if math.isnan(typical):
            return Left(math.nan, most)
        return Left(time_left.study_seconds(_in_seconds(arms, "about"), workers), most)

    def _typical_images(self) -> float:
        """Median of the images that arms and running trials see, of those that are known, or nan.

        An arm's iterations say little of another's, whose batches may be larger.
        """
        totals = [(self.tasks[n].trial.arm, self._total(n)) for n in self.tasks if self.points[n]]
        totals += [(arm, self._expected(arm, "fresh")) for arm in self.ended]
        known = [
            total * self.arms[arm].settings.batch_size
            for arm, total in totals
            if not math.isnan(total)
        ]
        return statistics.median(known) if known else math.nan

    def _total(self, name: str) -> float:
        """Iterations that a running trial will most likely need in all; nan while unknown."""
        trial, newest = self.tasks[name].trial, self.points[name][-1]
        last, target = float(newest["last"]), trial.settings.target_train_error
        if not trial.settings.stop_at_target:
            return last
        if newest["train_error"] <= target and trial.settings.readings == ("online",):
            return float(newest["iteration"])
        own = time_left.forecast(self.curves[name], target)
        if not math.isnan(own):
            return min(own, last)
        expected = self._expected(trial.arm, trial.purpose)
        return expected if newest["iteration"] < expected <= last else math.nan

    def _stages(self, arm: Arm, typical: float) -> Stages:
        """The trials of an arm that are not done, by stage: those under way, and those to come."""
        replaced, seeds = self.replaced.get(arm.name, ()), len(self.config.study.fresh_seeds)
        ended = [trial for trial in self._ended(arm.name) if trial.row["trial"] not in replaced]
        if len(ended) == sum(map(len, self.races[arm.name])) + seeds:
            return []
        stages: Stages = []
        for names in self.races[arm.name]:
            running = [self.left(name, typical) for name in names if name in self.tasks]
            new = [n for n in names if n not in self.tasks and n not in self.trials]
            waiting = self._left_of_new(arm.name, "selection", typical, len(new))
            stages.append((running, waiting))
        tasks = [task.trial for task in self.tasks.values()]
        fresh = [t.name for t in tasks if t.arm == arm.name and t.purpose == "fresh"]
        done = [t for t in ended if t.row["purpose"] == "fresh"]
        waiting = self._left_of_new(arm.name, "fresh", typical, seeds - len(fresh) - len(done))
        return [*stages, ([self.left(name, typical) for name in fresh], waiting)]

    def _sharing(self, name: str) -> int:
        """Number of trials that share this trial's program, itself included."""
        return 1 + sum(other in self.tasks for other in self.beside[name])

    def _left_of_new(self, arm: str, purpose: str, otherwise: float, count: int) -> list[Left]:
        """What is left of each of `count` trials that have not begun."""
        if count <= 0:
            return []
        settings, most = self.arms[arm].settings, self._most(arm)
        total = self._expected(arm, purpose) if settings.stop_at_target else most
        if math.isnan(total):
            total = otherwise / settings.batch_size
        return [time_left.left(0.0, total, most, self._step_seconds_of(arm))] * count

    def _most(self, arm: str) -> float:
        """Iterations of a trial of an arm at most, by the images of another arm if need be."""
        if arm in self.most or not self.most:
            return self.most.get(arm, 0.0)
        other, most = next(iter(self.most.items()))
        settings, others = self.arms[arm].settings, self.arms[other].settings
        images = most * others.batch_size / others.max_epochs
        part = settings.labels or settings.train_images
        if part != (others.labels or others.train_images):
            images = part or images
        return images * settings.max_epochs / settings.batch_size

    def _expected(self, arm: str, purpose: str) -> float:
        """Iterations of a trial, by those of its arm that have ended; computed once after each."""
        key = (arm, purpose)
        if key not in self.expected:
            self.expected[key] = time_left.expected_iterations(self._ended(arm), purpose)
        return self.expected[key]

    def _ended(self, arm: str) -> list[TrialRecord]:
        return self.ended.get(arm, [])

    def _learn(self, name: str, position: Position) -> None:
        points, arm = self.points[name], self.tasks[name].trial.arm
        self.most[arm] = float(position["most"])
        points.append(position)
        self.curves[name].append((float(position["iteration"]), position["train_error"]))
        steps = position["iteration"] - points[0]["iteration"]
        if steps > 0:
            self.measured[arm] = (position["seconds"] - points[0]["seconds"]) / steps

    def _step_seconds(self, name: str) -> float:
        return self._step_seconds_of(self.tasks[name].trial.arm)

    def _step_seconds_of(self, arm: str) -> float:
        if not self.measured and self.multiply_adds and self._machine_speed is None:
            self._machine_speed = self.machine(self.workers)
        speed = self._machine_speed or 0.0
        return time_left.step_seconds(arm, self.measured, self.multiply_adds, speed)

    def _redraw(self) -> None:
        if not self.screen.is_terminal:
            return
        width = max(map(len, self.tasks), default=0)
        room = shutil.get_terminal_size().columns - 1 - len("    ") - width
        lines = [f"  {name:<{width}}  {self._live(name, room)}" for name in self.tasks]
        counts = f"{self._done()} of {self.total} trials done"
        counts += f", {len(self.tasks)} under way" if self.tasks else ""
        whole = self._study_left_words() if self.tasks else ""
        whole += ", by a first estimate" if whole and not self.measured else ""
        self.screen.show([*lines, f"{counts}; {whole}" if whole else counts])

    def _left_words(self, name: str) -> list[str]:
        own = left_words(self.left(name, self._typical_images()))
        found = ", ".join(part for part in (own, self._study_left_words()) if part)
        return [found] if found else []

    def _study_left_words(self) -> str:
        """What is left of the study; "" if nothing is known. How long stacks take is not known."""
        whole = left_words(self.study_left())
        pretrains = any(arm.settings.pretraining.method != "none" for arm in self.config.arms)
        without = ", without pre-training" if pretrains else ""
        return f"study {whole}{without}" if whole else ""

    def _live(self, name: str, room: int) -> str:
        points = self.points[name]
        if not points:
            stack = self.stacks.get(name)
            return stack_words(stack, self._updates(name), room) if stack else "starting"
        left = self.left(name, self._typical_images())
        measured = self.tasks[name].trial.arm in self.measured
        return live_words(points[-1], left, self._step_seconds(name), room, measured=measured)

    def _say(self, name: str, text: str) -> None:
        self.screen.say(f"[{self._done()}/{self.total} done] {name}: {text}")

    def _replaced(self, arm: str) -> set[str]:
        """Names of an arm's trials that count no more, as others are trained in their place."""
        trials = replaced_trials(self.config, self.arms[arm], self.ended[arm])
        return {trial.row["trial"] for trial in trials}

    def _done(self) -> int:
        return len(self.trials) - sum(map(len, self.replaced.values()))


def _races(config: Config, arm: Arm) -> list[list[str]]:
    """Names of the selection trials, in lists of those that may run side by side."""
    names = [[trial.name for trial in trials] for trials in order.selection_trials(config, arm)]
    return names if order.is_racing(config) else [[name for each in names for name in each]]


def _in_seconds(arms: Sequence[Stages], kind: Literal["about", "most"]) -> list[list[Stage]]:
    return [
        [
            Stage(*(tuple(getattr(left, kind) for left in part) for part in stage))
            for stage in stages
        ]
        for stages in arms
    ]


def _speeds(trials: Any) -> dict[str, float]:
    """Arm -> seconds of a step, from the records of its trials."""
    return {
        parse_trial_name(trial.row["trial"]).arm: sum(trial.row.get(kind, 0.0) for kind in SPENT)
        / trial.row["iterations"]
        for trial in trials
        if trial.row["iterations"] and trial.row["status"] != "diverged"
    }
