"""The published numbers again, from metrics.csv by a few lines of their own.

Reads experiments/ as it is in the repository: what has no records yet is not looked at. The same
lines are tried on a study made of arithmetic, where they must notice a number that is changed.
"""

import csv
import html
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.speed import tables
from src.analysis.effects import analyse
from src.analysis.groups import trained_apart
from src.analysis.measures import get_measure
from src.analysis.study import load_study
from src.config.config import Config
from src.records import files
from src.records import study as records
from src.records.trial import FURTHER_COLUMNS, RESULT_COLUMNS
from src.reports import compose
from src.study import question
from src.trained import evaluation_report
from tests import synthetic

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
ENSEMBLES = sorted(
    path.parent.name for path in (EXPERIMENTS / "ensembles").glob("*/evaluation.json")
)
STUDIES = sorted(path.parent for path in EXPERIMENTS.rglob("study.json"))
TIMES = {"iterations": "train_error", "iterations_frozen": "frozen_error"}
ERRORS = ("test_error", "mean_test_error")
EARLY = EXPERIMENTS / "relu_vs_tanh_early"
WHY = EXPERIMENTS / "why_tanh_is_slow"
README = " ".join((EXPERIMENTS.parent / "README.md").read_text().split())
Arm = tuple[str, str]  # label of its group, value of the compared field


def named(folder: Path) -> str:
    return str(folder.relative_to(EXPERIMENTS))


def header(folder: Path) -> dict:
    return json.loads((folder / "study.json").read_text())


def points(folder: Path, trial: str) -> list[dict[str, float]]:
    with open(folder / "trials" / trial / "metrics.csv", newline="") as file:
        return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader(file)]


def swept(tree: dict) -> list[str]:
    """Columns of results.csv for the fields of a sweep."""
    names = []
    for name, below in tree.items():
        inner = swept(below) if isinstance(below, dict) else [name]
        names += [name if each == "name" else each for each in inner]
    return names


def chosen(folder: Path) -> dict[Arm, float]:
    """The learning rate that the report says was chosen, of each arm that had several."""
    _, _, after = (folder / "report.md").read_text().partition("## Learning rates")
    lines = [line.strip("| ").split(" | ") for line in after.split("\n## ")[0].splitlines()]
    return {
        (row[0], same(row[1])): float(row[2])
        for row in lines[1:]
        if row[2:] and row[2][0].isdigit()
    }


def fresh(folder: Path) -> dict[Arm, list[dict[str, str]]]:
    """The rows of each arm's trials with fresh seeds, at its rate; named as the report names it."""
    config = header(folder)["config"]
    field = config["compare"]["field"]
    others = [*swept(config["sweep"]), *(["variant"] if config["variants"] else [])]
    found: dict[Arm, list[dict[str, str]]] = {}
    with open(folder / "results.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["purpose"] == "fresh"]
    for row in rows:
        label = [row[name] for name in ("model", "recipe") if name != field]
        label += [f"{n} {row[n]}" for n in others if n not in ("model", "recipe", field)]
        found.setdefault((", ".join(label), same(row[field])), []).append(row)
    if header(folder).get("rates_before"):  # Trials at the rates of a narrower grid are left out.
        for arm, rate in chosen(folder).items():
            found[arm] = [row for row in found[arm] if float(row["learning_rate"]) == rate]
    return found


def same(value: str) -> str:
    """One text for a number, however it is written: results.csv has 0 where a report has 0.0."""
    try:
        return str(float(value))
    except ValueError:
        return value


def time_to(rows: list[dict[str, float]], column: str, target: float) -> float:
    """Half a step before the first point at or below the target; infinite where there is none."""
    at = next((i for i, row in enumerate(rows) if row[column] <= target), None)
    if at is None:
        return math.inf
    return (rows[at]["iteration"] + (rows[at - 1]["iteration"] if at else 0.0)) / 2


def number(rows: list[dict[str, float]], config: dict) -> float:
    """What the study compares, of one trial: the logarithm of a time, or an error in percent."""
    measure = config["compare"]["measure"]
    if measure in TIMES:
        column = TIMES[measure] if TIMES[measure] in rows[0] else "train_error"
        return math.log(time_to(rows, column, config["target_train_error"]))
    tested = [(row["epoch"], row["test_error"]) for row in rows if row["test_error"] >= 0]
    start = 0.75 * rows[-1]["epoch"] if measure == "mean_test_error" else tested[-1][0] - 1e-6
    return 100 * float(np.mean([error for epoch, error in tested if epoch > start]))


def told(folder: Path) -> dict[Arm, str]:
    """What the report's first measure says of each arm."""
    table = (folder / "report.md").read_text().split("## Measures")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return {(line[0], same(line[1])): line[3] for line in lines[2:]}


def check_measure(folder: Path) -> int:
    """Holds the means, effects and intervals of a study's measure against its records.

    Returns:
        How many arms were compared. Those with a censored trial take more than a few lines, those
        with a diverged one have no number.
    """
    config, compared = header(folder)["config"], 0
    times = config["compare"]["measure"] in TIMES
    ours = {
        arm: [number(points(folder, row["trial"]), config) for row in rows]
        for arm, rows in fresh(folder).items()
        if all(row["status"] != "diverged" for row in rows)
    }
    report = told(folder)
    assert ours.keys() <= report.keys()
    for (label, value), found in ours.items():
        said = report[label, value]
        if not np.isfinite(found).all():
            assert said.startswith("> ")
            continue
        mean = math.exp(np.mean(found)) if times else np.mean(found)
        assert float(re.match(r"[\d,.]+", said)[0].replace(",", "")) == pytest.approx(
            mean, abs=0.5 if times else 0.051
        ), (label, value)
        baseline = ours.get((label, same(str(config["compare"]["baseline"]))), [math.inf])
        if baseline is found or not np.isfinite(baseline).all() or "no interval" in said:
            continue
        compare(said, baseline, found, times=times)
        compared += 1
    return compared


def compare(said: str, baseline: list[float], arm: list[float], *, times: bool) -> None:
    """An effect as the report says it, and Welch's interval of it."""
    test = stats.ttest_ind(arm, baseline, equal_var=False)
    effect = np.array([np.mean(arm) - np.mean(baseline), *test.confidence_interval()])
    words = re.search(r"\((\S+?)(?: points)?: (\S+) to ([^,)]+)", said)
    assert words, said
    expected = np.exp(effect) if times else effect
    # Rounded to the last digit, the interval's ends outwards.
    digits = [len(word.partition(".")[2]) for word in words.groups()]
    for word, value, digit in zip(words.groups(), expected, digits, strict=True):
        assert float(word) == pytest.approx(value, abs=1.01 * 10.0**-digit), said


def measured(folders: list[Path]) -> list[Path]:
    known = (*TIMES, *ERRORS)
    return [each for each in folders if header(each)["config"]["compare"]["measure"] in known]


# --- The records of this repository. ---


@pytest.mark.parametrize("folder", measured(STUDIES), ids=named)
def test_the_numbers_of_a_report_are_those_of_its_records(folder):
    compared = check_measure(folder)
    assert bool(compared) == (len(fresh(folder)) > 1)  # One arm has none to be compared with.


@pytest.mark.parametrize("folder", STUDIES, ids=named)
def test_a_study_is_of_the_original_data_and_of_committed_code(folder):
    data = "imagenette" if folder.name == "imagenette" else "cifar10"
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["dataset"] for row in rows} == {header(folder)["dataset"]} == {data}
    for row in rows:  # A trial that went on with later code names both.
        for commit in row["commit"].split(" + "):
            assert re.fullmatch(r"[0-9a-f]{10}", commit), row["trial"]


@pytest.mark.parametrize("folder", STUDIES, ids=named)
def test_the_columns_of_results_are_known_so_that_no_swept_field_takes_one(folder):
    with open(folder / "results.csv", newline="") as file:
        columns = set(next(csv.reader(file)))
    config = header(folder)["config"]
    asked = {*swept(config["sweep"]), *(["variant"] if config.get("variants") else [])}
    assert columns == {*RESULT_COLUMNS, *(columns & {*FURTHER_COLUMNS}), *asked}


@pytest.mark.parametrize("folder", STUDIES, ids=named)
def test_a_study_goes_on_where_its_config_is_asked_for_again(folder):
    """Its arms have the names and settings of its trials, or none of their trials is left."""
    found = records.read_study_header(folder)
    question.check_same(Config.read(found["config"]), found, folder)


def test_published_weights_are_tested_on_the_original_data():
    paths = [*(EXPERIMENTS / "published_weights").glob("*/evaluation.json")]
    assert {json.loads(path.read_text())["dataset"] for path in paths} == {"cifar10"}


def near_one_epoch(folder: Path, trial: str) -> float:
    """Saturated share of conv1 at the point nearest to epoch 1, in percent."""
    at = min(points(folder, trial), key=lambda point: abs(point["epoch"] - 1))
    return 100 * at["conv1_saturated"]


def saturated(folder: Path, group: str) -> list[float]:
    """The same of the tanh nets of a group."""
    return [near_one_epoch(folder, row["trial"]) for row in fresh(folder)[group, "tanh"]]


def test_what_came_of_the_predictions_is_what_the_records_say():
    text = (EARLY / "predictions.md").read_text()
    report = (EARLY / "report.md").read_text()
    least = min(saturated(EARLY, "conv3, cuda_convnet"))
    most = max(saturated(EARLY, "conv3, modern"))
    assert f"| {least:.1f}% at least | yes |" in text
    assert f"| {most:.1f}% at most | yes |" in text
    ratios = re.findall(r"needs ([\d.]+) times as many iterations as relu", report)
    assert f"| {ratios[0]} times | yes |" in text
    assert f"| {ratios[1]} times | yes |" in text
    larger, low = re.search(r"is ([\d.]+) times as large .*interval ([\d.]+) to", report).groups()
    assert f"| {larger}, interval from {low} | yes |" in text


def test_the_readme_says_how_much_of_the_first_layer_is_saturated_in_its_study():
    study = EXPERIMENTS / "relu_vs_tanh"
    least = min(saturated(study, "conv3, cuda_convnet"))
    most = max(saturated(study, "conv3, modern"))
    said = "% of the first layer's outputs, before pooling, are where tanh is saturated"
    assert f"In the study above at least {least:.1f}{said} after one epoch" in README
    assert f"under the modern one at most {most:.1f}%." in README


def text_of(path: Path) -> str:
    return " ".join(path.read_text().split())


def test_the_readme_has_the_iterations_and_shares_of_the_report():
    found, report = told(WHY / "flips"), (WHY / "flips" / "report.md").read_text()
    slow, fast = (
        {value: found[f"conv3, {recipe}", value].split()[0] for value in ("tanh", "relu")}
        for recipe in ("cuda_convnet", "without_slow_conv1")
    )
    assert f"tanh then needs {fast['tanh']} iterations in place of {slow['tanh']}" in README
    assert f"and ReLU {fast['relu']} in place of {slow['relu']};" in README
    shares = {
        part: re.search(rf"^\| without_{part} \| tanh \| (\S+) \| (.+) \|$", report, re.M).groups()
        for part in ("slow_conv1", "init", "shuffled", "bias")
    }
    share, ends = shares["slow_conv1"]
    assert f"{share} of the difference is gone ({ends}; to 35% training error, n = 3" in README
    assert {shares["shuffled"][0], shares["bias"][0]} == {"-1%"}
    ends = f"({shares['shuffled'][1]} and {shares['bias'][1]})"
    assert f"the rate of the biases make -1% each {ends}" in README
    predictions = text_of(WHY / "predictions.md")
    for part in ("slow_conv1", "init", "shuffled", "bias"):
        assert "{} ({})".format(*shares[part]) in predictions


def test_tanh_is_slow_where_the_first_layer_is_saturated():
    """Between the two ranges there is no trial."""
    slow, fast = [], []
    for study in ("flips", "remove_and_put_in_early"):
        for (_, value), rows in fresh(WHY / study).items():
            for row in rows if value == "tanh" else ():
                share = near_one_epoch(WHY / study, row["trial"])
                assert not 15 <= share <= 95
                taken = int(row["iterations_to_target"])
                (slow if share > 50 else fast).append(taken)
    assert min(slow) >= 5300 and max(slow) <= 6300
    assert min(fast) >= 1100 and max(fast) <= 1600
    told_there = text_of(WHY / "README.md")
    assert "tanh takes 5,300 to 6,300 iterations to 35%" in told_there
    assert "where fewer than 15% are, 1,100 to 1,600" in told_there


def test_predictions_have_the_effects_of_the_reports():
    predictions = text_of(WHY / "predictions.md")
    for study in ("remove_and_put_in_early", "remove_and_put_in", "lenet"):
        for arm, said in told(WHY / study).items():
            if arm[1] == "tanh":
                ratio, ends = re.search(r"\(([\d.]+): ([\d.]+ to [\d.]+),", said).groups()
                words = (f"{ratio} times ({ends})", f"| {ratio} ({ends}) |")
                assert words[0] in predictions or words[1] in predictions
    slowed = told(WHY / "remove_and_put_in")["conv3, without_slow_conv1", "tanh"]
    ratio, ends = re.search(r"\(([\d.]+): ([\d.]+ to [\d.]+),", slowed).groups()
    assert f"To 25% its six times become {ratio} ({ends}, n = 5)." in README
    lenet = told(WHY / "lenet")["lenet5_modern, cuda_convnet", "tanh"]
    report = (WHY / "lenet" / "report.md").read_text()
    share = re.search(r"^\| without_slow_conv1 \| tanh \| (\S+) \| (.+) \|$", report, re.M)
    times = re.search(r"\(([\d.]+): ", lenet)[1]
    assert f"tanh needs {times} times as many iterations as ReLU to 45%" in README
    assert (
        "makes {} of the difference ({}, n = 5; trained likewise, with one H100)".format(
            *share.groups()
        )
        in README
    )
    assert f"tanh needs {ratio} times as many iterations" in text_of(WHY / "README.md")


@pytest.mark.parametrize(
    ("study", "trials", "before"),
    [
        ("flips", "without_slow_conv1-tanh-lr0.016", "tanh's 1,839"),
        ("flips", "without_slow_conv1-relu-lr0.016", "ReLU's 1,501"),
        ("flips", "without_init-relu-lr0.001", "in place of 3,737"),
        ("remove_and_put_in_early", "modern_fast_conv1-relu-lr0.001", "in place of 4,342"),
        ("remove_and_put_in", "without_slow_conv1-tanh-lr0.016", "tanh's 4,067"),
        ("remove_and_put_in", "without_slow_conv1-relu-lr0.016", "ReLU's 2,725"),
        ("remove_and_put_in", "modern_fast_conv1-relu-lr0.001", "it needs 8,297"),
    ],
)
def test_what_narrower_grids_gave_is_what_their_trials_say(study, trials, before):
    config = header(WHY / study)["config"]
    paths = (WHY / study / "trials").glob(f"conv3-{trials}-s1*")
    mean = math.exp(np.mean([number(points(WHY / study, path.name), config) for path in paths]))
    assert before.endswith(f"{mean:,.0f}")
    assert before in text_of(WHY / "predictions.md").split("## Grids extended")[1]


def test_the_page_of_all_studies_has_the_table_of_claims_as_it_is():
    page = (EXPERIMENTS / "index.html").read_text()
    table = (EXPERIMENTS / "README.md").read_text().split("### Measured")[1].split("### Not run")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 60
    for _, _, _, ours, _, verdict, _ in rows[2:]:
        assert f">{html.escape(ours, quote=False)}</td>" in page
        assert f">{html.escape(verdict, quote=False)}</td>" in page


@pytest.mark.parametrize(
    ("study", "measure", "value", "text", "before", "now"),
    [
        ("architectures", "iterations", "alexnet_cifar", "README.md",
         "By two comparisons AlexNet's 0.54 times had p = {:.3f}", "by three it has {:.3f}"),
        ("ablations/weight_decay", "equal_test_error", "0.005", "../predictions.md",
         "where p was {:.3f} while the arm", "with p = {:.3f}"),
    ],
)  # fmt: skip
def test_what_p_was_by_two_comparisons_is_what_the_records_say(
    study, measure, value, text, before, now
):
    """The smallest of two or three, and so by Holm's rule as many times the p of its interval."""
    effects = analyse(load_study(EXPERIMENTS / study)).effects(get_measure(measure))
    p_values = [effect.interval.p for effect in effects]
    (asked,) = (effect for effect in effects if effect.arm.value == value)
    assert asked.interval.p == np.nanmin(p_values)
    assert (len(p_values), np.isnan(p_values).sum()) == (3, 1)
    told_there = text_of(EXPERIMENTS / study / text)
    assert before.format(2 * asked.interval.p) in told_there
    assert now.format(3 * asked.interval.p) in told_there


def test_how_much_of_conv1_is_saturated_is_what_the_records_say():
    text = text_of(WHY / "predictions.md")
    least = min(saturated(WHY / "flips", "conv3, without_init"))
    assert f"conv1 is saturated, by {least:.1f}% at least" in text
    for recipe in ("without_slow_conv1", "cuda_convnet", "modern"):
        found = saturated(WHY / "lenet", f"lenet5_modern, {recipe}")
        assert f"{min(found):.1f}% to {max(found):.1f}%" in text


def effects_in(text: str) -> list[tuple[str, ...]]:
    """Each effect of a text with its interval, as in -2.7 points (-3.9 to -1.6)."""
    number = r"([+-]?[\d.]+)"
    return re.findall(rf"{number}(?: points| times)? \({number} to {number}\)", text)


@pytest.mark.parametrize(
    ("table", "column"),
    [("ablations/predictions.md", 2), ("architectures/README.md", 1)],
)
def test_what_came_of_other_predictions_is_what_their_reports_say(table, column):
    path, found = EXPERIMENTS / table, 0
    for line in path.read_text().splitlines():
        cells = line.strip("| ").split(" | ")
        study = path.parent / cells[0]
        report = path.parent / "report.md" if column == 1 else study / "report.md"
        if len(cells) <= column or not report.exists():
            continue
        for effect, low, high in effects_in(cells[column]):
            assert f"({effect}: {low} to {high}" in report.read_text().replace(" points:", ":")
            found += 1
    assert found >= 5


def test_what_is_said_of_a_gpu_is_what_its_records_say():
    text = text_of(EXPERIMENTS.parent / "docs" / "machines.md")
    ours, other = EXPERIMENTS / "relu_vs_tanh" / "h200", WHY / "flips"
    with open(ours / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = ("train", "compile", "measure", "save")
    minutes = sum(float(row[f"{part}_seconds"]) for row in rows for part in parts) / 60
    steps = sum(int(row["iterations"]) for row in rows)
    assert f"The {len(rows)} trials of" in text
    assert f"{steps:,} steps, took {minutes:.0f} minutes of the programs' time" in text
    names = {path.name for path in (other / "trials").iterdir()}
    losses = [
        [points(folder, row["trial"])[0]["train_loss"] for folder in (ours, other)]
        for row in rows
        if row["trial"] in names
    ]
    differing = [pair for pair in losses if pair[0] != pair[1]]
    assert f"Of {len(losses)} trials" in text and f"have, {len(differing)} differ" in text
    assert sum(abs(a / b - 1) < 1e-3 for a, b in differing) > len(differing) / 2


# --- The same lines on a study made of arithmetic. ---


def write_study(folder: Path, measure: str) -> None:
    """Nine trials of 25 points, tested at five of them; the study's measure is of test errors."""
    synthetic.write_header(
        folder,
        data={"name": "cifar10", "stream_size": 0},
        sweep={"model": {"activation": ["relu", "tanh", "elu"]}},
        learning_rates=[0.02],
        fresh_seeds=[1, 2, 3],
        stop_at_target=measure == "iterations",
        compare={"field": "activation", "baseline": "relu", "measure": measure},
    )
    for activation, harder in (("relu", 0.0), ("tanh", 0.03), ("elu", -0.01)):
        for seed in (1, 2, 3):
            wave = 0.03 * math.sin(5 * seed + 100 * harder)
            rows = synthetic.make_metrics(lambda e, w=wave + harder: 0.5 - 0.2 * e + w, epochs=2.49)
            for point, row in enumerate(rows):
                tested = point in (3, 8, 20, 22, 24)
                row["test_error"] = row["interval_error"] + 0.04 if tested else math.nan
            given = {"recipe": "modern", "learning_rate": 0.02, "seed": seed}
            synthetic.write_trial(folder, rows, activation=activation, **given)
    compose.write_report(folder)


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["mean_test_error", "test_error", "iterations"])
def test_a_number_that_is_not_the_records_is_noticed(tmp_path, measure):
    write_study(tmp_path, measure)
    assert check_measure(tmp_path) == 2
    report = (tmp_path / "report.md").read_text()
    first, second = (said for (_, value), said in told(tmp_path).items() if value != "relu")
    (tmp_path / "report.md").write_text(report.replace(first, second))
    with pytest.raises(AssertionError):
        check_measure(tmp_path)
    changed = re.sub(r"to (\S*?)(\d)", lambda m: f"to {m[1]}{(int(m[2]) + 5) % 10}", second)
    (tmp_path / "report.md").write_text(report.replace(second, changed))
    with pytest.raises(AssertionError):
        check_measure(tmp_path)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("evaluation.json")), ids=str)
def test_an_evaluation_is_reported_as_it_would_be_now(path):
    record = files.read_sealed(path, "evaluate the networks again")
    assert (path.parent / "report.md").read_text() == evaluation_report.compose(record)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_average_differs_from_each_network_by_what_only_one_of_them_gets_wrong(name):
    folder = EXPERIMENTS / "ensembles" / name
    record = json.loads((folder / "evaluation.json").read_text())
    report, table = (folder / "report.md").read_text(), (EXPERIMENTS / "README.md").read_text()
    alone = [net["errors"]["1"]["top1"]["wrong"] for net in record["networks"]]
    average = record["together"]["1"]["top1"]["wrong"]
    for wrong, pair in zip(alone, record["paired"]["1"], strict=True):
        assert average - wrong == pair["only_second"] - pair["only_first"]
        coins = pair["only_first"] + pair["only_second"]
        assert pair["p"] == pytest.approx(stats.binomtest(pair["only_first"], coins).pvalue)
    assert f"{average:,} wrong" in report
    mean, images = np.mean(alone), record["images"]
    told = f"test error of one network {mean / images:.1%} (mean of {len(alone)},"
    assert f"{told} {min(alone) / images:.1%} to {max(alone) / images:.1%})" in table
    assert f"of their average {average / images:.1%}" in table


def test_the_drop_of_the_rate_is_told_as_it_was():
    folder = EXPERIMENTS / "alexnet_cifar10"
    (row,) = [row for rows in fresh(folder).values() for row in rows]
    trial = points(folder, row["trial"])
    last = max(i for i, point in enumerate(trial) if point["rate_factor"] == 1)
    before = min(p["test_error"] for p in trial[: last + 1] if p["test_error"] >= 0)
    after = min(
        point["test_error"]
        for point in trial[last + 1 :]
        if point["epoch"] <= trial[last]["epoch"] + 2 and point["test_error"] >= 0
    )
    words = f"first drop {before:.1%}, within two epochs after it, at epoch"
    assert words in (table := (EXPERIMENTS / "README.md").read_text())
    assert f"at epoch {trial[last]['epoch']:.0f}, {after:.1%}" in table
    assert f"| {after:.1%}, before it {before:.1%} | yes |" in (folder / "README.md").read_text()


def test_the_table_of_a_gpu_is_that_of_its_record():
    record = json.loads((EXPERIMENTS / "speed" / "accelerator.json").read_text())
    text = (EXPERIMENTS / "speed" / "README.md").read_text()
    told_there = text.split("<!-- accelerator -->\n")[1].split("\n<!-- /accelerator -->")[0]
    rows = [line.strip("| ").split(" | ") for line in told_there.splitlines() if "`conv3`" in line]
    by_way, by_count = (record[part]["conv3"]["milliseconds"] for part in ("steps", "together"))
    for row, times in zip(rows, (by_way, by_count), strict=True):
        assert row[1:] == [f"{sorted(each)[len(each) // 2]:.3f}" for each in times.values()]
    alone, *more = (float(cell) for cell in rows[1][1:])
    assert min(more) > alone, "trials of conv3 take longer in one program"
    assert told_there.startswith(f"{record['provenance']['device']}; jax")
    step = float(rows[0][1])
    machines = text_of(EXPERIMENTS.parent / "docs" / "machines.md")
    assert f"a step of `conv3` took {step:.2f} ms" in machines


def test_what_came_of_photographs_is_what_their_records_say():
    folder = EXPERIMENTS / "imagenette"
    record = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    text, errors = text_of(folder / "README.md"), record["networks"][0]["errors"]
    one, ten = (errors[views]["top1"] for views in ("1", "10"))
    assert f"tests: {one['wrong']} and {ten['wrong']} of {record['images']} wrong" in text
    shares = [f"{one[end]:.1%}" for end in ("value", "low", "high")]
    assert "| {} ({} to {}) |".format(*shares) in text
    pair = record["by_views"][0]
    low, high = math.floor(1000 * pair["low"]) / 10, math.ceil(1000 * pair["high"]) / 10
    assert f"| by {100 * pair['value']:+.1f} points ({low:+.1f} to {high:+.1f}) |" in text
    (run,) = json.loads((folder / "paper_figures" / "paper_figures.json").read_text())["runs"]
    kernels = run["kernels"]
    assert f"| at {kernels['correlation_of_what_is_learned']:.2f} |" in text
    assert f"correlate at {kernels['correlation']:.2f} only" in text
    assert f"{kernels['left_of_the_beginning']:.0%} of their first weights is left" in text


def test_what_came_of_the_paper_figures_is_what_their_record_says():
    folder = EXPERIMENTS / "paper_figures"
    record = json.loads((folder / "paper_figures" / "paper_figures.json").read_text())
    text = text_of(folder / "README.md")
    apart = [run["kernels"]["colour_apart_p"] for run in record["runs"]]
    assert f"| p = {apart[0]:.3f}, {apart[1]:.3f} and {apart[2]:.2f} | no, in one |" in text
    assert sum(p <= 0.05 for p in apart) == 1
    for name in ("same_class", "same_class_by_pixels"):
        shares = [f"{record['neighbours'][name][end]:.1%}" for end in ("value", "low", "high")]
        assert "| {} ({} to {}) | yes |".format(*shares) in text
    tested = [
        points(folder, row["trial"])[-1]["test_error"]
        for rows in fresh(folder).values()
        for row in rows
    ]
    assert "| {}, {} and {} | yes |".format(*(f"{error:.1%}" for error in tested)) in text


def test_what_came_of_pretraining_is_what_its_reports_say():
    folder = EXPERIMENTS / "pretraining"
    text = text_of(folder / "README.md").partition("## Predicted, and found")[2]

    def found(study: str, arm: str, group: str = "conv3, modern") -> str:
        """The effect with its interval, if it has one, as `-0.6 (-1.6 to +0.3)`."""
        said = told(folder / study)[group, arm]
        effect, interval = re.search(r"\((\S+) points(?:: (\S+ to [^,)]+))?", said).groups()
        return f"{effect} ({interval})" if interval else effect

    def mean(arm: str) -> str:
        return told(folder / "controls")["conv3, modern", arm].partition(" ")[0]

    methods = {"conv_autoencoder": "auto-encoder", "conv_rbm": "RBM"}
    for study in ("labels_500", "labels_2000", "labels_10000", "labels_50000"):
        both = (f"{name} {found(study, method)}" for method, name in methods.items())
        assert f"| {', '.join(both)} |" in text, study
    for method, name in methods.items():
        groups = [
            (word, f"conv3, modern, activation {word}") for word in ("sigmoid", "tanh", "relu")
        ]
        each = (f"{word} {found('activations', method, group)}" for word, group in groups)
        assert f"{name}: {', '.join(each)}" in text
    assert f"| {found('controls', 'shuffled')} |" in text
    assert f"| {mean('scale')} against {mean('shuffled')} |" in text
    assert f"| {mean('conv1')}, {mean('conv1_2')}, {mean('whole')}" in text
    frozen = f"{mean('frozen')} against {mean('frozen_random')}"
    assert f"| {found('controls', 'frozen')}; {frozen} |" in text
    for method, name in methods.items():
        said = told(folder / "speed")["conv3, modern", method]
        ratio, interval = re.search(r"\((\S+): (\S+ to [^,)]+)", said).groups()
        assert f"{name} {ratio} ({interval})" in text


def test_what_a_step_of_pretraining_costs_is_what_the_benchmark_recorded():
    folder = EXPERIMENTS / "pretraining"
    record = json.loads((folder / "step.json").read_text())
    times = {kind: np.median(each) for kind, each in record["milliseconds"].items()}
    steps = {tuple(kind.rsplit(", ", 1)): time for kind, time in times.items() if ", " in kind}
    shares, base = record["by_multiply_adds"], times["supervised"]
    first = {of: time / base / shares["conv1"] for (of, at), time in steps.items() if at == "conv1"}
    ours, in_torch = first.pop("ours"), first.pop("torch")
    whole = [sum(steps[of, at] for at in shares) / base / sum(shares.values()) for of in first]
    text = text_of(folder / "README.md").partition("<!-- /step -->")[2]
    assert f"costs {min(whole):.2f} to {max(whole):.2f} times what its multiply-adds say" in text
    assert f"alone costs {min(first.values()):.2f} to {max(first.values()):.2f} times" in text
    assert f"convolutions alone cost {ours:.2f} times, less than PyTorch's" in text
    assert ours < in_torch


def test_what_came_of_longer_pretraining_is_what_its_records_say():
    folder, shorter = EXPERIMENTS / "pretraining_long", EXPERIMENTS / "pretraining"
    text = text_of(folder / "README.md")

    def found(study: Path, method: str) -> str:
        said = told(study)["conv3, modern", method]
        return "{} ({})".format(*re.search(r"\((\S+) points: (\S+ to [^,)]+)", said).groups())

    raised = []
    for study, held in (("labels_2000", "yes"), ("labels_50000", "not shown")):
        (autoencoder, before), (rbm, rbm_before) = (
            [found(each / study, method) for each in (folder, shorter)]
            for method in ("conv_autoencoder", "conv_rbm")
        )
        assert f"| auto-encoder {autoencoder}, RBM {rbm} | auto-encoder: {held}; RBM: no |" in text
        assert f"| {rbm} against {rbm_before} | no |" in text
        assert f"| {autoencoder} against {before} | yes |" in text
        raised.append(rbm.replace("+", ""))
    assert f"the RBM raises it by {' and by '.join(raised)[:-1]}; cifar10, n = 5, CPU)" in text
    for layer in ("conv1", "conv2", "conv3"):
        lost = [
            np.mean([last_error(each, method, seed, layer) for seed in seeds])
            for method in ("conv_autoencoder", "conv_rbm")
            for each, seeds in ((shorter, range(100, 105)), (folder, range(200, 205)))
        ]
        assert lost[1] < lost[0]
        assert lost[3] < lost[2]
        assert f"| `{layer}` | {' | '.join(f'{error:.3f}' for error in lost)} |" in text


def test_kernels_are_said_to_be_as_smooth_as_their_figures_say():
    folder = EXPERIMENTS / "pretraining_long"
    smooth = {}
    for method in ("conv_rbm", "conv_autoencoder"):
        drawn = (folder / f"kernels_{method}.svg").read_text(encoding="utf-8")
        assert f"method{method}-lr0.01-s200" in drawn
        smooth[method], alone = re.search(r"fine-tuned (\S+), from random (\S+)", drawn).groups()
    both = " and ".join(smooth.values())
    words = f"one pixel apart correlate at {both}, in the net that began at random at {alone}"
    assert f"{words} (seed 200)." in text_of(folder / "README.md")


@pytest.mark.parametrize(
    ("study", "elsewhere"),
    [("flips", {"without_slow_conv1", "without_init"}), ("lenet", {"without_slow_conv1"})],
)
def test_which_nets_were_trained_elsewhere_is_what_the_records_say(study, elsewhere):
    groups = analyse(load_study(WHY / study)).groups
    trained = {}
    for group in groups:
        assert not any(trained_apart(group.baseline, arm) for arm in group.others)
        trials = (trial.row for arm in group.arms for trial in arm.fresh)
        (trained[group.fields["recipe"]],) = {(row["commit"], row["device"]) for row in trials}
    assert {name for name, (_, device) in trained.items() if " cpu " in device} == elsewhere
    commits = {
        kind: {commit for name, (commit, _) in trained.items() if (name in elsewhere) == kind}
        for kind in (True, False)
    }
    assert not commits[True] & commits[False]
    assert len({device for name, (_, device) in trained.items() if name not in elsewhere}) == 1
    told = text_of(WHY / "README.md")
    assert all(
        f"`{name}`" in told.split("In `flips` and `lenet` the nets")[1] for name in elsewhere
    )


def last_error(folder: Path, method: str, seed: int, layer: str) -> float:
    """What a layer of a ReLU stack loses of held-out inputs after its last update."""
    (path,) = (folder / "stacks").glob(f"{method}-relu-s{seed}-*/metrics.csv")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["layer"] == layer]
    return float(rows[-1]["held_out_error"])


@pytest.mark.parametrize(
    ("study", "arm", "rate"),
    [
        ("activations", "silu", "now has 0.02"),
        ("pooling", "overlapping", "best at 0.005"),
        ("towers", "one", "best at 0.005"),
        ("depth", "whole", "the whole net at 0.005"),
        ("biases", "yes", "best at 0.0025"),
        ("dropout", "0.3", "0.3 is best at 0.01"),
        ("dropout_speed", "0.0", "the best of six is 0.005"),
        *(("lrn_local", arm, "best at 0.0005") for arm in ("none", "caffe", "within")),
        *(("augmentation", arm, "best at 0.0025") for arm in ("none", "pca", "noise")),
        *(("augmentation", arm, "else at 0.005") for arm in ("flip", "translation", "both")),
        ("weight_decay", "0.0", "without decay and with 0.02 the best is 0.0025"),
        ("weight_decay", "0.02", "without decay and with 0.02 the best is 0.0025"),
    ],
)
def test_rates_of_wider_grids_are_those_of_the_trials_and_inside(study, arm, rate):
    folder = EXPERIMENTS / "ablations" / study
    chosen = {
        row["learning_rate"] for at, rows in fresh(folder).items() if at[1] == arm for row in rows
    }
    assert chosen == {rate.split()[-1]}
    assert "extend the grid" not in (folder / "report.md").read_text()
    told = text_of(EXPERIMENTS / "ablations" / "predictions.md").split("## Grids extended")[1]
    assert rate in told.split(f"| {study} |")[1].split(" | ")[1]


def test_errors_by_normalization_are_those_of_the_report():
    told = text_of(EXPERIMENTS / "ablations" / "predictions.md")
    report = (EXPERIMENTS / "ablations" / "lrn_local" / "report.md").read_text()
    table = report.split("## Measures")[1]
    errors = (
        re.search(rf"\| {arm} \| 5 \| ([\d.]+%)", table)[1] for arm in ("none", "caffe", "within")
    )
    assert "their test errors are now {}, {} and {}".format(*errors) in told


def test_errors_by_weight_decay_are_those_of_the_report():
    told = text_of(EXPERIMENTS / "ablations" / "predictions.md")
    report = (EXPERIMENTS / "ablations" / "weight_decay" / "report.md").read_text()
    table = report.split("## Measures")[1].split("| group | arm |")[1]
    *others, last = re.findall(r"\| [\d.]+ \| 5 \| ([\d.]+%)", table)
    assert f"test errors are now {', '.join(others)} and {last}" in told


def step_ratios(networks: dict, cores: str) -> dict[str, float]:
    """Ours by PyTorch's time of a step, median over rounds, of each network."""
    times = {net: found[cores]["milliseconds"] for net, found in networks.items()}
    return {net: np.median(np.divide(each["scan"], each["torch"])) for net, each in times.items()}


def test_the_answer_on_speed_is_what_the_benchmark_recorded():
    record = json.loads((EXPERIMENTS / "speed" / "record.json").read_text())
    answer = text_of(EXPERIMENTS / "speed" / "README.md").split("```")[0]
    today, (older,) = record["networks"], record["elsewhere"].values()
    one = [*step_ratios(today, "one").values(), *step_ratios(older, "one").values()]
    assert max(one) < 1
    assert f"{min(one):.2f} to {max(one):.2f} of PyTorch's time" in answer
    beside_best = [float(row[3]) for row in tables.best_against_best(record)[1:]]
    told = f"three networks were measured, on all cores: {min(beside_best)} to {max(beside_best)}."
    assert len(beside_best) == 3
    assert told in answer
    slower = {net: ratio for net, ratio in step_ratios(today, "all").items() if ratio > 1}
    assert list(slower) == ["vgg16_cifar@0.125"]
    assert f"the narrow `vgg16_cifar`, {slower['vgg16_cifar@0.125']:.2f} (" in answer
    slower = {net: ratio for net, ratio in step_ratios(older, "all").items() if ratio > 1}
    assert set(slower) == {"lenet5", "lenet5_modern", "vgg16_cifar@0.125"}
    assert f"do, {min(slower.values()):.2f} to {max(slower.values()):.2f}." in answer


def test_how_many_trials_shared_a_program_is_what_the_records_say():
    with open(EXPERIMENTS / "relu_vs_tanh" / "h200" / "results.csv", newline="") as file:
        together = [int(row["together"] or 1) for row in csv.DictReader(file)]
    shared = sum(number > 1 for number in together)
    told_there = text_of(EXPERIMENTS / "speed" / "README.md")
    assert f"{shared} of the {len(together)} trials of [relu_vs_tanh/h200]" in told_there
