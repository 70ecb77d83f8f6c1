"""The command that reports: which files it writes, and what it refuses."""

import re

import pytest

from src import data, laboratory
from src.analysis.effects import analyse
from src.analysis.study import load_study
from src.errors import LabError
from src.reports import compose as report
from src.study import runner
from tests import synthetic, tiny
from tests.reported import write_pair


def test_a_folder_of_an_index_that_is_none_is_refused_before_any_report(study_dir, tmp_path):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(LabError, match=re.escape(f"--index {nowhere} is not a folder")):
        report.main(["--index", str(nowhere), str(study_dir)])
    assert not nowhere.exists()
    assert not (study_dir / "report.md").exists()


@pytest.mark.slow
def test_the_command_redraws_the_same_bytes_from_records(tmp_path, capsys):
    (tmp_path / "reference").mkdir()
    study_dir = tmp_path / "study"
    write_pair(study_dir, [10, 11], [20, 21])
    written = []
    for _ in range(2):
        assert report.main([str(tmp_path / "reference"), str(study_dir)]) == 0
        files = [path for path in sorted(study_dir.iterdir()) if path.is_file()]
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    assert [path.name for path in files] == [
        "effects.png", "effects.svg", "ratios.png", "ratios.svg", "report.html", "report.md",
        "results.csv", "study.json",
        "training_error.png", "training_error.svg",
    ]  # fmt: skip
    for name in ("training_error", "ratios"):
        assert f"]({name}.png)" in (study_dir / "report.md").read_text()
    assert "tanh needs" in capsys.readouterr().out


def test_readmes_with_a_place_for_the_answer_are_given_it(tmp_path):
    study_dir = tmp_path / "experiments" / "relu_vs_tanh"
    synthetic.write_study(study_dir)
    marks = "<!-- answer: experiments/relu_vs_tanh -->{}<!-- /answer: experiments/relu_vs_tanh -->"
    for folder in (study_dir, tmp_path):
        (folder / "README.md").write_text(f"# Title\n{marks.format('')}\nafter\n")
    analysis = analyse(load_study(study_dir))
    report.fill_readmes(study_dir, analysis)
    answer = "\n".join(f"- {line}" for line in report.summary(analysis).splitlines())
    for folder in (study_dir, tmp_path):
        text = (folder / "README.md").read_text().replace("**", "")
        assert text == f"# Title\n{marks.format(chr(10) + answer + chr(10))}\nafter\n"


@pytest.mark.parametrize("name", ["report.md", "report.html", "ratios.png", "training_error.svg"])
def test_a_study_takes_no_file_of_the_users_place(tmp_path, name):
    report.refuse_foreign(tmp_path)
    (tmp_path / "thesis.md").write_text("mine")
    report.refuse_foreign(tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(LabError, match=f"{name} is of no study"):
        report.refuse_foreign(tmp_path)


@pytest.mark.usefixtures("in_process")
def test_a_study_is_refused_in_such_a_folder_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **options: tiny.make_dataset())
    monkeypatch.setattr(runner, "run_study", lambda *_: pytest.fail("it was run"))
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(LabError, match=r"report\.md is of no study"):
        laboratory._run(tiny.make_config(data__name="tiny", workers=1), tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_the_command_refuses_damaged_records_by_name(tmp_path, capsys):
    write_pair(tmp_path, [10], [20])
    path = tmp_path / "trials" / "conv3-modern-relu-lr0.02-s200" / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-40])
    assert report.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"error: {path} is not as it was written" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize(("given", "name"), [(["s", "--index", ""], "--index"), (["s", ""], "DIR")])
def test_an_empty_path_is_refused_by_the_name_of_its_flag(given, name):
    with pytest.raises(LabError, match=f"^{name} = '' is empty; give a folder or leave it out"):
        report.main(given)


def test_the_command_refuses_what_is_not_there(tmp_path, capsys):
    assert report.main([str(tmp_path / "nowhere")]) == 2
    assert "holds no study.json" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        report.main([])
