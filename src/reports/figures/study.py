"""Records to figures, as PNG and SVG.

training_error   Fig. 1 of the paper with our seeds, the paper's curves behind
learning_rates   iterations to the target against learning rate, where one was chosen
ratios           ratio of iterations against training error, the paper's beside
curves           of networks: loss and errors against iterations and seconds
final_errors, overfitting   of trials that all train equally long, see src/reports/budget_figures.py
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, PercentFormatter

from src.analysis import paper
from src.analysis import times as analysis
from src.analysis.comparison import ArmRecord, Group, make_groups, rates_were_chosen
from src.analysis.study import Study
from src.analysis.times import Ratio
from src.reports import budget, networks
from src.reports.figures import budget as budget_figures
from src.reports.figures import canvas, curves
from src.reports.figures.canvas import DARK, GREY, count_seeds, key, look

_MEASURES = {
    "online": "training error, trailing epoch",
    "frozen": "training error, parameters fixed",
}


def write_figures(study_dir: Path, study: Study) -> None:
    """Draws every figure that the study has data for into its folder."""
    groups = make_groups(study)
    figures: dict[str, Callable[..., Figure]] = {"training_error": training_error, "ratios": ratios}
    if rates_were_chosen(groups):
        figures["learning_rates"] = learning_rates
    if networks.compares_networks(study):
        figures["curves"] = curves.curves
    if budget.has_budget(study):
        seeds = count_seeds(*(len(arm.fresh) for group in groups for arm in group.arms))
        caption = _caption(study, seeds)
        figures["final_errors"] = partial(budget_figures.final_errors, caption=caption)
        figures["overfitting"] = partial(budget_figures.overfitting, caption=caption)
    for name, draw in figures.items():
        with canvas.style():
            canvas.save(draw(study, groups), study_dir / name)


# --- Fig. 1. ---


def training_error(study: Study, groups: Sequence[Group]) -> Figure:
    """Training error against epochs: every fresh seed at its arm's chosen rate."""
    target = study.config.trial.target_train_error
    curves = paper.curves_beside(study)
    tuned = rates_were_chosen(groups)
    note = "thin lines: seeds; thick: their median"
    handles = [key(f"{target:.0%} reached", color=DARK, marker="o", ls="", ms=4)]
    if curves:
        note += (
            "\ncircles: the first 10,000 images after each epoch, most likely the paper's points"
        )
        handles.append(key("read as the paper's", color=DARK, marker="o", mfc="w", ls="", ms=4))
        handles += [key(f"paper, {n}", color=GREY, ls=_paper_dash(n), lw=2.2) for n in curves]
    figure, panels = canvas.make_panels(
        [group.label for group in groups],
        title=f"Training error by epoch{', each at its own learning rate' if tuned else ''}",
        ylabel=_MEASURES["online"],
        caption=_caption(study, note),
        handles=handles,
        sharex="all",
    )
    for axes, group in zip(panels, groups, strict=True):
        for name, curve in curves.items():
            axes.plot(*curve, color=GREY, ls=_paper_dash(name), lw=2.2, zorder=1)
        axes.axhline(target, color=DARK, lw=0.8, ls=":", zorder=1)
        arms = [_draw_seeds(axes, arm, i, bool(curves)) for i, arm in enumerate(group.arms)]
        axes.legend(handles=arms, loc="upper right", fontsize=8 if len(arms) <= 4 else 6.5)
        axes.set(xlabel="epochs", xlim=(-0.01 * axes.get_xlim()[1], None))
        axes.set_ylim(max(0, min(target - 0.1, _lowest(groups) - 0.02)), 0.9)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def _lowest(groups: Sequence[Group]) -> float:
    """The lowest training error: below the target where trials do not stop there."""
    trials = [trial for group in groups for arm in group.arms for trial in arm.fresh]
    return min((trial.metrics["train_error"].min(initial=1.0) for trial in trials), default=1.0)


def _draw_seeds(axes: Axes, arm: ArmRecord, index: int, with_points: bool) -> Any:
    color, dash = look(index)
    for trial in arm.fresh:
        epochs, errors = trial.metrics["epoch"], trial.metrics["train_error"]
        axes.plot(epochs, errors, color=color, lw=0.7, alpha=0.45)
        end = trial.metrics["iteration"] == trial.row["iterations_to_target"]
        axes.plot(epochs[end], errors[end], "o", color=color, ms=4, zorder=4)
    if arm.fresh:
        shortest = min((trial.metrics["epoch"] for trial in arm.fresh), key=len)
        common = [trial.metrics["train_error"][: len(shortest)] for trial in arm.fresh]
        axes.plot(shortest, np.median(common, axis=0), color=color, ls=dash, lw=1.6)
    if arm.fresh and with_points:
        last = max(trial.metrics["epoch"].max(initial=0) for trial in arm.fresh)
        points = paper.median_points(arm.fresh, range(int(last) + 1))
        axes.plot(range(len(points)), points, "o", mec=color, mfc="w", ms=3.4, mew=0.9, zorder=3)
    label = f"{arm.value}, rate {arm.rate:g} (n = {len(arm.fresh)})"
    return key(label, color=color, ls=dash, lw=1.6)


# --- Choice of the learning rate. ---


def learning_rates(study: Study, groups: Sequence[Group]) -> Figure:
    """Iterations to the target against learning rate, in the trials the rates were chosen by."""
    arms = max((group.arms for group in groups), key=len, default=())
    ring = {"marker": "o", "ls": "", "ms": 10, "mfc": "none"}
    handles = [
        *(_arm_key(arm, i) for i, arm in enumerate(arms)),
        key("chosen", color=DARK, **ring),
        key("not reached by then", color=DARK, marker="^", ls="", mfc="w", ms=5),
    ]
    if any(t.row["status"] == "diverged" for t in study.trials):
        handles.append(key("diverged", color=DARK, marker="x", ls="", ms=5))
    figure, panels = canvas.make_panels(
        [group.label for group in groups],
        title=f"Iterations to {study.config.trial.target_train_error:.0%} training error",
        ylabel="iterations",
        caption=_caption(study, f"selection seeds: {len(study.config.study.selection_seeds)}"),
        handles=handles,
    )
    for axes, group in zip(panels, groups, strict=True):
        axes.set(xscale="log", yscale="log", xlabel="learning rate")
        for i, arm in enumerate(group.arms):
            _draw_rates(axes, arm, i, nudge=1.02 ** (i - (len(group.arms) - 1) / 2))
        rates = sorted({rate for arm in group.arms for rate in arm.grid})
        axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)
        axes.xaxis.set(major_locator=FixedLocator(rates), minor_locator=NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.yaxis.set(major_locator=LogLocator(subs=(1, 2, 3, 5)), minor_locator=NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    return figure


def _arm_key(arm: ArmRecord, index: int) -> Any:
    color, dash = look(index)
    return key(arm.value, color=color, ls=dash, marker="o", ms=4, lw=1.4)


def _draw_rates(axes: Axes, arm: ArmRecord, index: int, *, nudge: float) -> None:
    color, dash = look(index)
    trials = arm.selection or arm.fresh
    for row in (trial.row for trial in trials):
        rate, reached = row["learning_rate"] * nudge, row["iterations_to_target"]
        if row["status"] == "diverged":
            top = axes.get_xaxis_transform()
            axes.plot(rate, 0.97 - 0.05 * index, "x", color=color, ms=5, mew=1.3, transform=top)
        elif reached < math.inf:
            axes.plot(rate, reached, "o", color=color, ms=4)
        else:
            axes.plot(rate, row["iterations"], "^", mec=color, mfc="w", ms=5.5, zorder=3)
    medians = arm.choice.medians if arm.choice else {}
    line = [(rate * nudge, n) for rate, n in medians.items() if n < math.inf]
    axes.plot([at for at, _ in line], [n for _, n in line], color=color, ls=dash, lw=1.4)
    at_rate = [t.row for t in trials if t.row["learning_rate"] == arm.rate]
    if arm.choice and all(row["status"] != "diverged" for row in at_rate):
        middle = analysis.median(min(r["iterations_to_target"], r["iterations"]) for r in at_rate)
        axes.plot(arm.rate * nudge, middle, "o", mec=color, mfc="none", ms=11, mew=1.3)


# --- Ratio by threshold. ---


def ratios(study: Study, groups: Sequence[Group]) -> Figure:
    """Ratio of median iterations to each training error, with intervals."""
    thresholds = sorted(study.config.study.thresholds, reverse=True)
    baseline = study.config.study.compare.baseline
    lines = [(g.label, arm.value, g.ratios(arm, thresholds)) for g in groups for arm in g.others]
    single = len({value for _, value, _ in lines}) == 1  # then a line per group, else per value
    names = list(dict.fromkeys(group if single else value for group, value, _ in lines))
    looks = {name: look(i if single else i + 1) for i, name in enumerate(names)}
    theirs = paper.ratios_beside(study, thresholds)
    handles = [key(name, color=c, ls=d, marker="o", ms=4, lw=1.5) for name, (c, d) in looks.items()]
    if theirs:
        handles.append(key("paper, tanh / relu", color=GREY, marker="o", ms=4, lw=2.2))
    titles = [f"{lines[0][1]} / {baseline}"] if single else [group.label for group in groups]
    figure, panels = canvas.make_panels(
        titles,
        title=f"Iterations to a training error, relative to {baseline}",
        ylabel="ratio of median iterations",
        caption=_caption(
            study,
            "bars: 95% bootstrap interval of the ratio of medians, "
            + count_seeds(*(len(arm.fresh) for group in groups for arm in group.arms))
            + "\nopen triangle: one of the two did not get there, the ratio lies beyond",
        ),
        handles=handles,
    )
    for axes, title in zip(panels, titles, strict=True):
        _draw_ratios(axes, theirs, GREY, "-", lw=2.2)
        shown = [line for line in lines if single or line[0] == title]
        for i, (group, value, found) in enumerate(shown):
            shift = min(0.004, 0.018 / len(shown)) * ((len(shown) - 1) / 2 - i)
            _draw_ratios(axes, found, *looks[group if single else value], shift=shift)
        axes.axhline(1, color=DARK, lw=0.8, ls=":", zorder=1)
        _scale_ratios(axes, thresholds)
    everything = [theirs, *(found for _, _, found in lines)]
    panels[0].set_ylim(_ratio_limits([r for found in everything for r in found.values()]))
    return figure


def _draw_ratios(
    axes: Axes,
    found: Mapping[float, Ratio],
    color: str,
    dash: Any,
    *,
    shift: float = 0.0,
    lw: float = 1.5,
) -> None:
    exact = {at + shift: r.value for at, r in found.items() if 0 < r.value < math.inf}
    if exact:
        axes.plot(list(exact), list(exact.values()), color=color, ls=dash, lw=lw)
    for at, r in found.items():
        marker = {math.inf: "^", 0: "v"}.get(r.value, "o")
        face = color if marker == "o" else "w"
        axes.plot(at + shift, _known(r) or math.nan, marker, mec=color, mfc=face, ms=5, zorder=3)
        if _known(r) and not math.isnan(r.low):
            low, high = max(r.low, 1e-9), min(r.high, 1e9)  # open ends run out of the panel
            axes.plot([at + shift] * 2, [low, high], color=color, lw=2.5, alpha=0.35)


def _known(r: Ratio) -> float:
    """The ratio, or the bound known of it; 0 where nothing is."""
    bound = {math.inf: r.at_least, 0: r.at_most}.get(r.value, r.value)
    return bound if 0 < bound < math.inf else 0.0


def _ratio_limits(shown: Sequence[Ratio]) -> tuple[float, float]:
    bounds = [x for r in shown for x in (_known(r), r.low, r.high)]
    finite = [1.0, *(x for x in bounds if 0 < x < math.inf)]
    return min(finite) / 1.25, max(finite) * 1.25


def _scale_ratios(axes: Axes, thresholds: Sequence[float]) -> None:
    axes.set(yscale="log", xlabel="training error")
    axes.yaxis.set(major_locator=LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set(minor_locator=NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
    axes.set_xlim(max(thresholds) + 0.015, min(thresholds) - 0.015)
    axes.xaxis.set_major_locator(FixedLocator(list(thresholds)))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _paper_dash(name: str) -> Any:
    return look(("relu", "tanh").index(name))[1]


def _caption(study: Study, note: str) -> str:
    """What a figure says of its data and machine."""
    dataset = study.header["dataset"]
    devices = ", ".join(sorted({trial.row["device"] for trial in study.trials}))
    comparable = dataset in paper.DATASETS
    warning = "" if comparable else " (not CIFAR-10: the paper's curves are left out)"
    return f"data: {dataset}{warning}; device: {devices or 'none yet'}\n{note}"
