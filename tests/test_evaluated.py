"""Averages beside each network, ten views beside one: pairs, records, rows of the claims."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import flax.linen as nn
import numpy as np
import pytest
from scipy import stats

from src import doors
from src.analysis.shares import Paired, paired, share
from src.data import DataError
from src.errors import LabError
from src.records import files
from src.records.files import RecordError
from src.reports import evaluated
from src.trained import evaluation, evaluation_folder, evaluation_report, several, testing
from src.trained.candidates import Candidate
from tests import tiny


def answers(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether either gets images wrong, from how many there are of each kind."""
    kinds = np.repeat([0, 1, 2, 3], [both, first, second, neither])
    return np.isin(kinds, (0, 1)), np.isin(kinds, (0, 2))


@pytest.mark.parametrize("counts", [(30, 5, 12, 53), (0, 0, 0, 9), (3, 4, 4, 0), (0, 7, 0, 3)])
def test_the_difference_and_mcnemars_test(counts):
    _, first, second, _ = counts
    found = paired(*answers(*counts))
    assert (found.only_first, found.only_second) == (first, second)
    assert found.value == pytest.approx((second - first) / sum(counts))
    exact = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p == pytest.approx(exact)
    assert found.low <= found.value <= found.high
    back = paired(*answers(*counts)[::-1])
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_the_interval_is_newcombes():
    """Bentur et al. (2009): 1, 1, 7 and 12 patients; in Fagerland, Lydersen & Laake (2014),
    "Recommended tests and confidence intervals for paired binomial proportions", -0.507 to -0.026
    for the first less the second.
    """
    found = paired(*answers(1, 1, 7, 12))
    assert (found.low, found.high) == pytest.approx((0.026, 0.507), abs=0.0006)


def test_without_correlation_the_interval_joins_both_shares():
    """Wilson's two half-intervals as the sides of a right angle: 24 of 60 wrong, and 30 of 60."""
    found, one, two = paired(*answers(12, 12, 18, 18)), share(24, 60), share(30, 60)
    below = np.hypot(two.value - two.low, one.high - one.value)
    assert found.low == pytest.approx(found.value - below)


def test_it_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    chances, held = (0.25, 0.06, 0.12, 0.57), 0
    for counts in rng.multinomial(400, chances, size=1000):
        found = paired(*answers(*counts))
        held += found.low <= 0.06 <= found.high
    assert 0.93 <= held / 1000 <= 0.98  # 95%, deviation 0.7%


# --- Of networks. ---


def candidate(name: str, wrong: list[int], monkeypatch: pytest.MonkeyPatch) -> Candidate:
    """Ten test images, of which it takes some for the next class, each with a chance of 0.6."""
    dataset = tiny.make_dataset(8, 10)
    scores = np.full((10, 10), 0.4 / 9)
    answer = (dataset.test.labels + np.isin(np.arange(10), wrong)) % 10
    scores[np.arange(10), answer] = 0.6
    facts = {"of": name, "given": "images", "parameters": "1"}
    made = Candidate(
        *(name, nn.Dense(10), scores, np.zeros((1, 1, 1, 3)), np.ones((1, 1, 1, 1)), (8, 8)),
        *(dataset.test, dataset, np.arange(10), facts, "a", f"a/{name}"),
    )
    monkeypatch.setattr(
        testing,
        "probabilities",
        lambda each, views, most: (each.variables[: most or 10], dataset.test.labels[: most or 10]),
    )
    return dataclasses.replace(made, facts=made.facts | {"train_error": 0.34})


@pytest.fixture
def three(monkeypatch) -> list[Candidate]:
    """Each alone gets three or four wrong; two of them only images 0 and 5."""
    wrong = ([0, 1, 5], [0, 2, 5, 9], [3, 4, 7])
    return [candidate(f"net{i}", rows, monkeypatch) for i, rows in enumerate(wrong)]


def test_the_average_is_set_beside_each_network_image_by_image(three):
    tested = testing.measure(three, (1,))
    assert [found.top1.wrong for found in tested.alone[1]] == [3, 4, 3]
    assert tested.together[1].top1.wrong == 2  # two of three are wrong alike
    pairs = [(pair.only_first, pair.only_second) for pair in tested.paired[1]]
    assert pairs == [(1, 0), (2, 0), (3, 2)]
    assert [pair.value for pair in tested.paired[1]] == pytest.approx([-0.1, -0.2, -0.1])
    assert testing.measure(three[:1], (1,)).paired == {}


def test_the_most_views_are_set_beside_the_fewest(three, monkeypatch):
    """In ten views the first network gets image 0 right, and images 3 and 4 wrong."""
    labels = three[0].dataset.test.labels
    ten = three[0].variables.copy()
    ten[[0, 3, 4]] = 0.0
    ten[[0, 3, 4], (labels[[0, 3, 4]] + [0, 1, 1]) % 10] = 1.0
    monkeypatch.setattr(
        testing,
        "probabilities",
        lambda each, number, most: (ten if number == 10 else each.variables, labels),
    )
    tested = testing.measure(three[:1], (1, 10))
    (pair,) = tested.by_views
    assert (pair.only_first, pair.only_second, pair.value) == (1, 2, pytest.approx(0.1))
    record = evaluation.make_record(three[:1], tested)
    text = evaluation_report.compose(record)
    assert "| network | top-1 error | wrong in one view alone | wrong in ten views alone |" in text
    assert re.search(r"\| net0 \| \+10\.0 points \(.*\) \| 1 \| 2 \|", text)
    assert testing.measure(three[:1], (1,)).by_views == []


def test_record_and_report_hold_the_comparison(three):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    text = evaluation_report.compose(record)
    assert "| net1 | one view | -20.0 points (" in text
    assert "| 2 | 0 | p = 0.5 |" in text  # both of two coins on one side
    assert "Training error at the end: 34.0%." in text
    one = evaluation.make_record(three[:1], testing.measure(three[:1], (1,)))
    assert "The average beside each network" not in evaluation_report.compose(one)
    assert evaluation_report.describe(one)[0].startswith("**net0**, 10 images: ")
    assert evaluation_report.describe(one | {"images": 1})[0].startswith("**net0**, 1 image: ")


@pytest.mark.parametrize(
    ("classes", "outputs", "told"), [(6, 6, True), (5, 5, False), (3, 1000, True), (3, 6, True)]
)
def test_one_of_five_outputs_is_always_among_five(three, classes, outputs, told):
    """As many classes of a data set may be tested on a network that knows more."""
    record = evaluation.make_record(three[:1], testing.measure(three[:1], (1,)))
    assert record["outputs"] == 10
    record["outputs"], record["class_names"] = outputs, [*"abcdef"][:classes]
    record["confusion"] = np.zeros((classes, classes + 1), int).tolist()
    text = evaluation_report.compose(record)
    assert (", top-5 " in text) == ("| top-5 error |" in text) == told


@pytest.mark.parametrize("width", [10, 12, 1000])
def test_all_outputs_of_a_network_are_counted(three, monkeypatch, width):
    """The classes of the data set are ten of them, the last of which is the tenth."""
    labels = three[0].dataset.test.labels
    scores = np.full((10, width), 1 / width)
    monkeypatch.setattr(testing, "probabilities", lambda *_: (scores, labels))
    record = evaluation.make_record(three[:1], testing.measure(three[:1], (1,)))
    assert record["outputs"] == width


def test_a_guess_about_a_file_is_in_the_answer(three):
    record = evaluation.make_record(three[:1], testing.measure(three[:1], (1,)))
    record["networks"][0] |= {"of": "net0: AlexNet", "guessed": "the order was guessed"}
    record["networks"][0]["published"] = "42.9% wrong"
    _, published, guessed = evaluation_report.describe(record)
    assert published == "Published for AlexNet: 42.9% wrong."
    assert guessed == "**net0**: the order was guessed."


def test_answers_that_are_no_classes_have_a_column_where_there_are_any(three):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    header = f"| class \\ taken for | {' | '.join('abcdefghij')} |"
    assert f"{header}\n" in evaluation_report.compose(record)
    record["confusion"][0][-1] = 1
    assert f"{header} another |\n" in evaluation_report.compose(record)


@pytest.fixture
def evaluate(three, monkeypatch, tmp_path, in_process) -> Callable[..., int]:
    """The command, for seeds 0, 1 and 2 of one arm; it works in an empty folder."""
    names = [f"conv3-lr0.01-s{seed}" for seed in range(3)]
    known = {
        n: dataclasses.replace(e, name=n, identity=n) for n, e in zip(names, three, strict=True)
    }
    monkeypatch.setattr(evaluation, "of_trial", lambda path, *_: known[path.name])
    monkeypatch.setattr(evaluation, "check_layer", lambda *_: None)
    monkeypatch.setattr(evaluation, "features", lambda *_: (np.zeros((10, 2)), np.zeros(10, int)))
    monkeypatch.chdir(tmp_path)

    def run(seeds: Iterable[int], *flags: str) -> int:
        return doors.run(evaluation.main, [*(names[seed] for seed in seeds), "--views=1", *flags])

    return run


def networks_in(folder: Path) -> list[str]:
    record = files.read_sealed(folder / "evaluation.json", "")
    return [network["name"][-2:] for network in record["networks"]]


def test_each_set_of_networks_has_its_own_folder(evaluate):
    """Trials of one arm differ behind the point of their rate, two sets in their last network."""
    sets = [(0,), (1,), (0, 1), (0, 2), (0, 1)]
    assert [evaluate(seeds) for seeds in sets] == [0] * 5
    found = {path.name: networks_in(path) for path in Path("runs/evaluate").iterdir()}
    assert sorted(found.values()) == [["s0"], ["s0", "s1"], ["s0", "s2"], ["s1"]]
    for name, networks in found.items():
        more = f"+{len(networks) - 1}" if len(networks) > 1 else ""
        assert re.fullmatch(rf"conv3-lr0\.01-{networks[0]}{re.escape(more)}-tiny-\w{{8}}", name)


def test_a_folders_name_is_short_and_of_one_part(three):
    long = dataclasses.replace(three[0], name="名/" * 200)
    folder = evaluation_folder.default_folder([long])
    assert folder.parent == Path("runs/evaluate")
    assert len(folder.name.encode()) < 150
    other = dataclasses.replace(long, identity="of another study")
    assert evaluation_folder.default_folder([other]) != folder


def test_an_evaluation_of_others_is_not_replaced(evaluate, three, capsys):
    out = Path("out")
    assert evaluate((0, 1), "--out=out", "--images=4") == 0
    assert evaluate((1, 0), "--out=out") == 0
    capsys.readouterr()
    for seeds in ((0,), (0, 2), (0, 1, 2)):
        assert evaluate(seeds, "--out=out") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            "error: out holds the evaluation of conv3-lr0.01-s1 and 1 more on tiny, and this one is"
            " of other networks; choose another --out, or remove out"
        )
    assert networks_in(out) == ["s1", "s0"]


def test_other_data_do_not_replace_an_evaluation(three, tmp_path):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    files.write_sealed(tmp_path / "evaluation.json", record)
    evaluation_folder.check_folder(tmp_path, three)
    other = three[0].dataset._replace(digest="other")
    with pytest.raises(RecordError, match="net0 and 2 more on tiny, and this one is of other data"):
        others = [dataclasses.replace(each, dataset=other) for each in three]
        evaluation_folder.check_folder(tmp_path, others)


def test_older_records_know_their_networks_by_name(three, tmp_path):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    for network in record["networks"]:
        del network["identity"]
    files.write_sealed(tmp_path / "evaluation.json", record)
    evaluation_folder.check_folder(tmp_path, three)
    with pytest.raises(RecordError, match="this one is of other networks"):
        evaluation_folder.check_folder(tmp_path, three[:2])


@pytest.mark.parametrize(
    ("first", "quick", "told"),
    [
        ((), ("--images=5",), "10 images"),
        (("--images=5",), ("--images=4",), "5 images"),
        (("--views=1,2",), ("--views=1",), "views 2"),
        (("--features=fc10",), (), "features of fc10 of conv3-lr0.01-s0"),
        (("--features=fc10",), ("--features=conv3",), "features of fc10 of conv3-lr0.01-s0"),
    ],
)
def test_a_quick_look_does_not_replace_what_took_long(evaluate, capsys, first, quick, told):
    assert evaluate((0,), "--out=out", *first) == 0
    kept = {path: path.read_bytes() for path in Path("out").iterdir()}
    capsys.readouterr()
    assert evaluate((0,), "--out=out", *quick) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: out holds an evaluation with {told}, which this one would replace by less; choose"
        " another --out, or remove out"
    )
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == kept
    assert evaluate((0,), "--out=quick", *quick) == 0
    assert evaluate((0,), "--out=out", *first) == 0


@pytest.mark.parametrize("before", [(), ((0,), "--out=out", "--features=fc10")])
@pytest.mark.parametrize("write", range(5))
def test_an_evaluation_that_was_cut_short_goes_on(evaluate, killed_after, capsys, before, write):
    """It writes the sign that it has begun, features, record, report.md and report.html."""
    if before:
        assert evaluate(*before) == 0
    command = ((0,), "--out=out", "--features=fc10")
    with killed_after(write):
        evaluate(*command)
    if write:
        capsys.readouterr()
        assert doors.run(evaluation.main, ["--redraw", "out"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        told = "the command that wrote out has not come to its end; evaluate the networks again"
        assert line == f"error: {told}"
    assert evaluate(*command) == 0
    names = {"evaluation.json", "features.npz", "report.md", "report.html"}
    assert {path.name for path in Path("out").iterdir()} == names
    assert doors.run(evaluation.main, ["--redraw", "out"]) == 0


def test_features_of_a_network_of_the_same_name_are_not_replaced(three, tmp_path):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    record["features"] = {"network": "net0", "identity": three[0].identity, "layer": "fc10"}
    files.write_sealed(tmp_path / "evaluation.json", record)
    ask = (0, (1,), "fc10")
    evaluation_folder.refuse_less(tmp_path, three[0], *ask)
    other = dataclasses.replace(three[0], identity="of another study")
    with pytest.raises(RecordError, match="features of fc10 of net0, which this one would repla"):
        evaluation_folder.refuse_less(tmp_path, other, *ask)
    del record["features"]["identity"]  # as older records have it
    files.write_sealed(tmp_path / "evaluation.json", record)
    evaluation_folder.refuse_less(tmp_path, three[0], *ask)
    with pytest.raises(RecordError, match="features of fc10 of net0"):
        evaluation_folder.refuse_less(tmp_path, three[1], *ask)


# --- Networks that are tested together. ---


def test_a_network_is_not_averaged_with_itself(evaluate, three, capsys):
    assert evaluate((0, 1, 0)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: conv3-lr0.01-s0 is given twice; give each network once"
    assert not Path("runs").exists()
    copy = dataclasses.replace(three[0], name="copy", folder="b")
    with pytest.raises(LabError, match="copy, which is net0, is given twice; give each network"):
        several.told_apart([three[0], copy])


def test_trials_of_one_name_are_told_apart_by_their_studies(three):
    names, folders = ("net", "net", "other"), ("a", "b", "b")
    given = [
        dataclasses.replace(each, name=name, folder=folder)
        for each, name, folder in zip(three, names, folders, strict=True)
    ]
    assert [each.name for each in several.told_apart(given)] == ["a/net", "b/net", "other"]
    assert [each.name for each in several.told_apart(given[1:])] == ["net", "other"]
    given[1] = dataclasses.replace(given[1], folder="a")
    with pytest.raises(LabError, match="2 networks are called a/net; give their folders different"):
        several.told_apart(given)


def test_networks_are_tested_on_the_same_images(three):
    """Equal labels do not say so: cifar10-jpeg has those of cifar10."""
    other = three[1].dataset._replace(name="tiny-jpeg", digest="other")
    given = [three[0], dataclasses.replace(three[1], dataset=other)]
    with pytest.raises(DataError, match="net1 is tested on other images than the first: tiny-j"):
        testing.measure(given, (1,))


def test_every_report_that_can_be_is_written_anew(three, tmp_path, capsys):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    folders = [tmp_path / name for name in ("one", "nowhere", "older", "two")]
    files.write_sealed(folders[0] / "evaluation.json", record)
    files.write_sealed(folders[2] / "evaluation.json", {"dataset": "tiny"})
    files.write_sealed(folders[3] / "evaluation.json", record)
    one, *others = map(str, folders)
    assert evaluation.main(["--redraw", one, "--redraw", *others]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: cannot read {folders[1]}/evaluation.json: No such file")
    assert second.startswith(f"error: {folders[2]}/evaluation.json has no 'networks'")
    written = [(folder / "report.html").exists() for folder in folders]
    assert written == [True, False, False, True]
    assert evaluation.main(["--redraw", str(folders[3])]) == 0


# --- Rows of the claims. ---


def test_a_row_sets_one_against_all(three, tmp_path):
    record = evaluation.make_record(three, testing.measure(three, (1,)))
    path = tmp_path / "ensembles" / "nets" / "evaluation.json"
    files.write_sealed(path, record)
    (row,) = evaluated.averages(tmp_path)
    assert row.claim.study == "ensembles/nets"
    mean = "test error of one network 33.3% (mean of 3, 30.0% to 40.0%), of their average 20.0%"
    assert row.ours.startswith(mean)
    assert "beside the best one -10.0 points (" in row.ours
    assert row.ours.endswith("n = 10 test images, tiny")
    assert row.words == "not decided; of networks trained to 34.0% training error"
    files.write_sealed(path, record | {"paired": {}})
    with pytest.raises(RecordError, match=r"is not of several trials .*evaluate its trials again"):
        evaluated.averages(tmp_path)


def test_a_row_sets_ten_views_against_one(three, tmp_path):
    assert evaluated.ten_views(tmp_path).ours == "-"
    record = evaluation.make_record(three[:1], testing.measure(three[:1], (1, 10)))
    path = tmp_path / "imagenette" / "evaluation" / "evaluation.json"
    files.write_sealed(path, record)
    row = evaluated.ten_views(tmp_path)
    assert row.ours.startswith("test error 30.0%, in ten views 30.0%: +0.0 points (")
    assert row.words == "not decided; of one network"
    assert row.claim.study == "imagenette/evaluation"
    files.write_sealed(path, record | {"by_views": []})
    with pytest.raises(RecordError, match=r"is not of one trial in 1 and 10 views"):
        evaluated.ten_views(tmp_path)


def pair(low: float, high: float, p: float) -> Paired:
    return Paired(0, 0, (low + high) / 2, low, high, p)


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([pair(-0.05, -0.03, 0.001), pair(-0.02, -0.001, 0.04)], "shown"),
        ([pair(-0.05, -0.03, 0.001), pair(-0.02, 0.001, 0.06)], "not decided"),
        ([pair(-0.05, -0.03, 0.001), pair(0.01, 0.02, 0.001)], "not decided"),
        ([pair(0.03, 0.05, 0.001), pair(0.01, 0.02, 0.001)], "contradicted"),
    ],
)
def test_an_average_must_beat_every_one_of_its_networks(pairs, verdict):
    assert evaluated.judge(pairs) == verdict
