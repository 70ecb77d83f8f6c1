"""A study on a Dask cluster of two processes on this machine: the rows of a local run."""

import csv
from pathlib import Path

import pytest

from src.study.engines import PACKAGES
from tests.torture.subject import CONFIG, Process, Subject

pytest.importorskip(PACKAGES["dask"])
SMALL = (
    "--config.fresh_seeds=(1,)", "--config.max_epochs=3", "--config.target_train_error=0.01",
    "--config.sweep.model.activation=('relu',)",
)  # fmt: skip


def run(subject: Subject, workdir: Path, engine: str) -> list[dict[str, str]]:
    arguments = [f"--config={CONFIG}", f"--workdir={workdir}", *SMALL]
    arguments += [f"--config.data.dir={subject.data_dir}", "--config.workers=2"]
    process = Process(
        [*arguments, f"--config.engine={engine}"], subject.environment, workdir.with_suffix(".txt")
    )
    assert process.end() == 0, process.lines()[-5:]
    with (workdir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


@pytest.mark.slow
def test_rows_are_those_of_a_local_run(tmp_path):
    subject = Subject(tmp_path / "subject")
    rows = run(subject, tmp_path / "dask", "dask")
    assert len(rows) == 2 + 1  # two rates raced, the better one measured
    assert rows == run(subject, tmp_path / "local", "local")
