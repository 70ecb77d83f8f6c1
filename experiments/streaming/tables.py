"""The record of the benchmark as tables for README.md."""

from typing import Any

import numpy as np

from src.wording import table


def render(record: dict[str, Any]) -> str:
    """Both tables, and what they were measured on."""
    facts = record["provenance"]
    n = len(record["loader"][0]["seconds"])
    where = (
        f"{facts['device']}, {record['cores']} cores, {record['images']} images, batch"
        f" {record['batch']}; jax {facts['jax_version']}, commit {facts['commit']}. Medians of"
        f" n = {n} rounds, in brackets the smallest and the largest."
    )
    return "\n\n".join([where, loader(record), steps(record)])


def loader(record: dict[str, Any]) -> str:
    """Images a second, by the clock and by the core's own time."""
    lines = [
        [
            str(found["workers"]),
            rates(record["images"], found["seconds"]),
            rates(record["images"], found["core_seconds"]),
        ]
        for found in record["loader"]
    ]
    return table(["workers", "images/s", "images per second of a core"], lines)


def steps(record: dict[str, Any]) -> str:
    """Images per second in training, and the share of its time spent waiting for a batch."""
    lines = []
    for found in record["steps"]:
        images = record["batch"] * found["steps"]
        shares = np.asarray(found["waited"]) / np.asarray(found["seconds"])
        shown = f"{np.median(shares):.1%} ({shares.min():.1%} to {shares.max():.1%})"
        lines.append([f"{found['width']:g}", rates(images, found["seconds"]), shown])
    return table(["width of AlexNet", "images/s trained", "share of time the step waits"], lines)


def rates(images: int, seconds: list[float]) -> str:
    """Images a second: median and range over the rounds."""
    found = images / np.asarray(seconds)
    return f"{np.median(found):.0f} ({found.min():.0f} to {found.max():.0f})"
