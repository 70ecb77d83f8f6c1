"""What a study of many trials costs its own process, on records that are made and not trained.

    python -m experiments.speed.growth [--trials 100 1000 10000] [--report]

Prints milliseconds of processor time (waiting for the disk is left out, and so is whatever else the
machine does) for each part at each number of finished trials, and the exponent that a straight line
through their logarithms gives: 1 is proportional to the number of trials.
"""

import argparse
import contextlib
import io
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import base
from src.config.config import Config
from src.fields import plain
from src.records import study as studies
from src.records import trial as trials
from src.records.trial import TrialRecord
from src.study import order, question
from src.study.progress import Display
from src.training.settings import Trial

RATES, POINTS = 5, 100
FACTS = {"dataset": "made", "digest": "made", "image_shape": (32, 32, 3), "num_classes": 10}
FACTS |= {"device": "none", "jax_version": "0", "commit": "none"}


def make_config(count: int) -> Config:
    """A study of about `count` trials: two arms of five rates, and ever more seeds."""
    config = base.get_config()
    config.data.name = "made"
    config.sweep.model = {"activation": ("relu", "tanh")}
    config.learning_rates = tuple(0.01 * 2**i for i in range(RATES))
    seeds = max(1, count // (2 * (RATES + 1)))
    config.selection_seeds = tuple(range(seeds))
    config.fresh_seeds = tuple(range(10**6, 10**6 + seeds))
    config.racing = False
    return Config.read(config.to_dict())


def make_trials(config: Config) -> list[Trial]:
    """Every trial of the study; at the middle rate, which is taken for the best."""
    finished: dict[str, TrialRecord] = {}
    found = []
    for _ in range(2):  # selection, then fresh
        for task in order.ready_tasks(config, finished):
            finished[task.trial.name] = make_record(task.trial)
            found.append(task.trial)
    return found


def make_record(trial: Trial) -> TrialRecord:
    """What a trial of 100 points might have left."""
    iterations = np.arange(1, POINTS + 1) * 39
    speed = 1 + abs(math.log(trial.learning_rate / 0.04))
    error = 0.9 * np.exp(-iterations / (1500 * speed + trial.seed % 97))
    metrics = {name: error for name in trials.METRIC_COLUMNS} | {"iteration": iterations}
    metrics |= {"epoch": iterations / 390, "train_seconds": 0.05 * iterations}
    reached = float(
        next((i for i, e in zip(iterations, error, strict=True) if e <= 0.25), math.inf)
    )
    row = dict.fromkeys(trials.RESULT_COLUMNS, "none") | {
        "trial": trial.name, "dataset": "made", "activation": trial.settings.model.activation,
        "model": "conv3", "recipe": "modern", "learning_rate": trial.learning_rate,
        "seed": trial.seed, "purpose": trial.purpose,
        "status": "reached" if reached < math.inf else "censored",
        "iterations_to_target": reached, "epochs_to_target": reached / 390,
        "seconds_to_target": 0.05 * reached, "final_train_error": float(error[-1]),
        "final_test_error": float(error[-1]), "iterations": int(iterations[-1]),
        "train_seconds": 0.05 * float(iterations[-1]),
    }  # fmt: skip
    return TrialRecord(row, metrics)


def write(config: Config, made: Sequence[Trial], workdir: Path) -> dict[str, Any]:
    """The records of a study whose every trial is finished; its header."""
    header = question.open_study(config, workdir, FACTS)
    for trial in made:
        record, folder = make_record(trial), workdir / "trials" / trial.name
        of = studies.identity_of(header, trial.name, folder)
        points = [
            {name: float(column[i]) for name, column in record.metrics.items()}
            | {"iteration": int(record.metrics["iteration"][i])}
            for i in range(POINTS)
        ]
        trials.write_config(folder, plain(trial.settings))
        trials.write_metrics(folder, points)
        trials.write_result(folder, of, record.row)
    studies.write_results(workdir, [make_record(trial).row for trial in made])
    return header


def measure(count: int, report: bool) -> dict[str, float]:
    """Milliseconds of each part of a study of about `count` trials, half of them finished."""
    config = make_config(count)
    made = make_trials(config)
    half = {trial.name: make_record(trial) for trial in made[: len(made) // 2]}
    found = {"trials": float(len(made))}
    queue = order.Queue(config, half)
    found["start the queue"] = timed(lambda: order.Queue(config, half))
    found["a trial ends: what follows it"] = timed(lambda: queue.ended(made[0].arm))
    display = Display(config, half, 4, machine=lambda: 1e9)
    with contextlib.redirect_stdout(io.StringIO()):
        for task in queue.take(4):
            display.started(task)
    found["a progress line"] = timed(display.study_left)
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        write(config, made, workdir)
        found["read finished trials"] = timed(lambda: studies.read_finished(workdir))
        rows = [make_record(trial).row for trial in made]
        found["write results.csv"] = timed(lambda: studies.write_results(workdir, rows))
        if report:
            from src.reports import compose  # noqa: PLC0415  (Matplotlib)

            found["report"] = timed(lambda: compose.write_report(workdir))
    return found


def timed(fn: Callable[[], Any]) -> float:
    """Milliseconds of processor time of one call, the fastest of three that are short."""
    times: list[float] = []
    while not times or (len(times) < 3 and times[0] < 1.0):
        start = time.process_time()
        fn()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def table(found: Sequence[dict[str, float]]) -> list[str]:
    """Lines of Markdown: a row for each part, its exponent last."""
    sizes = [each["trials"] for each in found]
    lines = [f"| ms | {' | '.join(f'{size:.0f} trials' for size in sizes)} | grows as |"]
    lines.append("|---" * (len(found) + 2) + "|")
    for part in [name for name in found[0] if name != "trials"]:
        values = [each[part] for each in found]
        slope = np.polyfit(np.log(sizes), np.log(values), 1)[0] if len(found) > 1 else math.nan
        lines.append(f"| {part} | {' | '.join(f'{v:.3g}' for v in values)} | n^{slope:.1f} |")
    return lines


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--report", action="store_true", help="time the report as well: minutes")
    asked = parser.parse_args()
    print("\n".join(table([measure(count, asked.report) for count in asked.trials])))


if __name__ == "__main__":
    main()
