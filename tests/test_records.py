import math
import os
from pathlib import Path

import numpy as np
import pytest

from src.records import trial as records
from src.records.older import completed
from src.records.trial import RecordError
from tests import synthetic


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    synthetic.write_header(tmp_path)
    for activation, seed in [("relu", 100), ("relu", 101), ("tanh", 100)]:
        rows = synthetic.make_metrics(lambda e: 0.3 + 0.5 / (1 + e), epochs=4)
        synthetic.write_trial(tmp_path, rows, activation=activation, seed=seed)
    records.write_results(tmp_path, [trial.row for trial in records.read_finished(tmp_path)])
    return tmp_path


def metric_row(iteration: int, **changes: float) -> dict[str, float]:
    return {**dict.fromkeys(records.METRIC_COLUMNS, 0.5), "iteration": iteration, **changes}


def test_floats_read_back_exactly(tmp_path):
    values = [0.1 + 0.2, 1 / 3, 1e-300, 2.0**60, np.float32(0.1), np.float64(0.7)]
    rows = [metric_row(i, train_loss=value) for i, value in enumerate(values)]
    records.write_metrics(tmp_path, rows)
    metrics = records.read_metrics(tmp_path)
    np.testing.assert_array_equal(metrics["train_loss"], np.array(values, np.float64))
    assert metrics["iteration"].dtype == np.int64


def test_a_test_error_not_measured_is_an_empty_cell_and_a_nan(tmp_path):
    records.write_metrics(tmp_path, [metric_row(39, test_error=math.nan), metric_row(78)])
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1] == "39,0.5,0.5,0.5,0.5,,0.5"
    np.testing.assert_array_equal(records.read_metrics(tmp_path)["test_error"], [math.nan, 0.5])


def test_a_trial_without_points_has_empty_columns(tmp_path):
    records.write_metrics(tmp_path, [])
    assert all(column.shape == (0,) for column in records.read_metrics(tmp_path).values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iteration,epoch\n1,2\n",
        ",".join(records.METRIC_COLUMNS) + "\n39,0.1,0.5\n",
        ",".join(records.METRIC_COLUMNS) + "\n39,0.1,x,0.5,0.5,,1\n",
        ",".join(records.METRIC_COLUMNS) + "\n39,0.1,0.5,0.5,0.5,,1\n39,0.2,0.5,0.5,0.5,,1\n",
        ",".join(records.METRIC_COLUMNS) + "\n39,0.1,0.5,0.5,0.5,,1,7\n",
    ],
)
def test_metrics_that_are_not_as_written_are_refused_by_name(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(RecordError, match=r"metrics\.csv is damaged"):
        records.read_metrics(tmp_path)


def test_a_result_keeps_infinity_and_extra_columns(tmp_path):
    row = synthetic.write_trial(
        tmp_path, synthetic.make_metrics(lambda e: 0.9, epochs=1), dropout=0.5
    )
    read = records.read_result(tmp_path / "trials" / row["trial"])
    assert read == row
    assert read["iterations_to_target"] == math.inf
    assert read["dropout"] == 0.5


def test_a_header_keeps_infinity(tmp_path):
    config = completed({"racing_slack": math.inf, "rates": [0.1, math.inf]})
    header = {"config": config, "digest": "00"}
    records.write_study_header(tmp_path, header)
    found = records.read_study_header(tmp_path)
    assert found == header
    assert found["config"]["rates"] == [0.1, math.inf]
    assert "Infinity" not in (tmp_path / "study.json").read_text()  # JSON has no such number


def test_a_trial_without_a_result_is_not_finished(tmp_path):
    records.write_metrics(tmp_path, [metric_row(39)])
    assert records.read_result(tmp_path) is None


def test_results_csv_has_the_columns_of_the_contract_and_inf(study_dir):
    header, *lines = (study_dir / "results.csv").read_text().splitlines()
    assert header.split(",") == [*records.RESULT_COLUMNS, "compile_seconds"]
    assert [line.split(",")[0].split("cuda_convnet-")[1] for line in lines] == [
        "relu-lr0.001-s100", "relu-lr0.001-s101", "tanh-lr0.001-s100",
    ]  # fmt: skip
    assert lines[0].split(",")[8:12] == ["censored", "inf", "inf", "inf"]


def test_results_csv_does_not_tell_who_finished_first(study_dir):
    before = (study_dir / "results.csv").read_bytes()
    records.write_results(study_dir, [t.row for t in records.read_finished(study_dir)][::-1])
    assert (study_dir / "results.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "metrics.csv"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_file_of_a_finished_trial_is_refused_by_name(study_dir, name, damage):
    path = study_dir / "trials" / "conv3-cuda_convnet-relu-lr0.001-s101" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "flip":
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordError, match=f"s101/{name} is .*restore it from a copy, or remove"):
        records.read_study(study_dir)


@pytest.mark.parametrize(
    "name", ["study.json", "trials/conv3-cuda_convnet-relu-lr0.001-s100/result.json"]
)
def test_every_flipped_bit_of_sealed_json_is_refused_or_changes_nothing(study_dir, name):
    path = study_dir / name
    content, sound = path.read_bytes(), records.read_study(study_dir)
    refused = 0
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            read = records.read_study(study_dir)
        except RecordError as error:
            refused += 1
            assert path.name in str(error)
            assert "\n" not in str(error)
        else:  # white space
            assert read.header == sound.header
            assert [t.row for t in read.trials] == [t.row for t in sound.trials]
    assert refused > len(content) / 7 / 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "stale"])
def test_a_damaged_results_csv_is_rebuilt_from_the_trials(study_dir, damage):
    path = study_dir / "results.csv"
    sound = path.read_bytes()
    path.unlink()
    if damage == "flip":
        path.write_bytes(sound.replace(b"0.001", b"0.101", 1))
    if damage == "cut":
        path.write_bytes(sound[: len(sound) // 2])
    if damage == "stale":  # killed between result.json and results.csv
        path.write_bytes(b"".join(sound.splitlines(keepends=True)[:-1]))
    assert len(records.read_study(study_dir).trials) == 3
    assert path.read_bytes() == sound


def test_a_study_that_lost_a_result_is_not_read_as_shorter(study_dir):
    (study_dir / "trials" / "conv3-cuda_convnet-tanh-lr0.001-s100" / "result.json").unlink()
    with pytest.raises(RecordError, match=r"results\.csv lists 3 trials, but only 2"):
        records.read_study(study_dir)
    assert len(records.read_finished(study_dir)) == 2  # a study that goes on repeats it
    (study_dir / "results.csv").unlink()
    assert len(records.read_study(study_dir).trials) == 2


def test_a_trial_begun_is_named_and_not_counted(study_dir):
    records.write_config(study_dir / "trials" / "conv3-modern-relu-lr0.01-s0", {})
    study = records.read_study(study_dir)
    assert study.unfinished == ("conv3-modern-relu-lr0.01-s0",)
    assert len(study.trials) == 3


def test_a_result_in_the_folder_of_another_trial_is_refused(study_dir):
    trials = study_dir / "trials"
    (trials / "conv3-cuda_convnet-tanh-lr0.001-s100").rename(trials / "other")
    with pytest.raises(RecordError, match=r"is of trial conv3-cuda_convnet-tanh-lr0\.001-s100"):
        records.read_study(study_dir)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"holds no study\.json"):
        records.read_study(tmp_path)


def test_a_result_needs_every_column(tmp_path):
    records.write_config(tmp_path, {})
    records.write_metrics(tmp_path, [])
    with pytest.raises(KeyError, match="dataset"):
        records.write_result(tmp_path, {"trial": tmp_path.name})


def test_a_failed_write_leaves_the_old_file_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "results.csv"
    records.write_atomic(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"cannot write .*results\.csv: No space left on device"):
        records.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.csv"]
