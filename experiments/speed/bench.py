"""Times training steps against PyTorch, and where the time of a study goes.

    python -m experiments.speed.bench [--quick | NET ... | start]

Writes record.json beside this file and the tables of README.md.
`--quick` measures everything once and prints only. With names of networks it measures those alone,
in all their widths, with `start` the time to the first step. Each is written as soon as it is
measured; the other rows of the record stay, each of its own commit.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.speed import tables
from src import environment
from src.records import files, provenance
from src.reports import readme

HERE = Path(__file__).parent
RECORD = HERE / "record.json"
STUDY = HERE.parent / "relu_vs_tanh_early"
NETS = ("conv3", "conv3_fc64", "alexnet")
NETWORKS = (
    *("conv3", "conv3_fc64", "conv2_local2", "lenet5", "lenet5_modern"),
    *("alexnet_cifar", "alexnet_cifar@0.125", "vgg11_cifar", "vgg11_cifar@0.125"),
    *("vgg16_cifar", "vgg16_cifar@0.125", "googlenet_cifar", "googlenet_cifar@0.125", "alexnet"),
)
PARTS_OF = ("conv3", "lenet5_modern", "alexnet_cifar")
PARTS = ("train", "compile", "measure", "save")
SMALL_RUN = (
    "--config.data.name=procedural",
    "--config.max_epochs=1.0",
    "--config.racing=False",
    "--config.target_train_error=0.01",
)
FIRST_STEP = (
    "--config=configs/base.py",
    "--config.data.name=procedural",
    "--config.learning_rates=(0.01,)",
    "--config.points_per_epoch=390",
    "--config.max_epochs=0.0025",
)
STUDIES = {"one": "--config.fresh_seeds=(1,)", "several": "--config.fresh_seeds=(1,2,3)"}


def main(arguments: list[str]) -> None:
    """Measures, writes, prints."""
    environment.configure_jax()
    quick, chosen = "--quick" in arguments, [name for name in arguments if name != "--quick"]
    unknown = set(chosen) - {net.partition("@")[0] for net in NETWORKS} - {"start"}
    if unknown:
        sys.exit(f"NET = {min(unknown)} is not timed; known: {', '.join(NETWORKS)}, start")
    cores = environment.usable_cores()
    if chosen:
        record = json.loads(RECORD.read_text())
        for net in (net for net in NETWORKS if net.partition("@")[0] in chosen):
            found = measure_networks([net], cores, 7)
            rows = rows_of(record, this_machine())
            rows.update(found)
            rows.update({name: rows.pop(name) for name in NETWORKS if name in rows})
            print(tables.table(tables.networks(found, cores)), flush=True)
            keep(record, quick)
        if "start" in chosen:
            record["start"] = start_times()
            print(tables.table(tables.starting(record)))
            keep(record, quick)
    else:
        others = of_other_machines(json.loads(RECORD.read_text()))
        record = {"quick": quick, "cores": cores, **measure_all(quick), "elsewhere": others}
        print(tables.render(record))
        keep(record, quick)


def keep(record: dict[str, Any], quick: bool) -> None:
    """Writes the record and the tables, unless all was measured but once."""
    if not quick:
        files.write_atomic(RECORD, json.dumps(record, indent=1) + "\n")
        readme.fill(HERE / "README.md", "tables", tables.render(record))


def this_machine() -> str:
    """What `tables.machine` calls the machine that this runs on."""
    return tables.machine(environment.usable_cores(), provenance.provenance())


def of_other_machines(record: dict[str, Any]) -> dict[str, Any]:
    """The networks of a record by machine, without those of this one."""
    machine = tables.machine(record["cores"], record["provenance"])
    rows = {**record.get("elsewhere", {}), machine: record["networks"]}
    return {name: found for name, found in rows.items() if name != this_machine()}


def rows_of(record: dict[str, Any], machine: str) -> dict[str, Any]:
    """The networks of a record that were measured on a machine, on which the others were not."""
    if machine == tables.machine(record["cores"], record["provenance"]):
        return record["networks"]
    return record.setdefault("elsewhere", {}).setdefault(machine, {})


def measure_networks(nets: Sequence[str], cores: int, rounds: int) -> dict[str, Any]:
    """Each network's step on one core, on all, and the memory it takes; beside PyTorch's."""
    found: dict[str, Any] = {}
    for net in nets:
        print(f"{net} ...", file=sys.stderr, flush=True)
        found[net] = {
            "one": measure("compare_eager", net, 1, rounds),
            "all": measure("compare_eager", net, cores, rounds, "devices"),
            "memory": {
                framework: measure("memory", f"{framework}:{net}", 1, 2)
                for framework in ("ours", "torch")
            },
            "commit": provenance.commit(),
        }
    return found


def measure_all(quick: bool) -> dict[str, Any]:
    """Every measurement, each in processes of its own."""
    cores, rounds = environment.usable_cores(), 1 if quick else 5
    nets = NETS[:1] if quick else NETS
    found: dict[str, Any] = {"compare": {}, "devices": {}, "memory": {}}
    found["networks"] = measure_networks(NETWORKS[: 1 if quick else None], cores, rounds)
    for net in nets:
        print(f"{net}: steps ...", flush=True)
        turns = 3 if net == "alexnet" else rounds
        found["compare"][net] = measure("compare", net, cores, turns)
        if net != "alexnet":
            spread = measure("compare_eager", net, cores, rounds, "devices")
            found["devices"][net] = spread
        for framework in ("ours", "torch"):
            found["memory"][f"{net} {framework}"] = measure(
                "memory", f"{framework}:{net}", cores, 3
            )
    print("parts of a batch ...", flush=True)
    found["in_parts"] = {
        net: measure("in_parts", net, 1, min(rounds, 3)) for net in PARTS_OF[: 1 if quick else None]
    }
    print("a study ...", flush=True)
    found["one_thread"] = measure("compare_eager", "conv3", 1, rounds)
    found["side_by_side"] = side_by_side("conv3", cores, rounds)
    found["together"] = measure("together", "conv3", cores, min(rounds, 3))
    found["recording"] = measure("recording", "conv3", cores, rounds)
    found["evaluate"] = measure("evaluate", "conv3", cores, 3)
    found["start"] = start_times()
    found["run"] = small_run()
    found["study"] = study_cost()
    found["provenance"] = provenance.provenance()
    return found


def measure(
    what: str, net: str, threads: int, rounds: int, spread: str = "threads"
) -> dict[str, Any]:
    """The result of one measurement of `measure.py`."""
    arguments = command(what, net, threads, rounds, spread)
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def command(what: str, net: str, threads: int, rounds: int, spread: str = "threads") -> list[str]:
    """A process for one measurement."""
    module = ("-W", "ignore", "-m", "experiments.speed.measure")
    return [sys.executable, *module, what, net, str(threads), str(rounds), spread]


def side_by_side(net: str, count: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per step of processes of one thread, all training at once."""
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command("alone", net, 1, rounds), stdin=pipe, stdout=pipe, text=True)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return {"milliseconds": [answer["milliseconds"]["scan"] for answer in answers]}


def start_times() -> dict[str, Any]:
    """Seconds to the first step, without and with compiled code kept; and of --help."""
    found: dict[str, Any] = {"commit": provenance.commit(), "machine": this_machine()}
    for study, seeds in STUDIES.items():
        with tempfile.TemporaryDirectory() as cache:
            found[study] = {key: first_step_seconds(cache, seeds) for key in ("cold", "warm")}
    start = time.perf_counter()
    run_main(["--help"], os.environ)
    found["help"] = time.perf_counter() - start
    return found


def first_step_seconds(cache: str, seeds: str) -> float:
    """From the command until a trial has made one step and not yet measured and saved it."""
    variables = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    with tempfile.TemporaryDirectory() as workdir:
        start, ends = time.time(), []
        run_main([*FIRST_STEP, seeds, f"--workdir={workdir}/run"], variables)
        for row in read_rows(Path(workdir) / "run" / "results.csv"):
            metrics = Path(workdir) / "run" / "trials" / row["trial"] / "metrics.csv"
            after = float(row["measure_seconds"]) + float(row["save_seconds"])
            ends.append(metrics.stat().st_mtime - after)
    return min(ends) - start


def small_run() -> dict[str, float]:
    """Seconds of an epoch of every trial of `make run`, on built-in images: whole and by part."""
    with tempfile.TemporaryDirectory() as workdir:
        start = time.perf_counter()
        config = ("--config=configs/quick.py", *SMALL_RUN)
        run_main([*config, f"--workdir={workdir}/run"], os.environ)
        whole = time.perf_counter() - start
        rows = read_rows(Path(workdir) / "run" / "results.csv")
    parts = {part: sum(float(row[f"{part}_seconds"]) for row in rows) for part in PARTS}
    return {"whole": whole, "trials": len(rows), **parts}


def study_cost() -> dict[str, Any]:
    """Seconds of training, measuring and saving in all trials of the real study."""
    rows = read_rows(STUDY / "results.csv")
    parts = {part: sum(float(row[f"{part}_seconds"]) for row in rows) for part in PARTS}
    return {"study": STUDY.name, "trials": len(rows), **parts}


def run_main(arguments: list[str], variables: Any) -> None:
    """`python -m src.main`, as a user would."""
    command = [sys.executable, "-m", "src.main", *arguments]
    subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of results.csv."""
    with path.open() as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(sys.argv[1:])
