"""Studies made of arithmetic, written through `src.records` as a real one is."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from configs import base
from src.config.config import Config
from src.records import study as studies
from src.records import trial as records

PER_EPOCH = 50_000 / 128  # iterations
PER_POINT = 39  # as int(50,000 / 128 / 10)


def make_metrics(
    error_at: Callable[[float], float], *, epochs: float, stop_at: float = 0.0
) -> list[dict[str, Any]]:
    """Points ten times an epoch of a run whose momentary error after e epochs is error_at(e).

    Args:
        error_at: Its value at the middle of each interval is the interval's error.
        epochs: How long it goes on.
        stop_at: It stops at the first point whose error over the trailing epoch is at most this.
    """
    intervals: list[float] = []
    rows: list[dict[str, Any]] = []
    while len(rows) * PER_POINT < epochs * PER_EPOCH:
        iteration = PER_POINT * (len(rows) + 1)
        intervals.append(error_at((iteration - PER_POINT / 2) / PER_EPOCH))
        trailing = float(np.mean(intervals[-10:]))
        row = {
            "iteration": iteration,
            "epoch": iteration / PER_EPOCH,
            "train_error": trailing if len(intervals) >= 10 else math.nan,
            "train_loss": 3 * trailing,
            "interval_error": intervals[-1],
            "test_error": math.nan,
            "train_seconds": iteration / 16,
            "figure_error": _figure_error(error_at, iteration),
        }
        rows.append(row)
        if trailing <= stop_at:
            break
    if rows:
        rows[-1]["test_error"] = rows[-1]["train_error"] + 0.03
    return rows


def _figure_error(error_at: Callable[[float], float], iteration: int) -> float:
    """The mean error from k to k + 0.2 epochs, at the first point behind them; nan elsewhere."""
    before, now = (n / PER_EPOCH for n in (iteration - PER_POINT, iteration))
    k = math.floor(now - 0.2)
    if k < 0 or before >= k + 0.2:
        return math.nan
    return float(np.mean([error_at(k + (i + 0.5) / 50) for i in range(10)]))


def write_trial(study_dir: Path, metrics: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """One finished trial; its row. `fields` overrides or adds to the row's columns."""
    target = fields.pop("target", 0.25)
    reached = next((m for m in metrics if m["train_error"] <= target), {})
    last = metrics[-1] if metrics else {}
    if not (study_dir / "study.json").exists():
        write_header(study_dir)
    row = {
        "dataset": studies.read_study_header(study_dir)["dataset"],
        "activation": "relu",
        "model": "conv3",
        "recipe": "cuda_convnet",
        "learning_rate": 0.001,
        "seed": 100,
        "purpose": "fresh",
        "status": "reached" if reached else "censored",
        "iterations_to_target": reached.get("iteration", math.inf),
        "epochs_to_target": reached.get("epoch", math.inf),
        "seconds_to_target": reached.get("train_seconds", math.inf),
        "final_train_error": last.get("train_error", math.nan),
        "final_test_error": last.get("test_error", math.nan),
        "iterations": last.get("iteration", 0),
        "train_seconds": last.get("train_seconds", 0.0),
        "compile_seconds": 2.0,
        "device": "1 x cpu (AMD EPYC)",
        "jax_version": "0.10.2",
        "commit": "0123456789",
    } | fields
    arm = f"{row['model']}-{row['recipe']}-{row['activation']}"
    name = records.make_trial_name(arm, row["learning_rate"], row["seed"])
    trial_dir = study_dir / "trials" / row.setdefault("trial", name)
    records.write_config(trial_dir, {"recipe": row["recipe"]})
    records.write_metrics(trial_dir, metrics)
    records.write_result(trial_dir, identity(study_dir, row), row)
    return row


def identity(study_dir: Path, row: Mapping[str, Any]) -> records.Identity:
    """The trial's, which the study is made to have asked for."""
    header = studies.read_study_header(study_dir)
    settings = records.settings_digest({"recipe": row["recipe"]})
    arm = records.parse_trial_name(row["trial"]).arm
    asked = header["arms"].setdefault(arm, {"settings": settings, "learning_rates": []})
    asked["learning_rates"] = sorted({*asked["learning_rates"], row["learning_rate"]})
    config = header["config"]
    if row["seed"] not in (seeds := config[f"{row['purpose']}_seeds"]):
        seeds.append(row["seed"])
    if row["purpose"] == "fresh":  # Fresh means not used to choose.
        others = [seed for seed in config["selection_seeds"] if seed != row["seed"]]
        config["selection_seeds"] = others or [2**31 - 1]
    studies.write_study_header(study_dir, header)
    return studies.identity_of(header, row["trial"], study_dir / "trials" / row["trial"])


def write_header(study_dir: Path, **changes: Any) -> None:
    """The study.json of a ReLU against tanh study."""
    recipes = base.get_config().recipes.to_dict()
    config: Mapping[str, Any] = {
        "data": {"name": "cifar10-jpeg", "stream_size": 0},
        "model": {"name": "conv3", "activation": "relu"},
        "recipe": "modern",
        "recipes": {
            "cuda_convnet": recipes["cuda_convnet"] | {"learning_rates": [0.0005, 0.001, 0.002]},
            "modern": recipes["modern"] | {"learning_rates": [0.01, 0.02, 0.04]},
        },
        "batch_size": 128,
        "max_epochs": 60,
        "target_train_error": 0.25,
        "stop_at_target": True,
        "sweep": {"recipe": ["cuda_convnet", "modern"], "model": {"activation": ["relu", "tanh"]}},
        "learning_rates": [],
        "arm_learning_rates": {},
        "selection_seeds": [0],
        "fresh_seeds": [100, 101, 102],
        "racing": True,
        "racing_slack": 1.5,
        "thresholds": [0.5, 0.45, 0.4, 0.35, 0.3, 0.25],
        "compare": {"field": "activation", "baseline": "relu"},
        "augment": {"crop": 0, "translation": 0, "flip": False, "noise": 0.0, "pca": 0.0},
        "schedule": {
            "name": "constant",
            "factor": 0.1,
            "boundaries": [],
            "patience": 5,
            "drops": 3,
        },
        "train_images": 0,
        "validation_images": 0,
        "test_crops": 1,
        "variants": {},
        "model_options": {},
    }
    fresh = changes.get("fresh_seeds", config["fresh_seeds"]) or [100]
    chosen_by = [seed for seed in config["selection_seeds"] if seed not in fresh]
    seeds = {"fresh_seeds": fresh, "selection_seeds": chosen_by or [2**31 - 1]}
    changes = {**seeds, **changes, "fresh_seeds": fresh}
    arms = Config.read({**config, **changes}).arms
    facts = {
        "networks": {arm.name: {"parameters": 1000, "multiply_adds": 2000} for arm in arms},
        "dataset": changes.get("data", config["data"])["name"],
        "digest": "0" * 64,
        "device": "1 x cpu (AMD EPYC)",
        "jax_version": "0.10.2",
        "versions": {"flax": "0.12.0", "numpy": "2.3.0"},
        "python": "3.11.7",
        "commit": "0123456789",
        "started": "2025-01-01T00:00:00Z",
    }
    studies.write_study_header(study_dir, studies.new_header({**config, **changes}, {}, facts))


def write_study(study_dir: Path, *, fresh_seeds: int = 3, **changes: Any) -> None:
    """ReLU and tanh under two recipes, their errors falling much as measured ones do."""
    config = {"max_epochs": 20, "fresh_seeds": [*range(100, 100 + fresh_seeds)]} | changes
    write_header(study_dir, **config)
    speeds = {("cuda_convnet", "relu"): 1.0, ("cuda_convnet", "tanh"): 0.17}
    speeds |= {("modern", "relu"): 0.9, ("modern", "tanh"): 0.7}
    grids = {"cuda_convnet": (0.0005, 0.001, 0.002), "modern": (0.01, 0.02, 0.04)}
    for (recipe, activation), speed in speeds.items():
        for i, rate in enumerate(grids[recipe]):
            fields = {"recipe": recipe, "activation": activation, "learning_rate": rate}
            slower = speed * (0.6, 1.0, 0.75)[i]
            metrics = make_metrics(_falling(slower, 0), epochs=20, stop_at=0.25)
            write_trial(study_dir, metrics, seed=0, purpose="selection", **fields)
            for seed in config["fresh_seeds"] if i == 1 else ():
                faster = speed * (1 + 0.04 * math.sin(seed))
                metrics = make_metrics(_falling(faster, seed), epochs=20, stop_at=0.25)
                write_trial(study_dir, metrics, seed=seed, **fields)
    studies.write_results(study_dir, [trial.row for trial in studies.read_finished(study_dir)])


def _falling(speed: float, seed: int) -> Callable[[float], float]:
    return lambda e: 0.18 + 0.62 / (1 + speed * e) + 0.006 * math.sin(9 * e + seed)
