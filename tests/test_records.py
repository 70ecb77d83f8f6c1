import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from src.records import files
from src.records import study as studies
from src.records import trial as records
from src.records.files import RecordError
from tests import synthetic, tiny


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    synthetic.write_header(tmp_path)
    for activation, seed in [("relu", 100), ("relu", 101), ("tanh", 100)]:
        rows = synthetic.make_metrics(lambda e: 0.3 + 0.5 / (1 + e), epochs=4)
        synthetic.write_trial(tmp_path, rows, activation=activation, seed=seed)
    studies.write_results(tmp_path, [trial.row for trial in studies.read_finished(tmp_path)])
    return tmp_path


def of(study_dir: Path, name: str) -> records.Identity:
    return studies.identity_of(studies.read_study_header(study_dir), name, study_dir / name)


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
    read = records.read_result(tmp_path / "trials" / row["trial"], of(tmp_path, row["trial"]))
    assert read == row
    assert read["iterations_to_target"] == math.inf
    assert read["dropout"] == 0.5


def test_a_header_keeps_infinity(tmp_path):
    config = {"racing_slack": math.inf, "rates": [0.1, math.inf]}
    header = studies.new_header(config, {}, {"dataset": "tiny", "digest": "00"})
    studies.write_study_header(tmp_path, header)
    found = studies.read_study_header(tmp_path)
    assert found == header
    assert found["config"]["rates"] == [0.1, math.inf]
    assert "Infinity" not in (tmp_path / "study.json").read_text()  # JSON has no such number


def test_a_text_that_spells_infinity_stays_a_text(tmp_path):
    config = {
        "norm": ["l2", "inf", math.inf],
        "text": "-inf",
        "marked": "\\\\nan",
        "other": "infinite",
    }
    files.write_sealed(tmp_path / "a.json", config)
    assert files.read_sealed(tmp_path / "a.json", "") == config


def test_infinity_is_written_as_it_was_before_texts_were_told_from_it(tmp_path):
    files.write_sealed(tmp_path / "a.json", {"slack": math.inf})
    assert json.loads((tmp_path / "a.json").read_text())["slack"] == "inf"


def test_a_trial_without_a_result_is_not_finished(tmp_path):
    records.write_metrics(tmp_path, [metric_row(39)])
    assert records.read_result(tmp_path, tiny.identity("a")) is None


def test_results_csv_has_the_columns_of_the_contract_and_inf(study_dir):
    header, *lines = (study_dir / "results.csv").read_text().splitlines()
    assert header.split(",") == [*records.RESULT_COLUMNS, "compile_seconds"]
    assert [line.split(",")[0].split("cuda_convnet-")[1] for line in lines] == [
        "relu-lr0.001-s100", "relu-lr0.001-s101", "tanh-lr0.001-s100",
    ]  # fmt: skip
    assert lines[0].split(",")[8:12] == ["censored", "inf", "inf", "inf"]


def test_results_csv_does_not_tell_who_finished_first(study_dir):
    before = (study_dir / "results.csv").read_bytes()
    studies.write_results(study_dir, [t.row for t in studies.read_finished(study_dir)][::-1])
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
    with pytest.raises(RecordError, match=f"s101/{name} is .*restore it from a copy, or move"):
        studies.read_study(study_dir)


@pytest.mark.parametrize(
    "name", ["study.json", "trials/conv3-cuda_convnet-relu-lr0.001-s100/result.json"]
)
def test_every_flipped_bit_of_sealed_json_is_refused_or_changes_nothing(study_dir, name):
    path = study_dir / name
    content, sound = path.read_bytes(), studies.read_study(study_dir)
    refused = 0
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            read = studies.read_study(study_dir)
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
    study = studies.read_study(study_dir)
    assert len(study.trials) == 3
    assert not path.exists() or path.read_bytes() != sound  # reading writes nothing
    studies.reconcile_results(study_dir, study.trials)
    assert path.read_bytes() == sound


def test_a_study_that_lost_a_result_is_not_read_as_shorter(study_dir):
    (study_dir / "trials" / "conv3-cuda_convnet-tanh-lr0.001-s100" / "result.json").unlink()
    with pytest.raises(RecordError, match=r"results\.csv lists 3 trials, but only 2"):
        studies.read_study(study_dir)
    assert len(studies.read_finished(study_dir)) == 2  # a study that goes on repeats it
    (study_dir / "results.csv").unlink()
    assert len(studies.read_study(study_dir).trials) == 2


def test_a_trial_begun_is_named_and_not_counted(study_dir):
    records.write_config(study_dir / "trials" / "conv3-cuda_convnet-relu-lr0.001-s102", {})
    study = studies.read_study(study_dir)
    assert study.unfinished == ("conv3-cuda_convnet-relu-lr0.001-s102",)
    assert len(study.trials) == 3


# --- Whose record is it? ---


TRIAL = "conv3-cuda_convnet-tanh-lr0.001-s100"


@pytest.fixture
def other_dir(tmp_path: Path) -> Path:
    """Another study: of the same arms, rates, seeds and data."""
    folder = tmp_path / "other"
    rows = synthetic.make_metrics(lambda e: 0.9, epochs=4)
    synthetic.write_trial(folder, rows, activation="tanh", seed=100)
    return folder


def refused(study_dir: Path, words: str) -> None:
    with pytest.raises(RecordError, match=words) as caught:
        studies.read_study(study_dir)
    assert "\n" not in str(caught.value)
    assert not re.search("remove|delete", str(caught.value))  # no remedy destroys


def test_a_trial_in_the_folder_of_another_is_refused(study_dir):
    trials = study_dir / "trials"
    shutil.rmtree(trials / TRIAL.replace("s100", "s101"), ignore_errors=True)
    (trials / TRIAL).rename(trials / TRIAL.replace("s100", "s102"))
    refused(study_dir, f"is of another trial: trial {TRIAL}, not")


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("other-cuda_convnet-tanh-lr0.001-s100", "no arm other-cuda_convnet-tanh"),
        (TRIAL.replace("lr0.001", "lr0.003"), "no learning rate 0.003"),
        (TRIAL.replace("s100", "s9"), "no seed 9"),
        ("trial", "is not the name of a trial"),
    ],
)
def test_a_trial_that_the_study_never_asked_for_is_refused(study_dir, name, lacking):
    shutil.copytree(study_dir / "trials" / TRIAL, study_dir / "trials" / name)
    refused(study_dir, lacking)


def test_a_trial_of_another_study_is_refused_though_it_is_named_the_same(study_dir, other_dir):
    shutil.rmtree(study_dir / "trials" / TRIAL)
    shutil.copytree(other_dir / "trials" / TRIAL, study_dir / "trials" / TRIAL)
    refused(study_dir, "result.json is of another trial: study")


@pytest.mark.parametrize("change", [{"digest": "1" * 64}, {"dataset": "procedural"}])
def test_a_trial_of_other_data_is_refused(study_dir, change):
    header = studies.read_study_header(study_dir)
    studies.write_study_header(study_dir, {**header, **change})
    refused(study_dir, "data 000000000000, not 111111111111|dataset is 'cifar10-jpeg'")


def test_a_trial_of_other_settings_is_refused(study_dir):
    header = studies.read_study_header(study_dir)
    header["arms"]["conv3-cuda_convnet-tanh"]["settings"] = "0" * 64
    studies.write_study_header(study_dir, header)
    refused(study_dir, f"{TRIAL}/result.json is of another trial: settings")


def test_a_selection_trial_does_not_pass_for_a_fresh_one(study_dir):
    rows = synthetic.make_metrics(lambda e: 0.9, epochs=4)
    synthetic.write_trial(study_dir, rows, seed=0, purpose="fresh")
    header = studies.read_study_header(study_dir)
    header["config"]["fresh_seeds"].remove(0)
    header["config"]["selection_seeds"] = [0]
    studies.write_study_header(study_dir, header)
    refused(study_dir, "purpose is 'fresh', which is none of this study's")


@pytest.mark.parametrize("how", ["remove", "link"])
@pytest.mark.parametrize("left", ["trials", "results.csv"])
def test_records_without_the_study_that_they_are_of_are_refused(study_dir, how, left):
    (study_dir / "study.json").unlink()
    if how == "link":
        (study_dir / "study.json").symlink_to("nowhere")
    if left == "results.csv":
        shutil.rmtree(study_dir / "trials")
    with pytest.raises(RecordError, match=r"no study\.json that says whose|leads nowhere"):
        studies.holds_study(study_dir)
    refused(study_dir, r"study\.json")


def test_the_settings_of_a_trial_are_those_of_its_study_or_refused(study_dir):
    trial_dir = study_dir / "trials" / TRIAL
    whose = of(study_dir, TRIAL)
    assert records.read_config(trial_dir, whose) == {"recipe": "cuda_convnet"}
    path = trial_dir / "config.json"
    path.write_text(path.read_text().replace("cuda", "kuda"))
    with pytest.raises(RecordError, match=r"config\.json is not what this trial of the study does"):
        records.read_config(trial_dir, whose)


def test_lines_that_git_has_changed_are_said_so(study_dir):
    path = study_dir / "trials" / TRIAL / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    refused(study_dir, r"metrics\.csv is not as it was written \(its lines end in CRLF")


def test_a_study_of_an_earlier_version_is_refused_with_its_commit(study_dir):
    header = studies.read_study_header(study_dir)
    studies.write_study_header(study_dir, {k: v for k, v in header.items() if k != "arms"})
    refused(study_dir, "it has no arms; read it with the code of commit 0123456789")


def test_copies_that_a_synchronized_folder_makes_are_left_or_refused_by_name(study_dir):
    """As Dropbox and OneDrive leave them where two machines have written."""
    copy = " (Ann's conflicted copy 2026-01-31)"
    files = [study_dir / name for name in ("study.json", "results.csv")]
    first = sorted((study_dir / "trials").iterdir())[0]
    for path in [*files, *(first / name for name in ("result.json", "metrics.csv", "config.json"))]:
        path.with_name(f"{path.stem}{copy}{path.suffix}").write_bytes(path.read_bytes())
    assert len(studies.read_study(study_dir).trials) == 3
    shutil.copytree(first, first.with_name(first.name + copy))
    refused(study_dir, r"conflicted copy 2026-01-31\) is none of this study's trials")


def test_what_others_put_beside_the_trials_is_left_alone(study_dir):
    for name in (".ipynb_checkpoints", "@eaDir", "notes"):
        (study_dir / "trials" / name).mkdir()
    (study_dir / "trials" / ".DS_Store").write_text("")
    assert len(studies.read_study(study_dir).trials) == 3


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("conv3-modern-relu-lr0.01-s100", ("conv3-modern-relu", "0.01", 100)),
        ("a-lr0.1-s2-lr1e-05-s3", ("a-lr0.1-s2", "1e-05", 3)),
    ],
)
def test_a_name_says_what_it_was_made_of(name, parts):
    assert records.parse_trial_name(name) == parts
    assert records.make_trial_name(parts[0], float(parts[1]), parts[2]) == name


# --- Columns. ---


def test_further_columns_of_metrics_follow_the_fixed_ones(tmp_path):
    """A column is refused or kept, never dropped."""
    rows = [metric_row(1, rate_factor=0.1), metric_row(2, test_top5_error=0.25)]
    records.write_metrics(tmp_path, rows)
    found = records.read_metrics(tmp_path)
    assert tuple(found) == (*records.METRIC_COLUMNS, "rate_factor", "test_top5_error")
    np.testing.assert_array_equal(found["rate_factor"], [0.1, math.nan])
    np.testing.assert_array_equal(found["test_top5_error"], [math.nan, 0.25])
    with pytest.raises(RecordError, match=r"note of a point is 'x': metrics\.csv holds"):
        records.write_metrics(tmp_path, [metric_row(1, note="x")])


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"holds no study\.json"):
        studies.read_study(tmp_path)


def test_a_trial_is_found_wherever_a_path_to_it_begins(tmp_path, monkeypatch):
    trial = tmp_path / "study" / "trials" / "one"
    other = trial.with_name("other")
    for folder in (trial, other):
        folder.mkdir(parents=True)
    (tmp_path / "study" / "study.json").touch()
    (tmp_path / "best").symlink_to(trial)
    monkeypatch.chdir(other)
    for path in (trial, Path("../one"), Path("../../../best"), tmp_path / "best"):
        assert studies.find_trial(path) == trial
    monkeypatch.chdir(trial)
    assert studies.find_trial(Path()) == trial
    monkeypatch.chdir(other)
    trial.rename(tmp_path / "disk")
    trial.symlink_to(tmp_path / "disk")  # To a larger disk, from its study.
    for path in (trial, Path("../one")):
        assert studies.find_trial(path) == trial
    assert studies.find_trial(tmp_path / "none") == tmp_path / "none"


def test_a_result_needs_every_column(tmp_path):
    records.write_config(tmp_path, {})
    records.write_metrics(tmp_path, [])
    with pytest.raises(KeyError, match="dataset"):
        records.write_result(tmp_path, tiny.identity("a"), {"trial": tmp_path.name})
