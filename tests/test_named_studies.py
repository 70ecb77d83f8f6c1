"""Several studies in one config file: which are chosen, what each changes, who wins."""

import re
from pathlib import Path

import pytest

from src import data, doors, laboratory, main
from src.config import flags
from src.config.config import Config
from src.config.studies import named_trees
from src.errors import LabError
from src.fields import ConfigError
from src.records.files import RecordError
from src.study import question
from tests import tiny

pytestmark = [
    pytest.mark.usefixtures("in_process"),
    pytest.mark.filterwarnings("ignore:the load_module"),  # of ml_collections
]
FACTS = {"dataset": "cifar10", "digest": "d", "image_shape": (8, 8, 3), "num_classes": 10}
FACTS |= {"device": "1 x cpu", "jax_version": "0", "commit": "abc"}
ABLATIONS = Path(__file__).parent.parent / "configs" / "ablations.py"


def make_config(study: str, **studies: dict) -> dict:
    return tiny.make_tree(weight_decay=0.1, max_epochs=3) | {"study": study, "studies": studies}


STUDIES = {
    "decay": {"sweep": {"weight_decay": (0.0, 0.5)}, "max_epochs": 5.0},
    "depth": {"model": {"name": "alexnet_cifar", "without": "conv3"}},
}


def test_a_config_without_studies_is_one_whose_name_is_empty():
    config = tiny.make_tree()
    assert list(named_trees(config, {("max_epochs",): 9.0})) == [("", config)]


def test_a_study_changes_what_it_names_and_keeps_the_rest():
    ((name, config),) = named_trees(make_config("decay", **STUDIES), {})
    expected = tiny.make_tree(weight_decay=0.1, max_epochs=5, **{"sweep__weight_decay": (0.0, 0.5)})
    assert (name, config) == ("decay", expected)


def test_all_are_in_the_order_of_the_file():
    assert [name for name, _ in named_trees(make_config("all", **STUDIES), {})] == list(STUDIES)


def test_another_model_starts_without_the_options_of_the_files():
    config = make_config("depth", **STUDIES)
    config["model"] |= {"activation": "tanh", "hidden": 64}
    ((_, study),) = named_trees(config, {})
    assert study["model"] == {"activation": "tanh", "name": "alexnet_cifar", "without": "conv3"}


def test_a_file_may_leave_its_network_to_its_studies():
    config = make_config("depth", **STUDIES)
    del config["model"]
    ((_, study),) = named_trees(config, {})
    assert study["model"] == STUDIES["depth"]["model"]
    config["model"] = {"activation": "tanh", "hidden": 64}  # of conv3, which it does not name
    ((_, study),) = named_trees(config, {})
    assert study["model"] == STUDIES["depth"]["model"] | {"activation": "tanh"}


@pytest.mark.parametrize("chosen", STUDIES)
def test_a_network_that_is_no_group_is_refused_in_one_line(chosen):
    ((_, study),) = named_trees(make_config(chosen, **STUDIES) | {"model": "conv3"}, {})
    if chosen == "decay":
        with pytest.raises(ConfigError, match=r"config.model = 'conv3' should be a group of fie"):
            Config.read(study)
    else:  # It has a network of its own.
        assert study["model"] == STUDIES["depth"]["model"]


def test_the_command_line_wins_over_a_study():
    overrides = {
        ("max_epochs",): 7.0,
        ("model", "width"): 2.0,
        ("study",): "all",
        ("studies", "decay", "x"): 1,
    }
    _, (_, depth) = named_trees(make_config("all", **STUDIES), overrides)
    assert depth["max_epochs"] == 7.0
    assert depth["model"]["width"] == 2.0
    assert not {"study", "studies"} & depth.keys()


@pytest.mark.parametrize(
    ("study", "studies", "message"),
    [
        ("decoy", STUDIES, "config.study = 'decoy' is not one of decay, depth, all; did you mean"),
        ("decay", {}, "config.studies = {} should be a group of studies"),
        ("decay", {"decay": 3}, "config.studies.decay = 3 should be a group of fields"),
        ("all", {"all": {}}, "config.studies.all: 'all' asks for every study; name it otherwise"),
        *(
            ("all", {name: {}}, f"a study {name!r}; the name of a folder is needed: letters, dig")
            for name in ("/tmp/a", "", "a/b", "a\nb", "..", "a" * 151)
        ),
    ],
)
def test_what_is_refused(study, studies, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        list(named_trees(make_config(study, **studies), {}))


def dry_run(*flags: str) -> int:
    return doors.run(main.main, [f"--config={ABLATIONS}", "--dry_run", *flags])


@pytest.mark.slow
def test_the_command_line_lists_each_study_in_its_own_folder(tmp_path, capsys):
    assert not dry_run(f"--workdir={tmp_path}", "--config.max_epochs=2", "--config.study=all")
    found = capsys.readouterr().out
    assert f"\n{tmp_path / 'pooling'}:\n" in found
    assert "20 trials: at most 40 epochs to train" in found  # 2 arms: 5 rates, 5 seeds
    assert not list(tmp_path.iterdir())


def test_a_misspelt_study_is_refused_in_one_line(capsys):
    assert dry_run("--config.study=poling") == doors.REFUSED
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: config.study = 'poling' .*; did you mean 'pooling'\?\n", said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["studies.poling.max_epochs=1"], "no study of that name; did you mean 'pooling'?"),
        (["studies.nonesuch={}"], "no study of that name; there are activations, lrn, "),
        (
            ["study=lrn", "studies.pooling.max_epochs=1"],
            "config.study = 'lrn' asks for another study; ask for this one",
        ),
    ],
)
def test_a_field_of_a_study_that_is_not_run_is_refused(capsys, fields, said):
    assert dry_run(*(f"--config.{field}" for field in fields)) == doors.REFUSED
    error, *more = capsys.readouterr().err.splitlines()
    name = fields[-1].partition("=")[0]
    assert error.startswith(f"error: config.{name}: ") and said in error
    assert not more


# --- Several studies of a file: all are looked at before the first trial of one. ---


STACKS = {
    "pretraining__method": "conv_rbm", "pretraining__held_out": 16, "pretraining__batch_size": 16,
}  # fmt: skip


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: tiny.make_dataset())


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"augment__crop": 100}, ConfigError, "config.augment.crop = 100 should be at most 8"),
        ({"batch_size": 12}, ConfigError, "config.batch_size = 12 cannot be split evenly over 8"),
        (
            STACKS | {"stacks_dir": "{file}"}, RecordError,
            "afile is not a folder; give another config.stacks_dir",
        ),
        (
            STACKS | {"stacks_dir": "s3://bucket/stacks"}, LabError,
            "config.stacks_dir",
        ),
        ({"start_from__path": "{file}"}, LabError, "afile"),
        ({}, RecordError, "is not a folder; choose another --workdir"),
    ],
)  # fmt: skip
def test_what_a_later_study_cannot_have_is_refused_first(tmp_path, images, changes, error, said):
    (tmp_path / "afile").write_text("")
    changes = {
        name: value.format(file=tmp_path / "afile") if isinstance(value, str) else value
        for name, value in changes.items()
    }
    sound, wrong = tiny.make_config(batch_size=16), tiny.make_config(**changes)
    folder = tmp_path / ("b" if changes else "afile/b")
    with pytest.raises(error, match=re.escape(said)):
        laboratory._check_all([(sound, tmp_path / "a"), (wrong, folder)])
    laboratory._check_all([(sound, tmp_path / "a")])
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]


def test_the_folder_of_a_later_study_is_looked_at_first(tmp_path, images):
    sound = tiny.make_config()
    for folder, name in (("foreign", "report.md"), ("other", "study.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("mine")
    question.open_study(tiny.make_config(weight_decay=0.1), tmp_path / "another", FACTS)
    for folder, said in (
        ("foreign", "report.md is of no study"),
        ("other", "study.json"),
        ("another", "holds another study: .*weight_decay was 0.1, is 0.0"),
    ):
        with pytest.raises(LabError, match=said):
            laboratory._check_all([(sound, tmp_path / "a"), (sound, tmp_path / folder)])


def test_arms_of_a_new_study_are_compared_though_another_was_begun(tmp_path):
    """The second sweeps what a constant schedule does not use."""
    text = f"--config={ABLATIONS}", f"--workdir={tmp_path}", "--dry_run"
    request = flags.parse(list(text))
    begun = tiny.make_config(max_epochs=3.0)
    alike = tiny.make_tree(sweep={"schedule": {"factor": (0.1, 0.5)}})
    alike |= {"compare": {"field": "factor", "baseline": 0.1}}
    question.open_study(begun, tmp_path / "a", FACTS)
    trees = [(dict(begun.tree), tmp_path / "a"), (alike, tmp_path / "b")]
    assert laboratory._is_begun(begun, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"schedule\.factor = 0\.5 is not used"):
        laboratory._checked(request, trees)
    laboratory._checked(request, trees[:1])
    # Once it was begun so, by code that did not refuse it, it goes on beside a new one.
    question.open_study(Config.read(alike), tmp_path / "b", FACTS)
    laboratory._checked(request, [*trees, (tiny.make_tree(), tmp_path / "c")])


def test_what_a_begun_study_uses_is_used(tmp_path):
    """The rate drops in the first study alone; the second has the same field."""
    request = flags.parse([f"--config={ABLATIONS}", f"--workdir={tmp_path}", "--dry_run"])
    steps = tiny.make_config(schedule__name="steps", schedule__boundaries=(2.0,))
    question.open_study(steps, tmp_path / "a", FACTS)
    trees = [
        (dict(steps.tree), tmp_path / "a"),
        (tiny.make_tree(schedule__boundaries=(2.0,)), tmp_path / "b"),
    ]
    laboratory._checked(request, trees)
    with pytest.raises(ConfigError, match=r"schedule\.boundaries = \(2\.0,\) is not used"):
        laboratory._checked(request, trees[1:])


def test_weights_that_an_earlier_study_makes_need_not_be_there_yet(tmp_path, images):
    first = tmp_path / "first"
    path = str(first / "trials" / "conv3-modern-relu-lr0.01-s100")
    second = tiny.make_config(start_from__path=path)
    laboratory._check_all([(tiny.make_config(), first), (second, tmp_path / "second")])
    (tmp_path / "link").symlink_to(tmp_path)
    around = tmp_path / "there" / ".."
    for folder in (tmp_path / "link", around):
        laboratory._check_all([(tiny.make_config(), folder / "first"), (second, folder / "second")])
    with pytest.raises(LabError, match="no such folder or file"):
        laboratory._check_all([(second, tmp_path / "second"), (tiny.make_config(), first)])


@pytest.mark.parametrize("inside", ["trials", "trials/conv3-modern-relu-lr0.01-s100"])
def test_a_folder_of_a_study_is_none_for_another(tmp_path, images, inside):
    (tmp_path / "study" / inside).mkdir(parents=True)
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(LabError, match=r"lies in the study .*/study; choose another --workdir"):
        laboratory._check_all([(tiny.make_config(), tmp_path / "study" / inside)])


TWO = """
from ml_collections import ConfigDict

from configs import base


def get_config():
    config = base.get_config()
    config.batch_size = 16
    config.study = "all"
    config.studies = ConfigDict({"sound": {}, "wrong": {"augment": {"crop": 100}}})
    return config
"""


def test_the_command_runs_no_study_where_a_later_one_is_wrong(
    tmp_path, images, monkeypatch, capsys
):
    (tmp_path / "two.py").write_text(TWO)
    ran: list[Path] = []
    monkeypatch.setattr(laboratory, "_run", lambda config, workdir, ready: ran.append(workdir))
    asked = [f"--config={tmp_path / 'two.py'}", f"--workdir={tmp_path / 'runs'}"]
    assert doors.run(main.main, asked) == doors.REFUSED
    assert "config.augment.crop = 100 should be at most 8" in capsys.readouterr().err
    assert not ran
    assert doors.run(main.main, [*asked, "--config.augment.crop=0"]) == 0
    assert [path.name for path in ran] == ["sound", "wrong"]
