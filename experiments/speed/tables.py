"""The record of the benchmark as tables for README.md."""

import math
from typing import Any

import numpy as np

from src import wording

NETWORKS_NOTE = (
    "Medians of interleaved rounds; ratio: of the times of one round, the median and the range."
    " Peak: of a float32 matrix product of 2048 rows in the same process, times the cores. Memory:"
    " the most that a process held that does nothing but train on one core. Load: of the machine,"
    " from before the first to after the last round; these measurements themselves add one. Commit:"
    " of the code that was measured."
)
NAMES = {
    "scan": "ours, many steps in one scan",
    "loop": "ours, one by one",
    "torch": "PyTorch, channels last",
    "torch_compiled": "PyTorch, compiled",
    "torch_graphs": "PyTorch, compiled, CUDA graphs",
}


def render(record: dict[str, Any]) -> str:
    """All tables."""
    facts = record["provenance"]
    where = (
        f"{machine(record['cores'], facts)}; jax {facts['jax_version']},"
        f" Python {facts['python']}, commit {facts['commit']}."
    )
    sections = [where, f"### Best against best, medians\n\n{table(best_against_best(record))}"]
    sections.append(
        "### Every network, one core and all\n\n"
        f"{table(networks(record['networks'], record['cores']))}\n\n{NETWORKS_NOTE}"
    )
    for elsewhere, found in record.get("elsewhere", {}).items():
        cores = int(elsewhere.partition(" ")[0])
        sections.append(f"### Elsewhere: {elsewhere}\n\n{table(networks(found, cores))}")
    for net, found in record["compare"].items():
        title = f"Training step of `{net}`, {record['cores']} threads"
        sections.append(steps(title, found, record["memory"], net))
        title = f"The same, our batch split over {record['cores']} devices of one thread each"
        if net in record["devices"]:
            sections.append(steps(title, record["devices"][net], {}, net))
    sections.append(steps("Training step of `conv3`, one thread", record["one_thread"], {}, ""))
    title = "Training step by images in work at once, one thread, ms"
    sections.append(f"### {title}\n\n{table(in_parts(record['in_parts']))}")
    sections.append(study(record))
    return "\n\n".join(sections)


def machine(cores: int, facts: dict[str, Any]) -> str:
    """Number of cores and kind of processor."""
    return f"{cores} x {facts['processor']}"


def best_against_best(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """The fastest of our ways to make a step, beside the fastest of PyTorch's."""
    rows = [("training step on all cores", "ours, ms", "PyTorch, ms", "ours by PyTorch's")]
    for net, found in record["compare"].items():
        ways = [found["milliseconds"], record["devices"].get(net, {}).get("milliseconds", {})]
        medians = [(key, float(np.median(ms))) for way in ways for key, ms in way.items()]
        ours = min(ms for key, ms in medians if not key.startswith("torch"))
        theirs = min((ms for key, ms in medians if key.startswith("torch")), default=math.nan)
        beside = ("not measured", "")
        if not math.isnan(theirs):
            beside = (f"{theirs:.1f}", f"{ours / theirs:.2f}")
        rows.append((f"`{net}`", f"{ours:.1f}", *beside))
    return rows


def networks(record: dict[str, Any], cores: int) -> list[tuple[str, ...]]:
    """A row for each: step, ratio to PyTorch's, share of the peak, memory of the process."""
    header = ("network", "one core: ours, ms", "PyTorch, ms", "ratio (range)", "of the peak")
    several = (f"{cores} cores: ours, ms", "PyTorch, ms", "ratio (range)", "of the peak")
    rows = [(*header, *several, "ours, MB", "PyTorch, MB", "load", "commit")]
    for net, found in record.items():
        name, _, width = net.partition("@")
        loads = [load for way in ("one", "all") for load in found[way]["load"]]
        rows.append(
            (
                f"`{name}`" + (f", {width} as wide" if width else ""),
                *beside_torch(found["one"], 1),
                *beside_torch(found["all"], cores),
                *(peak_memory(found["memory"][framework]) for framework in ("ours", "torch")),
                f"{min(loads):.1f} to {max(loads):.1f}",
                found["commit"],
            )
        )
    return rows


def beside_torch(found: dict[str, Any], cores: int) -> tuple[str, str, str, str]:
    """Median step of ours and of PyTorch's, their ratio, and ours as a share of the peak."""
    times = found["milliseconds"]
    ours = float(np.median(times["scan"]))
    theirs = f"{np.median(times['torch']):.1f}" if "torch" in times else "not measured"
    share = 1000 * found["gflop"] / ours / (cores * found["peak_gflops"])
    return f"{ours:.1f}", theirs, ratio(times, "scan"), f"{share:.0%}"


def peak_memory(found: dict[str, float]) -> str:
    """In MB, or nothing."""
    return f"{found['peak_mb']:.0f}" if "peak_mb" in found else ""


def steps(title: str, found: dict[str, Any], memory: dict[str, Any], net: str) -> str:
    """One row per way to train: median step, and the ratio to PyTorch's over the rounds."""
    times = found["milliseconds"]
    batch = 32 if net == "alexnet" else 128
    rows = [("", "step, ms", "images/s", "time by PyTorch's (range)", "peak memory, MB")]
    for key, name in NAMES.items():
        why = found.get(f"{key}_missing", "not installed" if key == "torch" else "")
        if key not in times and not why:
            continue
        if key not in times:
            rows.append((name, f"not measured: {why}", "", "", ""))
            continue
        step = float(np.median(times[key]))
        peak = memory.get(f"{net} {'torch' if key == 'torch' else 'ours'}", {}).get("peak_mb")
        shown = f"{peak:.0f}" if peak and key in ("scan", "torch") else ""
        rows.append((name, f"{step:.1f}", f"{1000 * batch / step:.0f}", ratio(times, key), shown))
    n = len(times["scan"])
    note = (
        f"Medians of {n} interleaved rounds; range: smallest and largest."
        f" Ours compiled in {found['compile_seconds']:.1f} s."
    )
    return f"### {title}\n\n{table(rows)}\n\n{note}"


def ratio(times: dict[str, list[float]], key: str) -> str:
    """Median and range of the times by those of PyTorch in the same round."""
    if "torch" not in times or key == "torch":
        return ""
    ratios = np.asarray(times[key]) / np.asarray(times["torch"])
    return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"


def in_parts(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Median step by how many images are in work at once."""
    counts = list(next(iter(record.values()))["milliseconds"])
    rows = [
        (f"`{net}`", *(f"{np.median(found['milliseconds'][count]):.0f}" for count in counts))
        for net, found in record.items()
    ]
    return [("", *counts[:-1], f"all {counts[-1]}"), *rows]


def study(record: dict[str, Any]) -> str:
    """Two ways to use the cores, what measuring costs, and where a run's time goes."""
    return "\n\n".join(
        (
            f"### `conv3` on all cores of a study\n\n{table(side_by_side(record))}",
            f"### Measuring and saving, `conv3`\n\n{table(measuring(record))}",
            f"### From the command to the first step\n\n{table(starting(record))}",
            f"### Where the time of `make run` goes, one epoch\n\n{table(whole_run(record))}",
        )
    )


def side_by_side(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Milliseconds of machine per step."""
    cores = record["cores"]
    one = np.median(record["compare"]["conv3"]["milliseconds"]["scan"])
    split = np.median(record["devices"]["conv3"]["milliseconds"]["scan"])
    together = record["together"]["milliseconds"]["together"]
    many = np.median(record["side_by_side"]["milliseconds"]) / cores
    return [
        ("", "ms per step, over all trials"),
        (f"one trial on {cores} threads", f"{one:.1f}"),
        (f"one trial on {cores} devices of one thread each", f"{split:.1f}"),
        (f"{cores} trials of one thread each (default)", f"{many:.1f}"),
        ("2 trials in one program (vmap)", f"{np.median(together):.1f}"),
    ]


def measuring(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Cost of each kind of measuring."""
    times = record["recording"]["milliseconds"]
    cost = np.median(np.asarray(times["with"]) / np.asarray(times["without"])) - 1
    seconds, whole = record["evaluate"]["seconds"], record["study"]
    share = (whole["measure"] + whole["save"]) / whole["train"]
    return [
        ("", "cost"),
        ("online training error, of a step", f"{cost:+.1%}"),
        ("test error: 10,000 images", f"{seconds['evaluate']:.2f} s"),
        ("saving a checkpoint", f"{seconds['save']:.2f} s"),
        (f"both, in the {whole['trials']} trials of {whole['study']}", f"{share:.1%} of training"),
    ]


def starting(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Seconds until the first step has been made."""
    found = record["start"]
    where = f"{found['machine']}, commit {found['commit']}"
    rows = [(f"seconds; {where}", "first time", "second, compiled code kept")]
    for study, title in (("one", "a study of one trial"), ("several", "of several")):
        rows.append((title, *(f"{found[study][key]:.1f}" for key in ("cold", "warm"))))
    return [*rows, ("`--help`", f"{found['help']:.1f}", "")]


def whole_run(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Seconds of each part, and its share of the time of all processes."""
    run, cores = record["run"], record["cores"]
    total = run["whole"] * cores
    parts = {part: run[part] for part in ("train", "compile", "measure", "save")}
    parts["starting, data, report, waiting for the last trial"] = total - sum(parts.values())
    rows = [(name, f"{s:.1f}", f"{s / total:.1%}") for name, s in parts.items()]
    whole = f"{run['trials']} trials, {run['whole']:.0f} s on {cores} cores"
    return [(whole, "seconds of a core", "share"), *rows]


def accelerator(found: dict[str, Any]) -> str:
    """Steps on a GPU beside PyTorch's, and trials in one program beside one by one."""
    facts = found["provenance"]
    where = (
        f"{facts['device']}; jax {facts['jax_version']}, Python {facts['python']},"
        f" commit {facts['commit']}."
    )
    rows = [("step, ms", *NAMES.values())]
    for net, each in found["steps"].items():
        times = each["milliseconds"]
        cells = [f"{float(np.median(times[k])):.3f}" if k in times else "" for k in NAMES]
        rows.append((f"`{net}`", *cells))
    kept = [0, *(i for i in range(1, len(rows[0])) if any(row[i] for row in rows[1:]))]
    several = list(next(iter(found["together"].values()))["milliseconds"])
    counts = [("a trial's share of a step, ms, by trials in one program", *several)]
    for net, each in found["together"].items():
        times = each["milliseconds"]
        counts.append((f"`{net}`", *(f"{float(np.median(times[n])):.3f}" for n in several)))
    steps_table = table([tuple(row[i] for i in kept) for row in rows])
    return f"{where}\n\n{steps_table}\n\n{table(counts)}"


def table(rows: list[tuple[str, ...]]) -> str:
    """Markdown; the first row is the header."""
    return wording.table(rows[0], rows[1:])
