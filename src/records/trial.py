"""What a trial writes and how it is read back.

    DIR/study.json                   the config, data, versions and machine of the study
    DIR/trials/<trial>/config.json   what the trial does
    DIR/trials/<trial>/metrics.csv   its points
    DIR/trials/<trial>/result.json   its row, and the SHA-256 of the two files above; written last
    DIR/results.csv                  the rows of all finished trials, derived from the files above

Files appear whole or not at all. study.json and result.json carry a checksum of themselves, so that
every number is as it was written or refused. results.csv is compared with the trials whenever the
study is read, and written anew where it differs.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.records import files
from src.records.files import RecordError, write_atomic
from src.records.older import completed

# fmt: off
METRIC_COLUMNS = (
    "iteration", "epoch", "train_error", "train_loss", "interval_error", "test_error",
    "train_seconds",
)
SCHEDULE_COLUMNS = ("validation_error", "rate_factor")  # in metrics.csv where there is any
RESULT_COLUMNS = (
    "trial", "dataset", "activation", "model", "recipe", "learning_rate", "seed", "purpose",
    "status", "iterations_to_target", "epochs_to_target", "seconds_to_target", "final_train_error",
    "final_test_error", "iterations", "train_seconds", "device", "jax_version", "commit",
)
FLOAT_COLUMNS = (
    "learning_rate", "iterations_to_target", "epochs_to_target", "seconds_to_target",
    "final_train_error", "final_test_error", "train_seconds",
)
# fmt: on
SEALED_FILES = ("config.json", "metrics.csv")

Row = dict[str, Any]
Metrics = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrialRecord:
    """One finished trial."""

    row: Row  # of results.csv, typed
    metrics: Metrics  # column of metrics.csv -> [points]


@dataclass(frozen=True)
class StudyRecord:
    """One study, as far as it has got."""

    header: dict[str, Any]  # study.json
    trials: tuple[TrialRecord, ...]  # the finished ones, in the order of results.csv
    unfinished: tuple[str, ...]  # trials begun and not finished

    @property
    def config(self) -> dict[str, Any]:
        """The study's config, as in its config file."""
        return self.header["config"]


# --- Trials. ---


def write_config(trial_dir: Path, settings: Mapping[str, Any]) -> None:
    """Writes config.json: what the trial does."""
    write_atomic(trial_dir / "config.json", json.dumps(files.json_safe(settings), indent=1) + "\n")


def write_metrics(trial_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes metrics.csv, a line per point: floats that read back exactly, NaN as empty cell."""
    extra = [column for column in SCHEDULE_COLUMNS if any(column in row for row in rows)]
    columns = [*METRIC_COLUMNS, *extra]
    lines = [[_cell(row[column], nan="") for column in columns] for row in rows]
    write_atomic(trial_dir / "metrics.csv", _csv([columns, *lines]))


def read_metrics(trial_dir: Path) -> Metrics:
    """The columns of metrics.csv, each [points]: `iteration` int64, others float64, empty is NaN.

    Raises:
        RecordError: If the file is missing or not what `write_metrics` writes.
    """
    path = trial_dir / "metrics.csv"
    try:
        header, *lines = csv.reader(io.StringIO(files.read_bytes(path).decode()), strict=True)
        extra = [column for column in SCHEDULE_COLUMNS if column in header]
        if header != [*METRIC_COLUMNS, *extra]:
            raise ValueError(f"columns {header}")
        table = [dict(zip(header, line, strict=True)) for line in lines]
        metrics = {
            name: np.array([float(line[name] or "nan") for line in table]) for name in header
        }
        metrics["iteration"] = np.array([int(line["iteration"]) for line in table], np.int64)
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{path} is damaged ({error}); {_remedy(trial_dir)}") from error
    if np.any(np.diff(metrics["iteration"]) <= 0):
        raise RecordError(f"{path} is damaged (iterations do not increase); {_remedy(trial_dir)}")
    return metrics


def write_result(trial_dir: Path, result: Mapping[str, Any]) -> None:
    """Writes result.json: the trial is finished now, and its files must stay as they are.

    Args:
        trial_dir: Holds config.json and metrics.csv already.
        result: The trial's row: every one of RESULT_COLUMNS, and whatever else the sweep varies.
    """
    row = _typed({**{column: result[column] for column in RESULT_COLUMNS}, **result})
    digests = {name: files.sha256(trial_dir / name) for name in SEALED_FILES}
    files.write_sealed(trial_dir / "result.json", {"result": row, "sha256": digests})


def read_result(trial_dir: Path) -> Row | None:
    """The row of a finished trial; None if the trial is not finished.

    Raises:
        RecordError: If one of its files is missing or not as it was when the trial finished.
    """
    path = trial_dir / "result.json"
    if not path.exists():
        return None
    record = files.read_sealed(path, _remedy(trial_dir))
    for name, digest in record["sha256"].items():
        if not (trial_dir / name).exists():
            raise RecordError(f"{trial_dir / name} is missing; {_remedy(trial_dir)}")
        if files.sha256(trial_dir / name) != digest:
            raise RecordError(f"{trial_dir / name} is not as it was written; {_remedy(trial_dir)}")
    row = _typed(record["result"])
    if row["trial"] != trial_dir.name:
        raise RecordError(f"{path} is of trial {row['trial']}, not {trial_dir.name}")
    return row


# --- Studies. ---


def write_study_header(study_dir: Path, header: Mapping[str, Any]) -> None:
    """Writes study.json."""
    files.write_sealed(study_dir / "study.json", header)


def read_study_header(study_dir: Path) -> dict[str, Any]:
    """What `write_study_header` wrote, and what that means of fields added since.

    Raises:
        RecordError: If there is no study, or study.json is damaged.
    """
    path = study_dir / "study.json"
    if not path.exists():
        raise RecordError(f"{study_dir} holds no study.json: it is not the folder of a study")
    remedy = "restore it from a copy, or start again with another --workdir"
    header = files.read_sealed(path, remedy)
    return {**header, "config": completed(header["config"])}


def read_finished(study_dir: Path) -> tuple[TrialRecord, ...]:
    """All finished trials, in the order of results.csv, whatever that file says.

    A study that goes on starts from here: it repeats a trial whose folder was removed.

    Raises:
        RecordError: If one of them is damaged.
    """
    rows = [row for row in map(read_result, _trial_dirs(study_dir)) if row is not None]
    trials = study_dir / "trials"
    return tuple(
        TrialRecord(r, read_metrics(trials / r["trial"])) for r in sorted(rows, key=_order)
    )


def write_results(study_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes results.csv, sorted by arm, purpose, rate and seed, whoever finished first."""
    write_atomic(study_dir / "results.csv", _results_csv(rows))


def read_study(study_dir: Path) -> StudyRecord:
    """Reads and verifies all records of a study; writes results.csv anew if it says anything else.

    Raises:
        RecordError: If a file is damaged, or results.csv lists more trials than there are.
    """
    header, finished = read_study_header(study_dir), read_finished(study_dir)
    _reconcile(study_dir, [trial.row for trial in finished])
    names = {trial.row["trial"] for trial in finished}
    unfinished = tuple(p.name for p in _trial_dirs(study_dir) if p.name not in names)
    return StudyRecord(header, finished, unfinished)


def _reconcile(study_dir: Path, rows: Sequence[Row]) -> None:
    path = study_dir / "results.csv"
    there = files.read_bytes(path) if path.exists() else b""
    if there == _results_csv(rows).encode():
        return
    listed = max(0, len(there.splitlines()) - 1)
    if listed > len(rows):
        raise RecordError(
            f"{path} lists {listed} trials, but only {len(rows)} have a sound result.json in"
            f" {study_dir / 'trials'}; run the study again to repeat the others,"
            f" or remove {path.name} to do without them"
        )
    write_results(study_dir, rows)


def _results_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    rows = sorted((_typed(row) for row in rows), key=_order)
    extra = dict.fromkeys(column for row in rows for column in row if column not in RESULT_COLUMNS)
    columns = [*RESULT_COLUMNS, *extra]
    return _csv([columns, *([_cell(row.get(column, "")) for column in columns] for row in rows)])


def _order(row: Mapping[str, Any]) -> tuple[str, bool, float, int]:
    arm = row["trial"].rsplit("-lr", 1)[0]
    return arm, row["purpose"] == "fresh", row["learning_rate"], row["seed"]


def _trial_dirs(study_dir: Path) -> list[Path]:
    return sorted(path for path in (study_dir / "trials").glob("*") if path.is_dir())


def _remedy(trial_dir: Path) -> str:
    return f"restore it from a copy, or remove {trial_dir} and run the study again"


# --- Numbers and bytes. ---


def _typed(row: Mapping[str, Any]) -> Row:
    """Python's own numbers, floats where a column may be infinite."""
    return {**row, **{column: float(row[column]) for column in FLOAT_COLUMNS}}


def _cell(value: Any, nan: str = "nan") -> str:
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return nan
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
