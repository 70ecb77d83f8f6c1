"""Runs a study: trains its trials, then writes report.md and the figures.

    python -m src.main --config=configs/relu_vs_tanh.py

The same command again goes on where it stopped: finished trials are not repeated.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from absl import app, flags

from src import environment
from src.config import flags as command_line


def main(argv: list[str]) -> int:
    """Checks everything that can be checked, then runs the study and reports."""
    del argv
    environment.configure_jax()
    environment.silence_orbax()
    # These start JAX, whose environment is set now.
    from src import data  # noqa: PLC0415
    from src.config import checks  # noqa: PLC0415
    from src.records import files, locks  # noqa: PLC0415
    from src.study import runner  # noqa: PLC0415

    refusals = (
        command_line.FlagError,
        checks.ConfigError,
        data.DataError,
        locks.InUseError,
        files.RecordError,
        runner.StudyError,
    )
    try:
        studies = command_line.studies()
        for config, _ in studies:
            checks.check_config(config)
        work = _list_trials if command_line.dry_run() else _run
        for config, workdir in studies:
            work(config, workdir)
        return 0
    except refusals as error:
        return _refuse(str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _refuse(f"{error.strerror or error}{where}; what was complete stays complete")
    except runner.Stopped:
        print(f"Stopped and saved. To go on: {_command()}")
        return 130


def _run(config: dict[str, Any], workdir: Path) -> None:
    import jax  # noqa: PLC0415

    from src import data  # noqa: PLC0415
    from src.config import checks  # noqa: PLC0415
    from src.records import provenance  # noqa: PLC0415
    from src.reports import compose as report  # noqa: PLC0415
    from src.study import runner  # noqa: PLC0415

    checks.check_devices(config, jax.device_count())
    dataset = data.load(
        config["data"]["name"],
        config["data"]["dir"],
        fallback=config["data"]["fallback"],
        stream_size=config["data"]["stream_size"],
    )
    checks.check_data(config, data.image_shape(dataset), data.count(dataset.train))
    for line in data.remarks(
        dataset,
        config["validation_images"],
        config["train_images"],
        in_file_order=not config["recipes"][config["recipe"]]["shuffle"],
    ):
        print(f"note: {line}", flush=True)
    if dataset.name == "procedural":
        config["data"]["name"] = dataset.name
    facts: dict[str, Any] = {"dataset": dataset.name, "digest": dataset.digest}
    facts |= {"image_shape": data.image_shape(dataset), "num_classes": dataset.num_classes}
    facts |= provenance.provenance()
    print(f"{workdir}: {dataset.name}, {facts['device']}, jax {facts['jax_version']}", flush=True)
    runner.run_study(config, workdir, facts, _workers(config))
    report.write_report(workdir)
    print(report.summary(workdir))
    print(f"Report: {workdir / 'report.md'}")


def _workers(config: dict[str, Any]) -> int:
    """Without an accelerator one single-threaded trial per core does more than one on all."""
    import jax  # noqa: PLC0415

    if config["workers"]:
        return int(config["workers"])
    alone = jax.default_backend() != "cpu" or jax.device_count() > 1
    return 1 if alone else environment.usable_cores()


def _list_trials(config: dict[str, Any], workdir: Path) -> None:
    from src.records import study as records  # noqa: PLC0415
    from src.study import plan  # noqa: PLC0415

    finished = records.read_finished(workdir) if records.holds_study(workdir) else ()
    print(f"{workdir}:")
    for line in plan.describe_plan(config, finished, _workers(config) if finished else 1):
        print(line)


def _parse_flags(argv: list[str]) -> list[str]:
    if any(argument in ("--help", "-h", "--helpfull", "--helpshort") for argument in argv[1:]):
        print(__doc__)
        print(flags.FLAGS.module_help(command_line))
        sys.exit(0)
    try:
        command_line.parse(argv)
    except command_line.FlagError as error:
        sys.exit(_refuse(str(error)))
    return argv[:1]


def _leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM and Ctrl-C before or after the trials: nothing is under way that must be saved."""
    del frame
    os.write(2, f"\nStopped. To go on: {_command()}\n".encode())
    os._exit(128 + number)


def _command() -> str:
    return " ".join(["python -m src.main", *sys.argv[1:]])


def _refuse(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    app.run(main, flags_parser=_parse_flags)
