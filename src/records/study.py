"""The records of a study, written and read back.

    DIR/study.json    the config, data, versions and machine of the study, its name and its arms
    DIR/trials/       a folder per trial, see `src.records.trial`
    DIR/results.csv   the rows of all finished trials, derived from their folders

study.json carries a checksum of itself, and says which trials belong to the study; any other in
trials/ is refused by name. results.csv is compared with the trials whenever the study is read.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.records import files, trial
from src.records.files import RecordError, write_atomic
from src.records.trial import RESULT_COLUMNS, Identity, Row, TrialRecord

HEADER, TRIALS, RESULTS = "study.json", "trials", "results.csv"
TRACES = (HEADER, TRIALS, RESULTS)  # A folder that holds one of these is a study's.
_NO_ARM: dict[str, Any] = {"learning_rates": ()}
_NEEDED = ("study", "arms", "config", "dataset", "digest")  # Entries that study.json must have.


@dataclass(frozen=True)
class StudyRecord:
    """The records of one study, as far as it has got.

    Attributes:
        header: The content of study.json.
        trials: The finished trials, in the order of results.csv.
        unfinished: Names of the trials that were begun and are not finished.
    """

    header: dict[str, Any]
    trials: tuple[TrialRecord, ...]
    unfinished: tuple[str, ...]


def new_header(
    config: Mapping[str, Any],
    arms: Mapping[str, tuple[Mapping[str, Any], Sequence[float]]],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Makes the header of a new study.

    Args:
        config: The question.
        arms: Name of an arm -> the settings of its trials, and its learning rates.
        facts: `dataset` and `digest` of the data, and whatever else is to be remembered.
    """
    trials = {
        name: {"settings": trial.settings_digest(settings), "learning_rates": list(rates)}
        for name, (settings, rates) in arms.items()
    }
    return {"study": secrets.token_hex(8), "config": config, **facts, "arms": trials}


def write_study_header(study_dir: Path, header: Mapping[str, Any]) -> None:
    """Writes study.json."""
    files.write_sealed(study_dir / HEADER, header)


def is_study(folder: Path) -> bool:
    """Whether a folder has traces of a study, even of one whose study.json is lost."""
    return any(os.path.lexists(folder / name) for name in TRACES)


def holds_study(study_dir: Path) -> bool:
    """Whether there is a study.json.

    Raises:
        RecordError: If it is missing, or a dead link, but other traces of a study are there.
    """
    path = study_dir / HEADER
    if path.exists():
        return True
    if os.path.lexists(path):
        raise RecordError(f"{path} leads nowhere; bring back what it is a link to")
    for name in (TRIALS, RESULTS):
        if os.path.lexists(study_dir / name):
            raise RecordError(
                f"{study_dir} holds {name}, but no {HEADER} that says whose it is; restore {HEADER}"
                " from a copy, or run the study in another --workdir"
            )
    return False


def read_study_header(study_dir: Path) -> dict[str, Any]:
    """Reads study.json.

    Raises:
        RecordError: If there is no study, or study.json is damaged or from an earlier version.
    """
    if not holds_study(study_dir):
        raise RecordError(f"{study_dir} holds no {HEADER}: it is not the folder of a study")
    path = study_dir / HEADER
    header = files.read_sealed(
        path, "restore it from a copy, or run the study in another --workdir"
    )
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise RecordError(
            f"{path} is of an earlier version of this code: it has no {', '.join(missing)}; read it"
            f" with the code of commit {header.get('commit', 'unknown')}, or run the study again in"
            " another --workdir"
        )
    return header


def identity_of(header: Mapping[str, Any], name: str, where: Path) -> Identity:
    """The identity that all records of a trial must carry.

    Args:
        header: The content of study.json.
        name: Name of the trial.
        where: Its folder, for the message.

    Raises:
        RecordError: If the study has no such trial.
    """
    try:
        arm, rate, seed = trial.parse_trial_name(name)
    except RecordError as error:
        raise RecordError(
            f"{where} is none of this study's trials: {error}; move that folder out of the study"
        ) from error
    config, arms = header["config"], header["arms"]
    asked = {
        f"arm {arm}": arm in arms,
        f"learning rate {rate}": rate
        in {f"{r:g}" for r in arms.get(arm, _NO_ARM)["learning_rates"]},
        f"seed {seed}": seed in (*config["selection_seeds"], *config["fresh_seeds"]),
    }
    if lacking := [what for what, there in asked.items() if not there]:
        raise RecordError(
            f"{where} is none of this study's trials: it has no {lacking[0]}; move that folder out"
            " of the study, or restore the study.json that asked for it"
        )
    return Identity(header["study"], name, arms[arm]["settings"], header["digest"])


def read_finished(study_dir: Path) -> tuple[TrialRecord, ...]:
    """All finished trials by their folders, in the order of results.csv.

    The file results.csv itself is not read, so a study that goes on repeats a trial whose folder
    was removed.

    Raises:
        RecordError: If one of them is damaged, or is another study's.
    """
    return _read_trials(study_dir, read_study_header(study_dir))[0]


def _read_trials(
    study_dir: Path, header: Mapping[str, Any]
) -> tuple[tuple[TrialRecord, ...], tuple[str, ...]]:
    """The finished trials, and the names of those begun and not finished."""
    finished, begun = [], []
    for folder in trial_dirs(study_dir):
        row = trial.read_result(folder, identity_of(header, folder.name, folder))
        if row is None:
            begun.append(folder.name)
        else:
            _check_row(row, header, folder)
            finished.append(TrialRecord(row, trial.read_metrics(folder)))
    return tuple(sorted(finished, key=lambda record: _order(record.row))), tuple(begun)


def _check_row(row: Row, header: Mapping[str, Any], folder: Path) -> None:
    """Refuses a row that contradicts the trial's name or its study."""
    _, rate, seed = trial.parse_trial_name(folder.name)
    wanted = {"trial": folder.name, "dataset": header["dataset"], "seed": seed}
    wrong = [name for name, value in wanted.items() if row[name] != value]
    wrong += ["learning_rate"] if f"{row['learning_rate']:g}" != rate else []
    wrong += [] if seed in header["config"].get(f"{row['purpose']}_seeds", ()) else ["purpose"]
    if wrong:
        raise RecordError(
            f"{folder / trial.RESULT}: {wrong[0]} is {row[wrong[0]]!r}, which is none of this"
            f" study's; move {folder} out of the study and run that again"
        )


def trial_dirs(study_dir: Path) -> list[Path]:
    """The folders in trials/ that hold traces of a trial, sorted by name.

    Other folders, such as file managers and notebooks make, are passed over.
    """
    folder = study_dir / TRIALS
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if any((path / name).exists() for name in trial.TRACES)]


def find_trial(path: Path) -> Path:
    """The folder of a trial as STUDY/trials/TRIAL; `path` may be a link to it, `.` or `../TRIAL`.

    In its study a trial may itself be a link, to a larger disk. What is no trial stays where it is.
    """
    given = Path(os.path.abspath(path))
    led_to = Path(os.path.realpath(path))
    return led_to if os.path.lexists(led_to.parent.parent / HEADER) else given


def write_results(study_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes results.csv, sorted by arm, purpose, rate and seed."""
    write_atomic(study_dir / RESULTS, results_csv(rows))


def read_study(study_dir: Path) -> StudyRecord:
    """Reads and verifies all records of a study; writes nothing.

    Raises:
        RecordError: If a file is damaged or another study's, or results.csv lists more trials than
            there are.
    """
    header = read_study_header(study_dir)
    listed = len(_results(study_dir).splitlines()) - 1  # Read first: trials may finish meanwhile.
    finished, begun = _read_trials(study_dir, header)
    if listed > len(finished):
        path = study_dir / RESULTS
        raise RecordError(
            f"{path} lists {listed} trials, but only {len(finished)} have a sound result.json in"
            f" {study_dir / TRIALS}; run the study again to repeat the others, or rename"
            f" {path.name} to do without them"
        )
    return StudyRecord(header, finished, begun)


def reconcile_results(study_dir: Path, trials: Sequence[TrialRecord]) -> None:
    """Writes results.csv anew if it differs from the trials' own rows.

    Raises:
        RecordError: If it cannot be written.
    """
    rows = [record.row for record in trials]
    if _results(study_dir) != results_csv(rows).encode():
        write_results(study_dir, rows)


def _results(study_dir: Path) -> bytes:
    path = study_dir / RESULTS
    return files.read_bytes(path) if path.exists() else b""


def results_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of results.csv: the fixed columns first, then any others that rows have."""
    rows = sorted((trial.typed(row) for row in rows), key=_order)
    extra = dict.fromkeys(column for row in rows for column in row if column not in RESULT_COLUMNS)
    columns = [*RESULT_COLUMNS, *extra]
    lines = [[trial.cell(row.get(column, "")) for column in columns] for row in rows]
    return trial.csv_text([columns, *lines])


def _order(row: Mapping[str, Any]) -> tuple[str, bool, float, int]:
    arm = trial.parse_trial_name(row["trial"]).arm
    return arm, row["purpose"] == "fresh", row["learning_rate"], row["seed"]
