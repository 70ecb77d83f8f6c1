"""The records of a trial, written and read back.

    DIR/trials/<trial>/config.json   its settings
    DIR/trials/<trial>/metrics.csv   its points
    DIR/trials/<trial>/result.json   its row, its identity, and the SHA-256 of the two files above

Files appear whole or not at all. result.json is written last and carries a checksum of itself, so
that every number is either as it was written, or refused.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.records import files
from src.records.files import RecordError, write_atomic

# fmt: off
METRIC_COLUMNS = (
    "iteration", "epoch", "train_error", "train_loss", "interval_error", "test_error",
    "train_seconds",
)
RESULT_COLUMNS = (
    "trial", "dataset", "activation", "model", "recipe", "learning_rate", "seed", "purpose",
    "status", "iterations_to_target", "epochs_to_target", "seconds_to_target", "final_train_error",
    "final_test_error", "iterations", "train_seconds", "device", "jax_version", "commit",
)
FURTHER_COLUMNS = (  # Some rows have these too.
    "final_test_top5_error", "compile_seconds", "measure_seconds", "save_seconds",
    "jaxlib_version", "processor", "vectors", "threads", "xla_flags", "together",
    "stack", "stack_sha256", "start_layers", "start_sha256",
)
FLOAT_COLUMNS = (
    "learning_rate", "iterations_to_target", "epochs_to_target", "seconds_to_target",
    "final_train_error", "final_test_error", "train_seconds",
)
# fmt: on
RESULT, SEALED_FILES = "result.json", ("config.json", "metrics.csv")
TRACES = (RESULT, *SEALED_FILES, "checkpoints")  # A folder with one of these is a trial's.
_NAME = re.compile(r"(?P<arm>.+)-lr(?P<rate>[0-9.e+-]+)-s(?P<seed>\d+)", re.DOTALL)

Row = dict[str, Any]
Metrics = dict[str, np.ndarray]


class TrialName(NamedTuple):
    """The parts of a trial's name.

    Attributes:
        arm: Name of its arm.
        rate: Its learning rate as `:g` writes it, with up to six digits.
        seed: Its seed.
    """

    arm: str
    rate: str
    seed: int


def make_trial_name(arm: str, learning_rate: float, seed: int) -> str:
    """The name of a trial, such as `conv3-modern-relu-lr0.01-s100`, unique in its study."""
    return f"{arm}-lr{learning_rate:g}-s{seed}"


def parse_trial_name(name: str) -> TrialName:
    """The parts that `make_trial_name` made a name of.

    Raises:
        RecordError: If it is not the name of a trial.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise RecordError(
            f"{name!r} is not the name of a trial, such as conv3-modern-relu-lr0.01-s100"
        )
    return TrialName(match["arm"], match["rate"], int(match["seed"]))


@dataclass(frozen=True)
class Identity:
    """The owner of a record: every sealed file and checkpoint holds it, and readers compare it.

    The code that made the record is not part of it: a study may go on with other code, and says so.

    Attributes:
        study: A random word drawn when the study began.
        trial: Name of the trial.
        settings: Digest of its config.json.
        data: Digest of the data set.
    """

    study: str
    trial: str
    settings: str
    data: str

    def differences(self, found: Any) -> str:
        """How `found`, an identity as JSON, differs from this one, in words; "" if it does not."""
        there = found if isinstance(found, Mapping) else {}
        return "; ".join(
            f"{name} {_short(there.get(name, 'not named'))}, not {_short(value)}"
            for name, value in dataclasses.asdict(self).items()
            if there.get(name) != value
        )


def _short(value: Any) -> str:
    """Shortens digests to their first letters."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{13,}", text) else text


@dataclass(frozen=True)
class TrialRecord:
    """One finished trial.

    Attributes:
        row: Its row of results.csv, typed.
        metrics: Column of metrics.csv -> [points].
    """

    row: Row
    metrics: Metrics


def write_config(trial_dir: Path, settings: Mapping[str, Any]) -> None:
    """Writes config.json, the trial's settings."""
    write_atomic(trial_dir / "config.json", _config_json(settings))


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of the config.json that `write_config` makes of `settings`."""
    return hashlib.sha256(_config_json(settings).encode()).hexdigest()


def _config_json(settings: Mapping[str, Any]) -> str:
    return json.dumps(files.json_safe(settings), indent=1) + "\n"


def read_config(trial_dir: Path, of: Identity) -> dict[str, Any]:
    """Reads config.json.

    Raises:
        RecordError: If it does not hold the settings that the study gave to the trial.
    """
    path = trial_dir / "config.json"
    content = files.read_bytes(path)
    if hashlib.sha256(content).hexdigest() != of.settings:
        raise RecordError(
            f"{path} is not what this trial of the study does{_why(content, of.settings)};"
            f" {_remedy(trial_dir)}"
        )
    return json.loads(content)


def write_metrics(trial_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes metrics.csv, a line per point: floats read back exactly, NaN is an empty cell.

    The fixed columns come first, then any others; if a row lacks one, its cell is empty.

    Raises:
        RecordError: If a value is not a number, or the file cannot be written.
    """
    extra = dict.fromkeys(name for row in rows for name in row if name not in METRIC_COLUMNS)
    columns = [*METRIC_COLUMNS, *extra]
    lines = [
        [_number(row[name] if name in METRIC_COLUMNS else row.get(name, math.nan), name)
         for name in columns]
        for row in rows
    ]  # fmt: skip
    write_atomic(trial_dir / "metrics.csv", csv_text([columns, *lines]))


def _number(value: Any, name: str) -> str:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise RecordError(f"{name} of a point is {value!r}: metrics.csv holds numbers only")
    return cell(value, nan="")


def read_metrics(trial_dir: Path) -> Metrics:
    """Reads metrics.csv.

    Returns:
        Column -> [points]: `iteration` int64, the others float64; an empty cell is NaN.

    Raises:
        RecordError: If the file is missing or not what `write_metrics` writes.
    """
    path = trial_dir / "metrics.csv"
    try:
        header, *lines = csv.reader(io.StringIO(files.read_bytes(path).decode()), strict=True)
        if tuple(header[: len(METRIC_COLUMNS)]) != METRIC_COLUMNS or len({*header}) < len(header):
            raise ValueError(f"columns {header}")
        if any(len(line) != len(header) for line in lines):
            raise ValueError("a line is longer or shorter than the first")
        columns = list(zip(*lines, strict=True)) or [()] * len(header)
        metrics = {
            name: np.array([float(cell or "nan") for cell in column])
            for name, column in zip(header, columns, strict=True)
        }
        metrics["iteration"] = np.array([int(cell) for cell in columns[0]], np.int64)
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{path} is damaged ({error}); {_remedy(trial_dir)}") from error
    if np.any(np.diff(metrics["iteration"]) <= 0):
        raise RecordError(f"{path} is damaged (iterations do not increase); {_remedy(trial_dir)}")
    return metrics


def write_result(trial_dir: Path, of: Identity, result: Mapping[str, Any]) -> None:
    """Writes result.json: the trial is finished now, and its files must stay as they are.

    Args:
        trial_dir: Holds config.json and metrics.csv already.
        of: Identity of the trial.
        result: Its row: all of `RESULT_COLUMNS`, and any further columns.
    """
    row = typed({**{column: result[column] for column in RESULT_COLUMNS}, **result})
    digests = {name: files.sha256(trial_dir / name) for name in SEALED_FILES}
    content = {"of": dataclasses.asdict(of), "result": row, "sha256": digests}
    files.write_sealed(trial_dir / RESULT, content)


def is_finished(trial_dir: Path) -> bool:
    """Whether its result.json has been written."""
    return (trial_dir / RESULT).exists()


def read_result(trial_dir: Path, of: Identity) -> Row | None:
    """Reads the row of a finished trial; None if the trial is not finished.

    Raises:
        RecordError: If one of its files is missing, has changed since the trial finished, or
            belongs to another trial, study or data set.
    """
    path = trial_dir / RESULT
    if not is_finished(trial_dir):
        return None
    record = files.read_sealed(path, _remedy(trial_dir))
    if differing := of.differences(record.get("of")):
        raise RecordError(f"{path} is of another trial: {differing}; {_remedy(trial_dir)}")
    for name, digest in record["sha256"].items():
        if not (trial_dir / name).exists():
            raise RecordError(f"{trial_dir / name} is missing; {_remedy(trial_dir)}")
        content = files.read_bytes(trial_dir / name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise RecordError(
                f"{trial_dir / name} is not as it was written{_why(content, digest)};"
                f" {_remedy(trial_dir)}"
            )
    if record["sha256"]["config.json"] != of.settings:
        raise RecordError(
            f"{path} does not belong to the config.json beside it; {_remedy(trial_dir)}"
        )
    return typed(record["result"])


def _why(content: bytes, digest: str) -> str:
    """A likely cause of the change; empty if none is known."""
    if hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == digest:
        return " (its lines end in CRLF, as git makes them where core.autocrlf is set)"
    return ""


def _remedy(trial_dir: Path) -> str:
    return f"restore it from a copy, or move {trial_dir} out of the study and run that again"


# --- Numbers and text. ---


def typed(row: Mapping[str, Any]) -> Row:
    """The row with floats in the columns that may be infinite."""
    return {**row, **{column: float(row[column]) for column in FLOAT_COLUMNS}}


def cell(value: Any, nan: str = "nan") -> str:
    """A value as the text of a cell; floats read back exactly."""
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return nan
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def csv_text(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
