"""Captions of a study's figures."""

from src.analysis import paper
from src.analysis.effects import Analysis
from src.analysis.groups import ArmRecord


def caption(analysis: Analysis, note: str) -> str:
    """A caption: data and machine on the first line, what the figure shows on the others."""
    comparable = analysis.study.header["dataset"] in paper.DATASETS
    warning = "" if comparable else " (not CIFAR-10: the paper's curves are left out)"
    data = f"data: {analysis.study.trained_on}{warning}"
    return f"{data}; device: {analysis.devices or 'none yet'}\n{note}"


def seeds(analysis: Analysis) -> str:
    """The number of fresh seeds of the arms, such as `3 seeds` or `2 to 3 seeds`."""
    counts = [len(arm.fresh) for group in analysis.groups for arm in group.arms]
    low, high = min(counts), max(counts)
    return (f"{high}" if low == high else f"{low} to {high}") + (" seed" if high == 1 else " seeds")


def diverged(arm: ArmRecord) -> str:
    """How many of an arm's fresh seeds diverged, such as `1 of 3 diverged`; "" if none did."""
    number = len(arm.fresh) - len(arm.not_diverged)
    return f"{number} of {len(arm.fresh)} diverged" if number else ""


def left_out(analysis: Analysis, what: str) -> str:
    """Says that means or medians leave out the seeds that diverged; "" if none did."""
    any_did = any(diverged(arm) for group in analysis.groups for arm in group.arms)
    return f"; {what} without those that diverged" if any_did else ""
