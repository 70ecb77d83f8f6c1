"""The command itself, from flags to report, on large images streamed from disk."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.streaming import photos
from src import doors, main

pytestmark = [
    pytest.mark.usefixtures("in_process"),
    pytest.mark.filterwarnings("ignore:the load_module"),  # of ml_collections
]
ROOT = Path(__file__).parent.parent
FIELDS = {
    "data.name": photos.NAME,
    "data.stream_size": 24,
    "model.name": "conv3",
    "recipes.paper.init": "modern",
    "recipes.paper.input": "standardized",
    "augment.crop": 16,
    "validation_images": 8,
    "batch_size": 8,
    "points_per_epoch": 1,
    "max_epochs": 2,
    "workers": 1,
}


def command(workdir: Path, data_dir: Path, **changes: object) -> list[str]:
    fields = FIELDS | {"data.dir": data_dir} | changes
    flags = [f"--config={ROOT / 'configs' / 'alexnet_imagenet.py'}", f"--workdir={workdir}"]
    return flags + [f"--config.{name}={value}" for name, value in fields.items()]


def run(flags: list[str]) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "src.main", *flags],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tfds")
    photos.write_photos(path, train=48, test=10, classes=3, sides=(24, 40))
    return path


@pytest.mark.slow
def test_a_stream_is_trained_on_tested_and_reported(tmp_path, data_dir, capsys):
    done = run(command(tmp_path, data_dir))
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["dataset"], row["iterations"]) == (photos.NAME, "10")  # 40 images, 2 epochs
    assert 0 <= float(row["final_test_error"]) <= 1
    assert (tmp_path / "report.md").exists()
    other = command(tmp_path, data_dir, **{"data.stream_size": 32})
    assert doors.run(main.main, other) == doors.REFUSED
    assert "data.stream_size was 24, is 32" in capsys.readouterr().err


@pytest.mark.slow
def test_images_too_small_for_the_network_are_refused_in_one_line(tmp_path, data_dir, capsys):
    flags = command(tmp_path / "study", data_dir, **{"model.name": "alexnet"})
    assert doors.run(main.main, flags) == doors.REFUSED
    assert capsys.readouterr().err.splitlines() == [
        "error: config.model.name = 'alexnet' is made for images of 227 x 227 pixels;"
        " those of 16 x 16 are too small for it"
    ]
    assert not (tmp_path / "study").exists()
