"""Records to figures, PNG and SVG, the same bytes from the same records.

    training_error   Fig. 1 of the paper with our seeds, the paper's curves behind
    learning_rates   iterations to the target against learning rate
    ratios           ratio of iterations against training error, the paper's beside
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from src import analysis, paper
from src.analysis import Ratio
from src.comparison import ArmRecord, Group, make_groups
from src.files import write_atomic
from src.records import StudyRecord, TrialRecord

NAMES = ("training_error", "learning_rates", "ratios")
COLORS = ("#0b5394", "#c8441b", "#1b7f5c", "#7a3e9d", "#b07d00", "#3d9bd1", "#8c564b", "#d45087")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (6, 1.6, 1.2, 1.6)), (0, (1.4, 1.4)))
PAPER = "#a6a6a6"
STYLE = {
    "svg.hashsalt": "figures",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
}


def write_figures(study_dir: Path, study: StudyRecord) -> list[str]:
    """Draws every figure into the folder of the study; their names, without the suffix."""
    groups = make_groups(study)
    with _style():
        for name, draw in zip(NAMES, (training_error, learning_rates, ratios), strict=True):
            figure = draw(study, groups)
            _save(figure, study_dir / name)
    return list(NAMES)


@contextmanager
def _style() -> Iterator[None]:
    """The same look whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _save(figure: Figure, path: Path) -> None:
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        content = io.BytesIO()
        figure.savefig(content, format=suffix, metadata=metadata)
        write_atomic(path.with_suffix(f".{suffix}"), content.getvalue())


# --- Fig. 1. ---


def training_error(study: StudyRecord, groups: Sequence[Group]) -> Figure:
    """Training error against epochs: every fresh seed at its arm's chosen rate."""
    target = study.config["target_train_error"]
    curves = _paper_curves(study)
    figure, panels = _panels(study, [g.label for g in groups], "Training error by epoch", sharey=True)
    for axes, group in zip(panels, groups, strict=True):
        handles = [_draw_seeds(axes, arm, i, bool(curves)) for i, arm in enumerate(group.arms)]
        for name, dash in (("relu", "-"), ("tanh", DASHES[1])):
            if name in curves:
                (line,) = axes.plot(*curves[name], color=PAPER, ls=dash, lw=2.2, zorder=1)
                line.set_label(f"{name}, the paper's")
                handles.append(line)
        axes.axhline(target, color="#222222", lw=0.8, ls=":", zorder=1)
        axes.set(xlabel="epochs", ylim=(max(0.0, target - 0.1), 0.85))
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(handles=handles, loc="upper right")
    panels[0].set_ylabel("training error")
    return figure


def _draw_seeds(axes: Axes, arm: ArmRecord, index: int, with_points: bool) -> Line2D:
    color, dash = _look(index)
    for trial in arm.fresh:
        metrics = trial.metrics
        axes.plot(metrics["epoch"], metrics["train_error"], color=color, ls=dash, lw=1.1, alpha=0.85)
        if trial.row["status"] == "reached":
            end = trial.row["epochs_to_target"], trial.row["iterations_to_target"]
            error = metrics["train_error"][metrics["iteration"] == end[1]]
            axes.plot(end[:1], error, "o", color=color, ms=4, zorder=4, clip_on=False)
    if with_points and arm.fresh:
        epochs = range(int(max(t.metrics["epoch"].max(initial=0) for t in arm.fresh)) + 1)
        ours = paper.median_points(arm.fresh, list(epochs))
        axes.plot(epochs, ours, "o", mec=color, mfc="white", ms=3.4, mew=0.9, zorder=3)
    label = f"{arm.value}, rate {arm.rate:g}, {_seeds(len(arm.fresh))}"
    return Line2D([], [], color=color, ls=dash, lw=1.4, label=label)


# --- Choice of the learning rate. ---


def learning_rates(study: StudyRecord, groups: Sequence[Group]) -> Figure:
    """Iterations to the target against learning rate, the trials each rate was chosen by."""
    percent = f"{study.config['target_train_error']:.0%}"
    title = f"Iterations to {percent} training error by learning rate"
    figure, panels = _panels(study, [g.label for g in groups], title, sharey=True)
    for axes, group in zip(panels, groups, strict=True):
        handles = [_draw_rates(axes, arm, i) for i, arm in enumerate(group.arms)]
        handles.append(_marker("^", "not reached, stopped there", fill=False))
        if any(t.row["status"] == "diverged" for arm in group.arms for t in arm.selection):
            handles.append(_marker("x", "diverged"))
        axes.set(xscale="log", yscale="log", xlabel="learning rate")
        rates = sorted({rate for arm in group.arms for rate in arm.grid})
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(handles=handles)
    panels[0].set_ylabel("iterations")
    return figure


def _draw_rates(axes: Axes, arm: ArmRecord, index: int) -> Line2D:
    color, dash = _look(index)
    for trial in arm.selection or arm.fresh:
        row = trial.row
        reached = row["status"] == "reached"
        marker = {"reached": "o", "censored": "^", "diverged": "x"}[row["status"]]
        y = row["iterations_to_target"] if reached else max(1, row["iterations"])
        face = color if reached else "white"
        axes.plot(row["learning_rate"], y, marker, mec=color, mfc=face, ms=4.5, zorder=3)
    medians = arm.choice.medians if arm.choice else {}
    reached = [(rate, n) for rate, n in medians.items() if n < math.inf]
    axes.plot(*zip(*reached, strict=True) if reached else ([], []), color=color, ls=dash, lw=1.2)
    if medians.get(arm.rate, math.inf) < math.inf:
        axes.plot(arm.rate, medians[arm.rate], "o", mec=color, mfc="none", ms=11, mew=1.3)
    return Line2D([], [], color=color, ls=dash, marker="o", ms=4, label=arm.value)


# --- Ratio by threshold. ---


def ratios(study: StudyRecord, groups: Sequence[Group]) -> Figure:
    """Ratio of median iterations to each training error, with intervals."""
    thresholds = sorted(study.config["thresholds"], reverse=True)
    baseline = study.config["compare"]["baseline"]
    lines = [(g.label, arm.value, g.ratios(arm, thresholds)) for g in groups for arm in g.others]
    single = len({value for _, value, _ in lines}) == 1
    titles = [f"{lines[0][1]} / {baseline}"] if single else [g.label for g in groups]
    figure, panels = _panels(study, titles, f"Iterations, relative to {baseline}", sharey=True)
    for axes, title in zip(panels, titles, strict=True):
        mine = [(g if single else v, r) for g, v, r in lines if single or g == title]
        for i, (label, found) in enumerate(mine):
            _draw_ratios(axes, found, *_look(i), label=label, shift=i - (len(mine) - 1) / 2)
        if (curves := _paper_curves(study)) and baseline == "relu":
            theirs = {t: paper.ratio(curves, "relu", "tanh", t) for t in thresholds}
            _draw_ratios(axes, theirs, PAPER, "-", label="the paper's, tanh / relu", shift=0)
        axes.axhline(1, color="#222222", lw=0.8, ls=":")
        axes.set(yscale="log", xlabel="training error")
        axes.invert_xaxis()
        axes.xaxis.set_major_locator(FixedLocator(thresholds))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 50]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}×"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
    panels[0].set_ylabel("ratio of median iterations")
    return figure


def _draw_ratios(
    axes: Axes, found: dict[float, Ratio], color: str, dash: Any, *, label: str, shift: float
) -> None:
    x = np.array(list(found)) + 0.003 * shift
    y = np.array([r.value if 0 < r.value < math.inf else math.nan for r in found.values()])
    axes.plot(x, y, color=color, ls=dash, marker="o", ms=4, lw=1.3, label=label)
    for at, r in zip(x, found.values(), strict=True):
        if r.value == math.inf and r.at_least < math.inf:
            axes.plot(at, r.at_least, "^", mec=color, mfc="white", ms=5.5)
        if not math.isnan(r.low):
            high = min(r.high, 1e3)
            axes.plot([at, at], [max(r.low, 1e-3), high], color=color, lw=1)


# --- Shared. ---


def _panels(
    study: StudyRecord, titles: Sequence[str], title: str, *, sharey: bool
) -> tuple[Figure, list[Axes]]:
    columns = min(3, max(1, len(titles)))
    rows = max(1, math.ceil(len(titles) / columns))
    figure = Figure(figsize=(max(5.2, 3.6 * columns), 3.1 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel().tolist()
    for axes in grid[len(titles) :]:
        axes.remove()
    for axes, text in zip(grid, titles, strict=False):
        axes.set_title(text)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.text(0.01, 0.0, caption(study), fontsize=7, color="#555555", va="bottom")
    return figure, grid[: len(titles)]


def caption(study: StudyRecord) -> str:
    """What every figure says of its data."""
    devices = sorted({trial.row["device"] for trial in study.trials})
    return f"data: {study.header['dataset']}; device: {', '.join(devices)}"


def _paper_curves(study: StudyRecord) -> dict[str, paper.Curve]:
    comparable = study.header["dataset"] in paper.DATASETS
    return paper.read_curves() if comparable and study.config["compare"]["field"] == "activation" else {}


def _look(index: int) -> tuple[str, Any]:
    return COLORS[index % len(COLORS)], DASHES[index % len(DASHES)]


def _seeds(count: int) -> str:
    return f"{count} seed" + ("s" if count != 1 else "")


def _marker(marker: str, label: str, *, fill: bool = True) -> Line2D:
    face = "#444444" if fill else "white"
    return Line2D([], [], color="#444444", marker=marker, mfc=face, ls="", ms=5, label=label)
