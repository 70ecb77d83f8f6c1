"""Runs a study: trains its trials, then writes report.md and the figures.

    python -m src.main --config=configs/relu_vs_tanh.py

The same command again goes on where it stopped: finished trials are not repeated.
"""

import sys
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from src import environment

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The study: a Python file such as configs/relu_vs_tanh.py. Config files are code and are run.\n"
    "Any field can be changed: --config.max_epochs=5 --config.fresh_seeds='(1,2,3)'",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the records are kept; default: runs/<name of the config>."
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "List the trials, their number and rough cost; run and write nothing."
)


def main(argv: list[str]) -> int:
    """Checks everything that can be checked, then runs the study and reports."""
    del argv
    config = _CONFIG.value.to_dict()
    environment.configure_jax()
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every file it writes
    # These start JAX, whose environment is set now.
    from src import config as checks  # noqa: PLC0415
    from src import data, records, runner  # noqa: PLC0415

    try:
        checks.check_config(config)
        if _DRY_RUN.value:
            return _list_trials(config)
        return _run(config, _workdir())
    except (checks.ConfigError, data.DataError, records.RecordError, runner.StudyError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.strerror}: {error.filename}; what was complete stays complete")
    except runner.Stopped:
        print(f"Stopped and saved. To go on: {' '.join(['python -m src.main', *sys.argv[1:]])}")
        return 130


def _run(config: dict[str, Any], workdir: Path) -> int:
    import jax  # noqa: PLC0415

    from src import config as checks  # noqa: PLC0415
    from src import data, provenance, report, runner  # noqa: PLC0415

    checks.check_devices(config, jax.device_count())
    dataset = data.load(
        config["data"]["name"], config["data"]["dir"], fallback=config["data"]["fallback"]
    )
    checks.check_images(config, *dataset.train.images.shape[1:3])
    if dataset.name == "procedural":
        config["data"]["name"] = dataset.name
    facts: dict[str, Any] = {"dataset": dataset.name, "digest": dataset.digest}
    facts |= provenance.provenance()
    print(f"{workdir}: {dataset.name}, {facts['device']}, jax {facts['jax_version']}", flush=True)
    runner.run_study(config, workdir, facts, _workers(config))
    report.write_report(workdir)
    print(report.summary(workdir))
    print(f"Report: {workdir / 'report.md'}")
    return 0


def _workers(config: dict[str, Any]) -> int:
    """Without an accelerator one single-threaded trial per core does more than one on all."""
    import jax  # noqa: PLC0415

    if config["workers"]:
        return int(config["workers"])
    alone = jax.default_backend() != "cpu" or jax.device_count() > 1
    return 1 if alone else environment.usable_cores()


def _list_trials(config: dict[str, Any]) -> int:
    from src import study  # noqa: PLC0415

    total = 0
    for arm, selection, fresh in study.planned_trials(config):
        rates = ", ".join(f"{rate:g}" for rate in arm.learning_rates)
        print(f"{arm.name}: {selection} trials to choose a rate of {rates}; {fresh} fresh at it")
        total += selection + fresh
    epochs = total * config["max_epochs"]
    print(
        f"{total} trials, at most {epochs:g} epochs"
        + (", fewer by racing" if config["racing"] else "")
    )
    return 0


def _workdir() -> Path:
    if _WORKDIR.value:
        return Path(_WORKDIR.value)
    return Path("runs") / Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem


def _parse_flags(argv: list[str]) -> list[str]:
    """Flags of the command line; what is wrong with them is said in one line, exit code 2."""
    if any(argument in ("--help", "-h", "--helpfull", "--helpshort") for argument in argv[1:]):
        print(__doc__)
        print(flags.FLAGS.module_help(sys.modules[__name__]))
        sys.exit(0)
    try:
        rest = flags.FLAGS(argv)
        if _CONFIG.value is None:
            raise flags.Error("--config is missing; for example --config=configs/relu_vs_tanh.py")
        if rest[1:]:
            raise flags.Error(f"unexpected argument {rest[1]!r}; flags start with --")
    except Exception as error:  # config files are code: anything may come
        sys.exit(_refuse(" ".join(str(error).split())))
    return rest


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
