"""What a study says while it runs. No test here looks at a clock."""

import io
import math
from pathlib import Path

import numpy as np
import pytest

from src.records.trial import TrialRecord
from src.study import order, progress, progress_words, time_left
from src.study.progress import Display
from src.study.screen import Screen
from src.study.time_left import Left, Stage, study_seconds
from src.training.settings import Limit
from src.training.trial import Run
from tests import tiny

RATES = (0.01, 0.02, 0.04)


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


def test_a_step_not_measured_yet_goes_by_multiply_adds():
    sizes = {"small": 1e6, "large": 5e6}
    assert time_left.step_seconds("small", {"small": 0.25}, sizes, 1e9) == 0.25
    assert time_left.step_seconds("large", {"small": 0.25}, sizes, 1e9) == pytest.approx(1.25)
    assert time_left.step_seconds("large", {}, sizes, 1e9) == pytest.approx(3 * 5e6 / 1e9)
    assert time_left.step_seconds("unknown", {"small": 0.25}, {}, 1e9) == 0
    assert time_left.step_seconds("small", {}, sizes, 0.0) == 0


@pytest.mark.parametrize(
    ("done", "expected", "left"),
    [
        (30.0, None, (70, True)),
        (30.0, 50.0, (20, False)),
        (50.0, 50.0, (50, True)),  # past what others took: its bound
        (100.0, 50.0, (0, True)),
        (130.0, 50.0, (0, True)),  # never negative
    ],
)
def test_iterations_left(done, expected, left):
    assert time_left.iterations_left(done, expected, 100.0) == left


# --- Words. ---


def test_nan_is_never_shown():
    position = {"iteration": 39, "epoch": 0.1, "train_error": math.nan, "interval_error": 0.875}
    said = progress_words.position_words(position, 0.05)
    assert said == "epoch 0.1, iteration 39, error of the newest images 87.5%, 50 ms a step"
    before = {"iteration": 0, "epoch": 0.0, "train_error": math.nan}
    for words in (
        progress_words.position_words(before, 0.05),
        progress_words.live_words(before, Left(0.0, True), 0.0),
        progress_words.live_words(position, Left(65.0, False), 0.05),
    ):
        assert "nan" not in words
    assert progress_words.left_words(Left(0.0, True)) == ""
    assert progress_words.left_words(Left(200.0, True)) == "at most 3 min left"


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
    reached = record("a", "reached", [0.5, 0.2], final_test_error=0.31)
    assert progress_words.end_words(reached, (), settings) == (
        "reached 25% training error at iteration 20, test error 31.0%, after 6 s"
    )
    censored = record("a", "censored", [math.nan, 0.47, 0.46])
    assert progress_words.end_words(censored, (), settings) == (
        "ended at iteration 30 without reaching 25% training error, after 6 s"
    )
    limits = (Limit(0.5, 10.0), Limit(0.45, 27.5), Limit(0.25, 90.0))
    assert progress_words.end_words(censored, limits, settings) == (
        "raced off at iteration 30: not at 45% training error, for which the best rate so far"
        " allows 28 iterations"
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
    return Display(config, finished, 2, sizes, machine=lambda: 960e3, screen=Screen(out))


def position(iteration: int, last: int, seconds: float, error: float = math.nan) -> dict:
    return {
        "iteration": iteration, "last": last, "epoch": iteration / 40, "seconds": seconds,
        "train_error": error, "interval_error": 0.9,
    }  # fmt: skip


def first_task(display: Display) -> order.Task:
    return order.ready_tasks(display.config, display.trials)[0]


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
    finished[name] = record(name, "reached", [0.5, 0.2])
    display.finished(finished[name].row)
    display.heard(name, "point", position(41, 160, 20.0))  # late word of what has ended
    lines = out.getvalue().splitlines()
    assert lines[0] == f"[0/5 done] {name}: starting"
    # 3 passes of 16 x 1000 multiply-adds at 480,000 a second for one of two workers: 0.1 s a step;
    # 3 rates one after another, then 2 fresh trials side by side
    assert lines[1] == (
        f"[0/5 done] {name}: first estimate, by the multiply-adds of its network; at most 16 s"
        " left, study at most 64 s left"
    )
    # 0.5 s a step: 120 more steps; then 160 each for two rates and the fresh pair
    assert lines[2] == (
        f"[0/5 done] {name}: epoch 1.0, iteration 40, training error 50.0%, 500 ms a step; at most"
        " 60 s left, study at most 5 min left"
    )
    assert "4.0, iteration 160, training error 30.0%, 500 ms a step; study at most" in lines[3]
    assert lines[4] == "warning: checkpoint 20 is damaged"
    assert lines[5].startswith(f"[1/5 done] {name}: reached 25% training error at iteration 20")
    assert len(lines) == 6


def test_a_line_changes_in_its_place_on_a_terminal(terminal):
    finished: dict[str, TrialRecord] = {}
    display = make_display(terminal, finished, racing=False)
    one, two = order.ready_tasks(display.config, finished)[:2]
    for task in (one, two):
        display.started(task)
        display.heard(task.trial.name, "point", position(0, 160, 0.0))
    display.heard(one.trial.name, "point", position(40, 160, 20.0, 0.5))
    rows = terminal.lines
    assert len(rows) == 3
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


def test_a_study_is_never_shorter_than_a_trial_under_way(terminal):
    finished: dict[str, TrialRecord] = {}
    display = make_display(terminal, finished)
    one = first_task(display)
    finished[one.trial.name] = record(one.trial.name, "reached", [0.9, 0.2])  # 20 iterations
    display = make_display(terminal, finished)
    two = first_task(display)
    display.started(two)
    display.heard(two.trial.name, "point", position(10, 160, 5.0, 0.9))
    left = display.left(two.trial.name)
    assert left == pytest.approx((10 * 6.0 / 20, False))  # as that before it: 20 steps of 6 s
    display.heard(two.trial.name, "point", position(30, 160, 15.0, 0.9))
    left = display.left(two.trial.name)
    assert left == (130 * 0.5, True)
    assert display.study_left().seconds >= left.seconds


def test_long_lines_and_many_trials_do_not_leave_the_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "6")
    screen = Screen(terminal)
    screen.show([*("x" * 50 for _ in range(9)), "sum"])
    screen.show([*("y" * 50 for _ in range(9)), "sum"])
    assert terminal.lines == ["y" * 19] * 3 + ["sum"]


def test_a_trial_past_the_limit_of_its_race_may_go_on_to_its_end(tmp_path):
    trial = first_task(make_display(io.StringIO(), {})).trial
    run = Run(trial, 64, tmp_path, tiny.identity(trial.name), (Limit(0.25, 5.0),))
    assert (run.position()["last"], run.grid.last) == (5, 16)
    run.points.iteration = 6
    assert run.position()["last"] == 16
