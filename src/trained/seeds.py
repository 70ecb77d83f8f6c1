"""Trials that are seeds of one network: alike in all but their seeds, and no seed twice."""

from collections.abc import Sequence

from src.errors import LabError
from src.fields import plain
from src.records.trial import parse_trial_name
from src.trained.network import Trained
from src.trees import dotted, leaves


def check_seeds(networks: Sequence[Trained]) -> None:
    """Refuses trials that are not seeds of one network: together they say nothing about it.

    Raises:
        LabError: If two trials have one seed, other settings or other data.
    """
    first = networks[0]
    for number, other in enumerate(networks[1:], start=1):
        if differing := _difference(first, other):
            raise LabError(
                f"{other.trial_dir} is no seed of the network of {first.trial_dir}: {differing};"
                " give trials of one arm"
            )
        for earlier in networks[:number]:
            if earlier.seed == other.seed:
                raise LabError(
                    f"seed {other.seed} is given twice, as {earlier.trial_dir} and as"
                    f" {other.trial_dir}; give each seed once"
                )


def _difference(first: Trained, other: Trained) -> str:
    """The first thing but the seed in which two trials differ; "" if there is none."""
    here, there = (_about(each) for each in (first, other))
    for name in here | there:
        if here.get(name) != there.get(name):
            return f"{name} is {there.get(name)!r}, not {here.get(name)!r}"
    return ""


def _about(network: Trained) -> dict[str, object]:
    settings = leaves(plain(network.settings))
    rate = parse_trial_name(network.of.trial).rate
    about = {dotted(path): value for path, value in settings}
    return about | {
        "the learning rate": float(rate),
        "the digest of the data": network.of.data[:12],
    }
