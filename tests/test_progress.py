"""What a study says while it runs. No test here looks at a clock."""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from src.records.trial import TrialRecord
from src.study import machine_speed, order, progress, progress_words, time_left
from src.study.progress import Display
from src.study.screen import Screen
from src.study.time_left import Left, Stage, study_seconds
from src.training.settings import Limit
from src.training.trial import Run
from tests import tiny

RATES = (0.01, 0.02, 0.04)
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
RECORDED = sorted((EXPERIMENTS / "relu_vs_tanh_early" / "trials").glob("*/metrics.csv"))


class Terminal(io.StringIO):
    """Keeps what a terminal would show: understands line breaks, cursor up and clear."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        screen: list[str] = []
        for part in self.getvalue().split("\x1b["):
            text = part
            if part[:3].endswith("A\r"):
                del screen[len(screen) - int(part[0]) :]
                text = ""
            elif part.startswith("J"):
                text = part[1:]
            screen += text.split("\n")[:-1]
        return screen


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "24")
    return Terminal()


# --- Arithmetic. ---


def test_a_study_ends_with_its_longest_trial_however_many_workers():
    assert study_seconds([[Stage((360.0,), ())], [Stage((), (10.0, 10.0))]], 8) == 360
    assert study_seconds([[Stage((0.0,), ())]], 1) == 0
    assert study_seconds([], 2) == 0


def test_stages_follow_one_another_and_free_workers_take_what_may_begin():
    # one arm races: 5, then 7, then two fresh ones of 4 side by side; the other fills the rest
    racing = [Stage((5.0,)), Stage((), (7.0,)), Stage((), (4.0, 4.0))]
    assert study_seconds([racing], 1) == 5 + 7 + 4 + 4
    assert study_seconds([racing], 2) == 5 + 7 + 4
    # 5 and 10 begin; 7 at 5, 2 at 10, both end at 12; the pair of 4 comes first, then 9
    assert study_seconds([racing, [Stage((), (10.0, 2.0, 9.0))]], 2) == 12 + 4 + 9
    assert study_seconds([[Stage(), Stage(), Stage((3.0,))]], 1) == 3


@pytest.mark.parametrize("seed", range(40))
def test_seconds_are_those_of_a_simulation_that_looks_at_every_arm_each_time(seed):
    rng = np.random.default_rng(seed)
    times = lambda most: tuple(rng.random(rng.integers(0, most)).tolist())  # noqa: E731
    arms = [
        [Stage(times(3), times(4)), *(Stage((), times(4)) for _ in range(rng.integers(0, 3)))]
        for _ in range(rng.integers(0, 5))
    ]
    busy = sum(len(stage.under_way) for stages in arms for stage in stages)
    workers = busy + int(rng.integers(0, 3))
    assert study_seconds(arms, workers) == pytest.approx(simulated(arms, workers))


def simulated(arms: Sequence[Sequence[Stage]], workers: int) -> float:
    """From one end to the next; no two are at the same time."""
    running = [[arm, t] for arm, stages in enumerate(arms) for s in stages for t in s.under_way]
    waiting = [[list(stage.waiting) for stage in stages] for stages in arms]
    now = 0.0
    while True:
        running = [each for each in running if each[1] > 1e-9]
        began = False
        for arm, stages in enumerate(waiting):
            while stages and not stages[0] and arm not in [each[0] for each in running]:
                stages.pop(0)
            while stages and stages[0] and len(running) < workers:
                running.append([arm, stages[0].pop(0)])
                began = True
        if began:
            continue
        if not running:
            return now
        passed = min(left for _, left in running)
        now += passed
        running = [[arm, left - passed] for arm, left in running]


def test_a_step_not_measured_yet_goes_by_multiply_adds():
    sizes = {"small": 1e6, "large": 5e6}
    assert time_left.step_seconds("small", {"small": 0.25}, sizes, 1e9) == 0.25
    assert time_left.step_seconds("large", {"small": 0.25}, sizes, 1e9) == pytest.approx(1.25)
    assert time_left.step_seconds("large", {}, sizes, 1e9) == pytest.approx(3 * 5e6 / 1e9)
    assert time_left.step_seconds("unknown", {"small": 0.25}, {}, 1e9) == 0
    assert time_left.step_seconds("small", {}, sizes, 0.0) == 0


@pytest.mark.parametrize(
    ("done", "total", "left"),
    [
        (30.0, math.nan, (math.nan, 140)),
        (30.0, 50.0, (40, 140)),
        (30.0, 500.0, (140, 140)),  # never more than the bound
        (60.0, 50.0, (0, 80)),  # never negative
        (130.0, 150.0, (0, 0)),
    ],
)
def test_what_is_left_of_a_trial(done, total, left):
    assert time_left.left(done, total, 100.0, 2.0) == pytest.approx(left, nan_ok=True)


def test_a_curve_is_drawn_on_as_it_fell_since_half_of_its_iterations():
    # 8 points lower at 200 than at 100: the 4 that are left take half a doubling
    curve = [(50.0, math.nan), (100.0, 0.48), (150.0, 0.44), (200.0, 0.40)]
    assert time_left.forecast(curve, 0.36) == pytest.approx(200 * 2**0.5)
    assert time_left.forecast(curve, 0.32) == pytest.approx(400)
    assert math.isnan(time_left.forecast(curve, 0.4))  # there: another reading is waited for
    assert math.isnan(time_left.forecast(curve[:2], 0.3))
    assert math.isnan(time_left.forecast([(100.0, 0.5), (120.0, 0.4)], 0.3))  # too short
    assert math.isnan(time_left.forecast([], 0.3))
    assert time_left.forecast([(100.0, 0.5), (200.0, 0.5)], 0.3) == math.inf
    assert time_left.forecast([(100.0, 0.5), (200.0, 0.4999)], 0.3) < math.inf


@pytest.mark.parametrize("part", [0.6, 0.7, 0.8, 0.9])
def test_the_forecasts_of_recorded_trials_come_near(part):
    assert RECORDED
    for path in RECORDED:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        curve = [(float(row["iteration"]), float(row["train_error"] or "nan")) for row in rows]
        end = next(iteration for iteration, error in curve if error <= 0.35)
        early = [point for point in curve if point[0] <= part * end]
        assert time_left.forecast(early, 0.35) == pytest.approx(end, rel=0.2), path


# --- Words. ---


def test_nan_is_never_shown():
    position = {"iteration": 39, "epoch": 0.1, "train_error": math.nan, "interval_error": 0.875}
    said = progress_words.position_words(position, 0.05, measured=True)
    assert said == "epoch 0.1, iteration 39, error of the newest images 87.5%, 50 ms a step"
    before = {"iteration": 0, "epoch": 0.0, "train_error": math.nan}
    for words in (
        progress_words.position_words(before, 0.05, measured=False),
        progress_words.live_words(before, Left(math.nan, 0.0), 0.0, 80, measured=False),
        progress_words.live_words(position, Left(math.nan, 65.0), 0.05, 80, measured=True),
    ):
        assert "nan" not in words


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (Left(math.nan, 0.0), ""),
        (Left(math.nan, 200.0), "at most 3 min left"),
        (Left(200.0, 720.0), "about 3 min left (12 min at most)"),
        (Left(200.0, 240.0), "about 3 min left"),
        (Left(0.0, 720.0), "about 1 s left (12 min at most)"),
    ],
)
def test_what_is_left_in_words(left, words):
    assert progress_words.left_words(left) == words
    assert progress_words.left_words(left, both=False) == words.partition(" (")[0]


def record(name: str, status: str, errors: list[float], **row: object) -> TrialRecord:
    """A trial with a point every ten iterations."""
    reached = [10 * (i + 1) for i, error in enumerate(errors) if error <= 0.25]
    found = {
        "trial": name, "status": status, "purpose": "selection", "iterations": 10 * len(errors),
        "iterations_to_target": float(reached[0]) if reached else math.inf,
        "final_test_error": math.nan, "train_seconds": 5.0, "measure_seconds": 1.0, **row,
    }  # fmt: skip
    metrics = {"train_error": np.array(errors), "iteration": 10.0 * np.arange(1, len(errors) + 1)}
    return TrialRecord(found, metrics)


def test_how_a_trial_has_ended():
    settings = tiny.make_config().trial
    reached = record("a", "reached", [0.5, 0.2], final_test_error=0.31, compile_seconds=3.0)
    assert progress_words.end_words(reached, (), settings) == (
        "reached 25% training error at iteration 20, test error 31.0%, after 9 s"
    )
    censored = record("a", "censored", [math.nan, 0.47, 0.46])
    assert progress_words.end_words(censored, (), settings) == (
        "ended at iteration 30 without reaching 25% training error, after 6 s"
    )
    limits = (Limit(0.5, 10.0), Limit(0.45, 27.5), Limit(0.25, 90.0))
    assert progress_words.end_words(censored, limits, settings) == (
        "raced off at iteration 30: to stay in the race it had to be at 45% training error by"
        " iteration 28"
    )
    diverged = record("a", "diverged", [])
    assert "no longer a number" in progress_words.end_words(diverged, limits, settings)


def test_the_time_of_a_step():
    assert progress_words.step_words(0.0525) == "52.5 ms a step"
    assert progress_words.step_words(1.34) == "1.3 s a step"


def test_where_to_look_is_an_address():
    assert progress_words.where_to_look(Path("/tmp/a study")) == (
        "Report: file:///tmp/a%20study/report.html"
    )


# --- The display. ---


def make_display(out: io.StringIO, finished: dict, **changes: object) -> Display:
    config = tiny.make_config(learning_rates=RATES, fresh_seeds=(100, 101), **changes)
    (arm,) = config.arms
    sizes = {arm.name: {"parameters": 10, "multiply_adds": 1000}}
    return Display(
        config, finished, 2, sizes, machine=lambda trials: 960e3 / trials, screen=Screen(out)
    )


def position(
    iteration: int, last: int, seconds: float, error: float = math.nan, most: int = 0
) -> dict:
    return {
        "iteration": iteration, "last": last, "most": most or last, "epoch": iteration / 40,
        "seconds": seconds, "train_error": error, "interval_error": 0.9,
    }  # fmt: skip


def first_task(display: Display) -> order.Task:
    return order.ready_tasks(display.config, display.trials)[0]


POINT = {
    "layer": "conv2", "learning_rate": 0.003, "step": 1500, "held_out_error": 0.21345,
    "seconds": 90.0,
}  # fmt: skip


@pytest.mark.parametrize("is_terminal", [True, False])
def test_pre_training_is_shown_while_it_lasts(monkeypatch, is_terminal):
    """60 ms an update, 500 of which are left at this rate."""
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "240")
    out = Terminal() if is_terminal else io.StringIO()
    display = make_display(out, {}, pretraining__method="conv_rbm")
    task = first_task(display)
    display.started(task)
    display.heard(task.trial.name, "pretraining", POINT)
    words = (
        "pre-training conv2, update 1,500 of 2,000 at rate 0.003, 30 s left at this rate, held-out"
        " error 0.213, 60 ms a step"
    )
    assert progress_words.stack_words(POINT, 2000, len(words)) == words
    assert progress_words.stack_words(POINT, 2000, len(words) - 1) == words.rpartition(",")[0]
    assert words in out.getvalue()
    display.heard(task.trial.name, "point", position(40, 160, 20.0, 0.5))
    shown = out.getvalue().partition(words)[2]
    assert "error 50.0%" in shown and words not in shown
    assert ", without pre-training" in shown


def test_lines_follow_one_another_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    out, finished = io.StringIO(), {}
    display = make_display(out, finished)
    task = first_task(display)
    name = task.trial.name
    display.started(task)
    display.heard(name, "point", position(0, 160, 0.0))
    display.heard(name, "point", position(40, 160, 20.0, 0.5))
    display.heard(name, "point", position(160, 160, 80.0, 0.3))
    display.heard(name, "complaint", "checkpoint 20 is damaged")
    display.heard(name, "note", "waiting for a stack")
    finished[name] = record(name, "reached", [0.5, 0.2])
    display.finished(finished[name].row)
    display.heard(name, "point", position(41, 160, 20.0))  # late word of what has ended
    lines = out.getvalue().splitlines()
    assert lines[0] == f"[0/5 done] {name}: starting"
    # 3 passes of 16 x 1000 multiply-adds at 480,000 a second for one of two workers: 0.1 s a step;
    # 3 rates one after another, then 2 fresh trials side by side
    assert lines[1] == (
        f"[0/5 done] {name}: first estimate, by the size of its network; at most 16 s left, study"
        " at most 64 s left"
    )
    # 0.5 s a step: 120 more steps; then 160 each for two rates and the fresh pair
    assert lines[2] == (
        f"[0/5 done] {name}: epoch 1.0, iteration 40, training error 50.0%, 500 ms a step; at most"
        " 60 s left, study at most 5 min left"
    )
    # one trial is at its end now, so that the others are known to take as long: 3 times 80 s
    assert lines[3].endswith(
        "iteration 160, training error 30.0%, 500 ms a step; study about 4 min left"
    )
    assert lines[4] == "warning: checkpoint 20 is damaged"
    assert lines[5] == "note: waiting for a stack"
    assert lines[6].startswith(f"[1/5 done] {name}: reached 25% training error at iteration 20")
    assert len(lines) == 7


def test_a_line_changes_in_its_place_on_a_terminal(terminal):
    finished: dict[str, TrialRecord] = {}
    display = make_display(terminal, finished, racing=False)
    one, two = order.ready_tasks(display.config, finished)[:2]
    for task in (one, two):
        display.started(task)
        display.heard(task.trial.name, "point", position(0, 160, 0.0))
    assert terminal.lines[2].endswith(" left, by a first estimate")
    display.heard(one.trial.name, "point", position(40, 160, 20.0, 0.5))
    rows = terminal.lines
    assert len(rows) == 3
    assert not rows[2].endswith("estimate")
    assert rows[0].split() == (
        f"{one.trial.name} epoch 1.0 error 50.0% at most 60 s left 500 ms a step".split()
    )
    assert "2 under way; study at most" in rows[2]
    finished[one.trial.name] = record(one.trial.name, "reached", [0.5, 0.2])
    display.finished(finished[one.trial.name].row)
    rows = terminal.lines
    assert rows[0].startswith(f"[1/5 done] {one.trial.name}: reached")
    assert len(rows) == 3 and two.trial.name in rows[1]
    display.screen.leave()  # as when something else has printed
    display.screen.say("Stopped.")
    assert terminal.lines == [*rows, "Stopped."]


def test_no_word_of_a_line_is_cut(terminal, monkeypatch):
    display = make_display(terminal, {})
    task = first_task(display)
    display.started(task)
    display.heard(task.trial.name, "point", position(0, 160, 0.0))
    parts = [task.trial.name, "epoch 1.0", "error 50.0%", "at most 60 s left", "500 ms a step"]
    whole = [" ".join(parts[:count]) for count in range(2, 6)]
    seen = set()
    for columns in range(len(" ".join(parts[:2])) + 9, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        display.heard(task.trial.name, "point", position(40, 160, 20.0, 0.5))
        line = terminal.lines[0]
        assert len(line) < columns
        seen.add(" ".join(line.split()))
    assert seen == set(whole)


def test_a_study_is_never_shorter_than_a_trial_under_way(terminal):
    finished: dict[str, TrialRecord] = {}
    display = make_display(terminal, finished)
    one = first_task(display)
    finished[one.trial.name] = record(one.trial.name, "reached", [0.9, 0.2])  # 20 iterations
    display = make_display(terminal, finished)
    two = first_task(display)
    display.started(two)
    display.heard(two.trial.name, "point", position(10, 160, 5.0, 0.9))
    left, whole = display.left(two.trial.name), display.study_left()
    assert left == pytest.approx((10 * 0.3, 150 * 0.3))  # as that before it: 20 steps of 6 s
    assert whole.about >= left.about
    assert whole.most >= left.most
    display.heard(two.trial.name, "point", position(30, 160, 15.0, 0.9))
    left, whole = display.left(two.trial.name), display.study_left()
    assert left == (130 * 0.5, 130 * 0.5)  # its error does not fall
    assert whole.about >= left.about
    assert whole.most >= left.most


def test_an_arm_of_which_nothing_is_known_is_taken_to_need_what_the_others_need(terminal):
    finished: dict[str, TrialRecord] = {}
    display = make_display(terminal, finished, racing=False)
    one, two = order.ready_tasks(display.config, finished)[:2]
    for task in (one, two):
        display.started(task)
    display.heard(one.trial.name, "point", position(0, 160, 0.0))
    assert math.isnan(display.study_left().about)
    display.heard(one.trial.name, "point", position(20, 160, 10.0, 0.65))
    display.heard(one.trial.name, "point", position(40, 160, 20.0, 0.45))
    # 20 points in a doubling, 20 more to go: 80 iterations in all, at half a second
    assert display.left(one.trial.name) == pytest.approx((20, 60))
    # the other one takes 40 s, a third rate begins after 20 and the fresh pair after 60
    assert display.study_left() == pytest.approx((20 + 40 + 40, 60 + 80 + 80))


@pytest.mark.parametrize(
    ("readings", "about", "words"),
    [
        (("online",), 0, " about 1 s left"),
        (("online", "frozen"), math.nan, " at most 60 s left"),  # the other may be far from it
    ],
)
def test_a_trial_ends_now_once_its_only_reading_is_at_the_target(terminal, readings, about, words):
    display = make_display(terminal, {}, racing=False, readings=readings)
    one, two = order.ready_tasks(display.config, {})[:2]
    for task in (one, two):
        display.started(task)
    display.heard(one.trial.name, "point", position(20, 160, 10.0, 0.65))
    display.heard(one.trial.name, "point", position(40, 160, 20.0, 0.25))
    assert display.left(one.trial.name) == pytest.approx((about, 60), nan_ok=True)
    assert words in terminal.lines[0]


def test_the_line_of_a_trial_and_that_of_the_study_take_the_same_for_granted(terminal):
    display = make_display(terminal, {}, racing=False)
    one, two = order.ready_tasks(display.config, {})[:2]
    for task in (one, two):
        display.started(task)
        display.heard(task.trial.name, "point", position(0, 160, 0.0))
    display.heard(one.trial.name, "point", position(20, 160, 10.0, 0.65))
    display.heard(one.trial.name, "point", position(40, 160, 20.0, 0.45))
    # nothing says how long the second one takes but the first: 80 iterations of half a second
    assert "about 20 s left" in terminal.lines[0]
    assert "about 40 s left" in terminal.lines[1]


def test_trials_that_do_not_stop_at_a_target_take_as_long_as_they_may(terminal):
    display = make_display(terminal, {}, stop_at_target=False, racing=False)
    task = first_task(display)
    display.started(task)
    display.heard(task.trial.name, "point", position(20, 160, 10.0, 0.3))
    display.heard(task.trial.name, "point", position(40, 160, 20.0, 0.2))
    assert display.left(task.trial.name) == (60, 60)


def heard(display: Display, *points: dict) -> Left:
    """Tells of the first trial that is to be trained; returns what is left of the study."""
    task = first_task(display)
    display.started(task)
    for point in points:
        display.heard(task.trial.name, "point", point)
    return display.study_left()


@pytest.mark.parametrize(
    ("sweep", "epochs", "images"),
    [
        ({"batch_size": (16, 64)}, (4, 4), (640, 640)),
        ({"batch_size": (64, 16)}, (4, 4), (640, 640)),
        ({"max_epochs": (4.0, 20.0)}, (4, 20), (640, 640)),
        ({"train_images": (640, 160)}, (4, 4), (640, 160)),
        ({"labels": (160, 640)}, (4, 4), (160, 640)),
        ({"weight_decay": (0.0, 0.1)}, (4, 4), (480, 480)),
    ],
)
def test_an_arm_not_heard_of_takes_as_many_iterations_as_its_own_images_make(sweep, epochs, images):
    """640 images an epoch, half a second a step of either arm; two seeds of one, one by one."""
    (field, values), racing = next(iter(sweep.items())), False
    config = tiny.make_config(
        sweep=sweep, compare__field=field, compare__baseline=values[0], learning_rates=(0.01,),
        fresh_seeds=(100,), stop_at_target=False, racing=racing, max_epochs=4.0, batch_size=16,
        **({"train_images": 640, "labels": 480} if field == "weight_decay" else {}),
    )  # fmt: skip
    batches = values if field == "batch_size" else (16, 16)
    iterations = [n * e // b for n, e, b in zip(images, epochs, batches, strict=True)]
    display = Display(config, {}, 1, {}, screen=Screen(io.StringIO()))
    display.measured = {arm.name: 0.5 for arm in config.arms}
    most = iterations[0]
    left = heard(display, position(0, most, 0.0), position(4, most, 2.0, 0.9))
    expected = 0.5 * (iterations[0] - 4) + 0.5 * iterations[1]
    assert left == pytest.approx((expected, expected))


def test_a_race_limits_the_trial_in_it_and_none_to_come():
    """Three rates, two seeds: 20 of the 160 iterations are left to this one, all to the others."""
    display = make_display(io.StringIO(), {})
    left = heard(display, position(0, 30, 0.0, most=160), position(10, 30, 5.0, 0.9, most=160))
    assert left.most == pytest.approx(0.5 * (20 + 2 * 160 + 160))  # two workers: a pair at the end


def test_a_rate_that_diverged_says_nothing_of_trials_that_train_to_the_end():
    finished: dict[str, TrialRecord] = {}
    display = make_display(io.StringIO(), finished, stop_at_target=False, racing=False)
    name = first_task(display).trial.name
    finished[name] = record(name, "diverged", [], iterations=17)
    display = make_display(io.StringIO(), finished, stop_at_target=False, racing=False)
    left = heard(display, position(0, 160, 0.0), position(40, 160, 20.0, 0.9))
    assert left.about == left.most == pytest.approx(0.5 * (160 + 160))  # two rates, then two seeds


def test_trials_that_are_replaced_are_to_come_again(monkeypatch):
    """A grid has grown: what was trained at the rate of the old one is trained again."""
    finished: dict[str, TrialRecord] = {}
    config = make_display(io.StringIO(), finished).config
    (arm,) = config.arms
    for rate, seed in (*((rate, 0) for rate in RATES), (RATES[-1], 100), (RATES[-1], 101)):
        name = f"{arm.name}-lr{rate:g}-s{seed}"
        kind = "fresh" if seed else "selection"
        finished[name] = record(name, "reached", [0.2] * 16, purpose=kind)
    gone = [trial for trial in finished.values() if trial.row["purpose"] == "fresh"]
    monkeypatch.setattr(progress, "replaced_trials", lambda *_: gone)
    grown = tiny.make_config(learning_rates=(*RATES, 0.08), fresh_seeds=(100, 101))
    display = Display(grown, finished, 1, {}, screen=Screen(io.StringIO()))
    left = heard(display, position(0, 160, 0.0), position(40, 160, 20.0, 0.9))
    assert left.most == pytest.approx(0.5 * (120 + 160 + 160))
    assert display._done() == 3


def test_the_first_words_of_a_trial_say_what_its_estimate_is_made_of():
    out, finished = io.StringIO(), {}
    display = make_display(out, finished, racing=False)
    heard(display, position(0, 160, 0.0))
    assert "first estimate, by the size of its network" in out.getvalue()
    one, two = order.ready_tasks(display.config, finished)[:2]
    display.heard(one.trial.name, "point", position(40, 160, 20.0, 0.5))
    display.started(two)
    display.heard(two.trial.name, "point", position(0, 160, 0.0))
    assert "first estimate, by the speed of its arm so far" in out.getvalue().splitlines()[-1]


def test_a_cluster_without_a_machine_yet_has_a_speed_too(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    ticks = itertools.count(0.0, machine_speed.SECONDS / 2)
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(machine_speed, "time", clock)
    assert machine_speed.multiply_adds_per_second(0) > 0


def test_a_machine_is_as_fast_as_its_fastest_product(monkeypatch):
    times = iter([0.0, *(t for begun in (0, 5, 6) for t in (begun, begun + 1 + begun % 2)), 99.0])
    clock = SimpleNamespace(perf_counter=lambda: next(times))
    monkeypatch.setattr(machine_speed, "time", clock)
    monkeypatch.setattr(machine_speed, "SECONDS", 10.0)
    devices = jax.device_count()
    assert machine_speed.multiply_adds_per_second(2) == machine_speed.SIZE**3 * devices


def test_long_lines_and_many_trials_do_not_leave_the_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "6")
    screen = Screen(terminal)
    screen.show([*("x" * 50 for _ in range(9)), "sum"])
    screen.show([*("y" * 50 for _ in range(9)), "sum"])
    assert terminal.lines == ["y" * 19] * 3 + ["sum"]


def test_what_stays_is_broken_between_words(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    screen = Screen(terminal)
    screen.show(["below"])
    screen.say("[1/4 done] a-lr0.02: test error 27.3%, after 2 min")
    screen.say("Report: file:///tmp/" + "a" * 30)
    assert terminal.lines == [
        "[1/4 done] a-lr0.02:", "test error 27.3%, after", "2 min",
        "Report:", "file:///tmp/" + "a" * 30, "below",
    ]  # fmt: skip


def test_a_trial_past_the_limit_of_its_race_may_go_on_to_its_end(tmp_path):
    trial = first_task(make_display(io.StringIO(), {})).trial
    run = Run(trial, 64, tmp_path, tiny.identity(trial.name), (Limit(0.25, 5.0),))
    assert (run.position()["last"], run.position()["most"], run.grid.last) == (5, 16, 16)
    run.points.iteration = 6
    assert run.position()["last"] == 16
