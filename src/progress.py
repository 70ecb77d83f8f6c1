"""What a study says while it runs: trial k of n, iteration, training error, time left."""

import time
from collections.abc import Mapping
from typing import Any

from src import study
from src.study import Task

EVERY_SECONDS = 10.0


class Display:
    """Prints one line per trial every few seconds, and one when it ends."""

    def __init__(self, config: Mapping[str, Any], finished: Mapping[str, Any], workers: int):
        """`finished` are the trials done so far, by name; it is read, never changed."""
        self.config, self.trials, self.workers = config, finished, workers
        self.total = sum(selection + fresh for _, selection, fresh in study.planned_trials(config))
        self.numbers: dict[str, int] = {}
        self.shown: dict[str, float] = {}
        self.points: dict[str, dict[str, Any]] = {}  # newest of every trial under way
        self.iteration_seconds = 0.0  # smoothed

    def started(self, task: Task) -> None:
        self.numbers[task.trial.name] = len(self.trials) + len(self.points) + 1
        self.points[task.trial.name] = {"iteration": 0, "last": 0}
        self.shown[task.trial.name] = 0.0
        self._line(task.trial.name, "starting")

    def heard(self, name: str, kind: str, payload: Any) -> None:
        if kind == "complaint":
            print(f"warning: {payload}", flush=True)
            return
        before, self.points[name] = self.points[name], payload
        if before.get("seconds"):
            self._learn_speed(before, payload)
        if time.monotonic() - self.shown[name] >= EVERY_SECONDS:
            self.shown[name] = time.monotonic()
            self._line(name, self._position(payload))

    def finished(self, row: Mapping[str, Any]) -> None:
        self.points.pop(row["trial"], None)
        where = (
            f"{row['iterations_to_target']:g}" if row["status"] == "reached" else row["iterations"]
        )
        words = {"reached": "reached the target at", "censored": "not there, stopped at"}
        text = f"{words.get(row['status'], row['status'] + ' at')} iteration {where}"
        self._line(row["trial"], f"{text}, test error {row['final_test_error']:.1%}")

    def _learn_speed(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        spent = now["seconds"] - before["seconds"]
        rate = spent / max(1, now["iteration"] - before["iteration"])
        self.iteration_seconds += (rate - self.iteration_seconds) * (
            0.1 if self.iteration_seconds else 1
        )

    def _position(self, point: Mapping[str, Any]) -> str:
        left = max(0, point["last"] - point["iteration"]) * self.iteration_seconds
        return (
            f"epoch {point['epoch']:.1f} (iteration {point['iteration']}), training error"
            f" {point['train_error']:.1%}, {1000 * self.iteration_seconds:.0f} ms/step;"
            f" at most {duration(left)} left, study about {duration(self._study_left())}"
        )

    def _study_left(self) -> float:
        """Seconds until the last trial ends, if trials to come take as long as those of their arm did."""
        under_way = sum(max(0, p["last"] - p["iteration"]) for p in self.points.values())
        done = [trial.row["iterations"] for trial in self.trials.values()]
        typical = (
            sum(done) / len(done)
            if done
            else max((p["last"] for p in self.points.values()), default=0)
        )
        to_come = max(0, self.total - len(self.trials) - len(self.points)) * typical
        return (under_way + to_come) * self.iteration_seconds / self.workers

    def _line(self, name: str, text: str) -> None:
        number = self.numbers.get(name, len(self.trials))
        print(f"[{number:>{len(str(self.total))}}/{self.total}] {name}: {text}", flush=True)


def duration(seconds: float) -> str:
    """As people say it: 40 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
