"""Several studies in one config file: which are chosen, what each changes, who wins."""

import re
from pathlib import Path

import pytest

from src import doors, main
from src.config.config import Config
from src.config.studies import named_trees
from src.fields import ConfigError
from tests import tiny

pytestmark = [
    pytest.mark.usefixtures("in_process"),
    pytest.mark.filterwarnings("ignore:the load_module"),  # of ml_collections
]
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
