"""What a study says while it runs: trial k of n, iteration, training error, time left."""

import math
import statistics
import time
from collections.abc import Mapping
from typing import Any

from src.config.config import Config
from src.records.trial import TrialRecord
from src.study import order as study
from src.study.order import Task
from src.wording import duration

EVERY_SECONDS = 10.0
Position = Mapping[str, Any]  # where a trial stands: see `train.Run.position`


class Display:
    """Prints one line per trial every few seconds, and one when it ends."""

    def __init__(self, config: Config, finished: Mapping[str, TrialRecord], workers: int):
        """`finished` are the trials done so far, by name: read here, kept by the runner."""
        self.config, self.trials, self.workers = config, finished, workers
        self.planned = study.planned_trials(config)
        self.total = sum(selection + fresh for _, selection, fresh in self.planned)
        self.tasks: dict[str, Task] = {}  # under way
        self.positions: dict[str, Position] = {}  # of these, the newest
        self.shown: dict[str, float] = {}
        self.iteration_seconds = 0.0  # smoothed

    def started(self, task: Task) -> None:
        """A trial has begun or goes on."""
        name = task.trial.name
        self.tasks[name], self.shown[name] = task, 0.0
        self._line(name, "starting")

    def heard(self, name: str, kind: str, payload: Any) -> None:
        """A worker has sent word of a trial: a recorded point, or a complaint."""
        if kind == "complaint":
            print(f"warning: {payload}", flush=True)
            return
        before = self.positions.get(name)
        self.positions[name] = payload
        if before is None:  # its seconds may hold a start-up
            return
        self._learn_speed(before, payload)
        if time.monotonic() - self.shown[name] >= EVERY_SECONDS:
            self.shown[name] = time.monotonic()
            self._line(name, self._describe(payload))

    def finished(self, row: Mapping[str, Any]) -> None:
        """A trial has ended; its record is among the finished ones by now."""
        name, status = row["trial"], row["status"]
        words = {"reached": "reached the target", "censored": "stopped without reaching the target"}
        where = row["iterations_to_target" if status == "reached" else "iterations"]
        test = row["final_test_error"]
        tested = "" if math.isnan(test) else f", test error {test:.1%}"
        self._line(name, f"{words.get(status, status)} at iteration {where:g}{tested}")
        del self.tasks[name]
        self.positions.pop(name, None)

    def _learn_speed(self, before: Position, now: Position) -> None:
        rate = (now["seconds"] - before["seconds"]) / (now["iteration"] - before["iteration"])
        weight = 0.1 if self.iteration_seconds else 1.0
        self.iteration_seconds += weight * (rate - self.iteration_seconds)

    def _describe(self, position: Position) -> str:
        left = (position["last"] - position["iteration"]) * self.iteration_seconds
        return (
            f"epoch {position['epoch']:.1f}, iteration {position['iteration']},"
            f" training error {position['train_error']:.1%},"
            f" {1000 * self.iteration_seconds:.0f} ms/step;"
            f" trial at most {duration(left)} more, study about {duration(self.seconds_left())}"
        )

    def seconds_left(self) -> float:
        """Until the last trial ends, if those to come take as long as their arm's best so far."""
        arms = {arm.name: self._expected(arm.name) for arm, _, _ in self.planned}
        total = sum(arms[arm.name] * (n + m) for arm, n, m in self.planned)
        for name, trial in self.trials.items():
            total -= arms.get(_arm_of(name), 0.0) * (trial is not None)
        for name in self.tasks:
            done = self.positions[name]["iteration"] if name in self.positions else 0
            total -= min(done, arms[_arm_of(name)])
        return max(0.0, total) * self.iteration_seconds / self.workers

    def _expected(self, arm: str) -> float:
        """Iterations of a trial of this arm by those that have ended, of any arm while none has."""
        for mine in (arm, ""):
            done = [
                trial.row["iterations"]
                for name, trial in self.trials.items()
                if mine in ("", _arm_of(name))
            ]
            if done:
                return float(statistics.median(done))
        return float(max((p["last"] for p in self.positions.values()), default=0))

    def _line(self, name: str, text: str) -> None:
        done = len(self.trials)
        print(f"[{done}/{self.total} done] {name}: {text}", flush=True)


def _arm_of(trial: str) -> str:
    return trial.rsplit("-lr", 1)[0]
