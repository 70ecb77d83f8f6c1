"""Draws what pre-training learns and what it is good for, from the records of its studies.

    python -m experiments.pretraining.figures [RUNS] [--out DIR] [--data_dir DIR]

RUNS, `runs/pretraining` by default, holds the folders of the studies and that of their stacks. Into
DIR, `experiments/pretraining` by default, go as PNG and SVG:

    differences             test error beside none, by the number of labels: all studies labels_*
    kernels_METHOD          of the first layer: random, pre-trained, fine-tuned, and from random
    reconstructions_METHOD  held-out images as each layer of a stack gives them back

The latter two are of the first fresh seed of one study, the one with 2,000 labels if it is there.
Fine-tuned kernels are read from checkpoints, the others from the stack: nothing is trained.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from src import doors, environment
from src.analysis.effects import Analysis, analyse
from src.analysis.intervals import Interval
from src.analysis.measures import MEASURES
from src.analysis.study import load_study
from src.errors import LabError
from src.paths import local_path
from src.reports.figures import canvas, pretraining
from src.reports.figures.caption import caption, seeds

PREFIX, PREFERRED = "labels_", 2000
BASELINE = "none"


def write_figures(runs: Path, out: Path, data_dir: str = "") -> list[str]:
    """Draws every figure that there are records for; the names of their files.

    Raises:
        RecordError: If a record is damaged, or a trial has no checkpoint any more.
        LabError: If no study has been run.
    """
    named = {path.name.removeprefix(PREFIX): path for path in runs.glob(f"{PREFIX}*")}
    studies = {int(labels): path for labels, path in named.items() if labels.isdecimal()}
    found = {n: analyse(load_study(studies[n])) for n in sorted(studies)}
    if not found:
        raise LabError(f"{runs} holds no study {PREFIX}...; run configs/pretraining.py first")
    labels = PREFERRED if PREFERRED in found else min(found)
    drawn: dict[str, Figure] = {}
    with canvas.style():
        if by_method := differences(found):
            most = max(max(of_method) for of_method in by_method.values())
            drawn["differences"] = draw_differences(by_method, found[most])
        for method, trials in seed_of_each_method(found[labels]).items():
            both = draw_learned(found[labels], studies[labels], runs / "stacks", trials, data_dir)
            drawn |= {f"{name}_{method}": figure for name, figure in both.items()}
        for name, figure in drawn.items():
            canvas.save(figure, out / name)
    return list(drawn)


def differences(found: Mapping[int, Analysis]) -> dict[str, dict[int, Interval]]:
    """Method -> number of labels -> how its test error differs from that without pre-training."""
    by_method: dict[str, dict[int, Interval]] = {}
    for labels, analysis in found.items():
        for effect in analysis.effects(MEASURES["test_error"]):
            if not np.isnan(effect.interval.value):
                by_method.setdefault(effect.arm.value, {})[labels] = effect.interval
    return by_method


def draw_differences(found: Mapping[str, Mapping[int, Interval]], analysis: Analysis) -> Figure:
    """What `differences` found; data and seeds are said by one of the studies."""
    note = f"{seeds(analysis)} an arm, each arm at the learning rate that was chosen for it"
    return pretraining.difference_by_labels(
        found, baseline=BASELINE, caption=caption(analysis, note)
    )


def seed_of_each_method(analysis: Analysis) -> dict[str, tuple[str, str, str]]:
    """Method -> a trial of it, its stack, and the trial of the same seed without pre-training."""
    found = {}
    for group in analysis.groups:
        arms = {arm.value: {t.row["seed"]: t.row for t in arm.fresh} for arm in group.arms}
        for method, rows in arms.items():
            shared = sorted(set(rows) & set(arms.get(BASELINE, ())))
            if method != BASELINE and shared:
                row, plain = rows[shared[0]], arms[BASELINE][shared[0]]
                found[method] = (row["trial"], row["stack"], plain["trial"])
    return found


def draw_learned(
    analysis: Analysis, study: Path, stacks: Path, trials: tuple[str, str, str], data_dir: str
) -> dict[str, Figure]:
    """Kernels and reconstructions of one seed of a method."""
    from src.pretraining.kept import read_layers  # noqa: PLC0415
    from src.trained.kernels import correlation_side_by_side  # noqa: PLC0415
    from src.trained.network import load_trained  # noqa: PLC0415

    name, stack, plain = trials
    layers = read_layers(stacks / stack)
    first = next(iter(layers.values()))
    tuned = load_trained(study / "trials" / name, data_dir).first_kernels()
    alone = load_trained(study / "trials" / plain, data_dir).first_kernels()
    kernels = {
        "random": alone.started,
        "pre-trained": first["kernel"],
        "fine-tuned": tuned.trained,
        "from random": alone.trained,
    }
    alike = ", ".join(f"{k} {correlation_side_by_side(v):.2f}" for k, v in kernels.items())
    note = f"{study.name}: {name} and {plain}\nweights one pixel apart correlate at: {alike}"
    figures = {"kernels": pretraining.kernels(kernels, caption(analysis, note))}
    if "pictures" in first:
        note = f"stack {stack}; in brackets: correlation with the image"
        given_back = {n: each["pictures"] for n, each in layers.items() if "pictures" in each}
        figures["reconstructions"] = pretraining.reconstructions(
            first["images"], given_back, caption(analysis, note)
        )
    return figures


def main(arguments: Sequence[str]) -> int:
    """Draws what the command line asks for."""
    environment.start_jax()
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pretraining.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="?", type=local_path, default=Path("runs/pretraining"))
    parser.add_argument("--out", type=local_path, default=Path("experiments/pretraining"))
    parser.add_argument("--data_dir", default="", help="TFDS data directory")
    given = parser.parse_args(arguments)
    print("\n".join(write_figures(given.runs, given.out, given.data_dir)))
    return 0


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
