"""The report of an evaluation, from its record alone."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from src.analysis.shares import Paired, Share
from src.training.evaluation import TOP
from src.wording import VIEWS, counted, p_value, percent, points, points_ends, table

WHOLE_CONFUSION = 12  # classes up to which it is printed in full
WORST = 20  # pairs of classes that are printed otherwise
PAIRED_TEXT = (
    "The same images, so the difference is of those that one gets wrong and the other does not:"
    " 95% intervals by Newcombe's method 10, McNemar's test exact."
)

Record = dict[str, Any]


def compose(record: Mapping[str, Any]) -> str:
    """The text of report.md."""
    names = [network["name"] for network in record["networks"]]
    subject = names[0] if len(names) == 1 else f"{len(names)} networks and their average"
    rows = [
        [name, VIEWS[int(number)], *(_cell(errors[top]) for top in _tops(record))]
        for name, found in [*_alone(record), *_together(record)]
        for number, errors in found.items()
    ]
    sections = [
        f"# {subject} on {record['dataset']}",
        "\n".join(f"- {line}" for line in describe(record)),
        "## Errors",
        table(["network", "views averaged", *_tops(record).values()], rows),
        "Intervals are Wilson's at 95%: they cover the choice of the test images, not the seed of"
        " a training.",
        *_paired(record),
        "## What the networks were given",
        "\n".join(_given(network) for network in record["networks"]),
        "## What was taken for what",
        _confusions(record),
        *_features(record),
        "## Made by",
        ", ".join(f"{key} {record['made_by'][key]}" for key in ("device", "jax_version", "commit"))
        + f"; data digest {record['digest'][:12]}.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def describe(record: Mapping[str, Any]) -> list[str]:
    """The answer: a line for all networks together, then one for each."""
    lines = []
    for name, found in [*_together(record), *_alone(record)]:
        said = [
            f"{VIEWS[int(number)]}: {_words(errors, _tops(record))}"
            for number, errors in found.items()
        ]
        lines.append(f"**{name}**, {counted(record['images'], 'image')}: {'; '.join(said)}.")
    for network in record["networks"]:
        if "published" in network:
            title = network["of"].removeprefix(f"{network['name']}: ")
            lines.append(f"Published for {title}: {network['published']}.")
        if "guessed" in network:
            lines.append(f"**{network['name']}**: {network['guessed']}.")
    return lines


def _tops(record: Mapping[str, Any]) -> dict[str, str]:
    """The errors that say something, with their words: of five outputs all are among five."""
    return {"top1": "top-1 error"} | ({"top5": "top-5 error"} if record["outputs"] > TOP else {})


def _alone(record: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The errors of each network, by its name."""
    return [(network["name"], network["errors"]) for network in record["networks"]]


def _together(record: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The errors of the networks' averaged softmax, where there are several networks."""
    count = len(record["networks"])
    return [(f"softmax of {count} networks averaged", record["together"])] if count > 1 else []


def _paired(record: Mapping[str, Any]) -> list[str]:
    """More views beside fewer and the average beside each network, image by image."""
    sections = []
    if record["by_views"]:
        names = [network["name"] for network in record["networks"]]
        few, *_, many = (VIEWS[int(number)] for number in record["networks"][0]["errors"])
        rows = [
            [name, *_pair(Paired(**found))]
            for name, found in zip(names, record["by_views"], strict=True)
        ]
        header = ["network", "top-1 error", f"wrong in {few} alone", f"wrong in {many} alone"]
        sections += [f"## In {many} beside {few}", table([*header, "McNemar"], rows)]
    if record["paired"]:
        rows = [
            [network["name"], VIEWS[int(number)], *_pair(Paired(**found[i]))]
            for i, network in enumerate(record["networks"])
            for number, found in record["paired"].items()
        ]
        header = ["beside", "views averaged", "top-1 error of the average", "wrong there alone"]
        header += ["wrong in the average alone", "McNemar"]
        sections += ["## The average beside each network", table(header, rows)]
    return [*sections, PAIRED_TEXT] if sections else []


def _pair(found: Paired) -> list[str]:
    ends = points_ends(found.low, found.high)
    counts = [f"{number:,}" for number in (found.only_first, found.only_second)]
    return [f"{points(found.value)} points ({ends})", *counts, p_value(found.p)]


def _words(errors: Mapping[str, Any], tops: Collection[str]) -> str:
    first = errors["top1"]
    top5 = f", top-5 {errors['top5']['value']:.2%}" if "top5" in tops else ""
    return (
        f"{first['wrong']:,} wrong, {first['value']:.2%} ({first['low']:.2%} to"
        f" {first['high']:.2%}){top5}"
    )


def _cell(found: Mapping[str, Any]) -> str:
    share = Share(**found)
    return f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%}); {share.wrong:,}"


def _given(network: Mapping[str, Any]) -> str:
    lines = [f"- {network['of']}; {network['parameters']} parameters.", f"  {network['given']}."]
    if "train_error" in network:
        lines.append(f"  Training error at the end: {percent(network['train_error'])}.")
    if "sha256" in network:
        lines.append(f"  SHA-256 {network['sha256']}.")
    lines += [f"  Not used: {network['unused']}."] if "unused" in network else []
    return "\n".join(lines)


def _confusions(record: Mapping[str, Any]) -> str:
    """Counts of the average in the most views: all of them for few classes, else the largest."""
    names, counts = record["class_names"], np.array(record["confusion"])
    answers = [*names, "another"] if counts[:, -1].any() else names
    if len(names) <= WHOLE_CONFUSION:
        rows = [
            [name, *(str(n) for n in row[: len(answers)])]
            for name, row in zip(names, counts.tolist(), strict=True)
        ]
        return table(["class \\ taken for", *answers], rows)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [divmod(int(place), counts.shape[1]) for place in largest]
    rows = [[names[a], [*names, "another"][b], str(wrong[a, b])] for a, b in pairs if wrong[a, b]]
    return table(["class", "taken for", "images"], rows)


def _features(record: Mapping[str, Any]) -> list[str]:
    if "features" not in record:
        return []
    found = record["features"]
    shape = " x ".join(map(str, found["shape"]))
    return [
        "## Features",
        f"`features.npz`: {shape} outputs of `{found['layer']}` of {found['network']}, before the"
        " activation behind it; `labels`, `class_names`.",
    ]
