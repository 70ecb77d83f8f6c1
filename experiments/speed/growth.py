"""Measures what a study of many trials costs its own process, on records made without training.

    python -m experiments.speed.growth [--trials 100 1000 10000] [--write]

Prints milliseconds of processor time (waiting for the disk is left out, and so is whatever else the
machine does) for each part at each number of finished trials, and the exponent that a straight line
through their logarithms gives: 1 is proportional to the number of trials. The last number of trials
is measured once more with many arms.
"""

import argparse
import contextlib
import ctypes
import io
import json
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
from src.records import provenance
from src.records import study as studies
from src.records import trial as trials
from src.records.trial import TrialRecord
from src.reports import compose, readme
from src.study import order, question
from src.study.runner import Runner
from src.study.worker import StopFlag
from src.training.settings import Trial

HERE = Path(__file__).parent
RATES, POINTS, WORKERS = 5, 100, 4
POSITION = {
    "iteration": 390, "last": 3900.0, "epoch": 1.0, "train_error": 0.5, "interval_error": 0.5,
    "seconds": 20.0,
}  # fmt: skip
FACTS = {"dataset": "made", "digest": "made", "image_shape": (32, 32, 3), "num_classes": 10}
FACTS |= {"device": "none", "jax_version": "0", "commit": "none"}


def make_config(count: int, arms: int) -> Config:
    """A study of about `count` trials: arms of five rates, two activations among them, and as many
    seeds.
    """
    config = base.get_config()
    config.data.name = "made"
    config.sweep.model = {"activation": ("relu", "tanh")}
    if arms > 2:
        config.sweep.batch_size = tuple(range(100, 100 + arms // 2))
    config.learning_rates = tuple(0.01 * 2**i for i in range(RATES))
    seeds = max(1, count // (arms * (RATES + 1)))
    config.selection_seeds = tuple(range(seeds))
    config.fresh_seeds = tuple(range(10**6, 10**6 + seeds))
    config.racing = False
    return Config.read(config.to_dict())


def make_trials(config: Config) -> list[Trial]:
    """Every trial of the study; fresh ones have the middle rate, which is taken to be the best."""
    finished: dict[str, TrialRecord] = {}
    found = []
    for _ in range(2):  # selection, then fresh
        for task in order.ready_tasks(config, finished):
            finished[task.trial.name] = make_record(task.trial)
            found.append(task.trial)
    return found


def make_record(trial: Trial) -> TrialRecord:
    """A record such as a trial of 100 points might have left."""
    iterations = np.arange(1, POINTS + 1) * 39
    speed = 1 + abs(math.log(trial.learning_rate / 0.04))
    error = 0.9 * np.exp(-iterations / (1500 * speed + trial.seed % 97))
    metrics = {name: error for name in trials.METRIC_COLUMNS} | {"iteration": iterations}
    metrics |= {"epoch": iterations / 390, "train_seconds": 0.05 * iterations}
    metrics["figure_error"] = error
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


def measure(count: int, arms: int) -> dict[str, float]:
    """Seconds of processor time of each part of a study of about `count` finished trials."""
    config = make_config(count, arms)
    made = make_trials(config)
    records = {trial.name: make_record(trial) for trial in made}
    half = {trial.name: records[trial.name] for trial in made[: len(made) // 2]}
    found = {"trials": float(len(made)), "arms": float(arms)}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        workdir = Path(folder)
        header = write(config, made, workdir)
        stop = StopFlag(ctypes.c_bool())

        def start(finished: dict[str, TrialRecord]) -> Runner:
            return Runner(config, workdir, header, Nobody(), stop, finished)

        runner = start(half)
        tasks = runner.queue.take(WORKERS)
        for task in tasks:
            runner.display.started(task)
            runner.display.heard(task.trial.name, "point", POSITION)
        found["start: read the finished trials"] = timed(lambda: studies.read_finished(workdir))
        found["start: see what is left"] = timed(lambda: start(records))
        found["a progress line"] = timed(lambda: runner.display._left_words(tasks[0].trial.name))
        found["a finished trial"] = timed(lambda: runner._take(records[tasks.pop().trial.name]))
        found["results.csv, every ten seconds at most"] = timed(runner._write_results)
        found["report"] = timed(lambda: compose.write_report(workdir))
    return found


class Nobody:
    """An engine without a machine."""

    lost = ()

    def slots(self) -> int:
        """As many as there would be."""
        return WORKERS


def timed(fn: Callable[[], Any]) -> float:
    """Seconds of processor time of one call, the fastest of three that are short."""
    times: list[float] = []
    while not times or (len(times) < 3 and times[0] < 0.5):
        start = time.process_time()
        fn()
        times.append(time.process_time() - start)
    return min(times)


def render(record: dict[str, Any]) -> str:
    """The record in Markdown: a row for each part, its exponent last."""
    tables = [
        "\n".join(table([each for each in record["measured"] if each["arms"] == arms]))
        for arms in dict.fromkeys(each["arms"] for each in record["measured"])
    ]
    return "\n\n".join([f"{record['device']}, {record['commit']}.", *tables])


def table(found: Sequence[dict[str, float]]) -> list[str]:
    """Lines of Markdown: a row for each part, its exponent last where there is more than one."""
    sizes = [each["trials"] for each in found]
    heads = [f"{each['trials']:,.0f} trials, {each['arms']:.0f} arms" for each in found]
    lines = [f"| ms | {' | '.join(heads)} | grows as |", "|---" * (len(found) + 2) + "|"]
    for part in [name for name in found[0] if name not in ("trials", "arms")]:
        values = [1000 * each[part] for each in found]
        slope = np.polyfit(np.log(sizes), np.log(values), 1)[0] if len(found) > 1 else math.nan
        grows = f"n^{slope:.1f}" if len(found) > 1 else ""
        lines.append(f"| {part} | {' | '.join(f'{_digits(v)}' for v in values)} | {grows} |")
    return lines


def _digits(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Measures and prints; `--write` keeps it in growth.json and README.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--many_arms", type=int, default=1000, help="of the last number; 0: none")
    parser.add_argument("--write", action="store_true", help="in growth.json and README.md")
    asked = parser.parse_args()
    measured = [measure(count, 2) for count in asked.trials]
    if asked.many_arms:
        measured.append(measure(asked.trials[-1], asked.many_arms))
    facts = provenance.provenance()
    record = {"device": facts["device"], "commit": facts["commit"], "measured": measured}
    print(render(record))
    if asked.write:
        (HERE / "growth.json").write_text(json.dumps(record, indent=1) + "\n")
        readme.fill(HERE / "README.md", "growth", render(record))


if __name__ == "__main__":
    main()
