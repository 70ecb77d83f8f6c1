"""From a command line to a finished study: checks all that can be checked, runs, reports."""

import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax

from src import data, doors, environment, hosts, own
from src.analysis.measures import check_measures
from src.config import checks, effects, flags, idle
from src.config.config import Config
from src.errors import LabError, Stopped
from src.paths import local_path
from src.records import files, provenance
from src.records import study as records
from src.records.trial import TrialRecord
from src.study import plan, progress_words, question, runner
from src.study.engines import local
from src.study.screen import Screen
from src.training import step
from src.trees import Tree, leaves
from src.weights import start

HELP = ("--help", "-h", "--helpfull", "--helpshort")


def main(argv: Sequence[str], usage: str) -> int:
    """Does what the command line asks for.

    Args:
        argv: The command line, without the name of the program.
        usage: First lines of `--help`.

    Returns:
        Exit code: 0 when finished, 130 if it was stopped and can go on, 2 if another process waits
        to hear why this one refused.

    Raises:
        LabError: If the command line, the config or the data cannot be used.
    """
    if any(argument in HELP for argument in argv):
        return _help(argv, usage)
    try:
        request = flags.parse(argv)
        trees = request.studies()
        # Functions of one's own are tried on devices, which several processes have once they met.
        later = not request.dry_run and request.hosts != "none" and any(map(_has_own, trees))
        studies = [] if later else _checked(request, trees)
    except LabError as error:
        if (how := flags.hosts_of(argv)) == "none":
            raise
        doors.refuse(str(error))
        hosts.give_up(how, doors.REFUSED)
        return doors.REFUSED
    if request.dry_run:
        for config, workdir in studies:
            _list_trials(config, workdir)
        return 0
    provenance.loaded_commit()  # Workers that are copies of this process have it too.
    hosts.join(request.hosts)
    try:
        # A process that called `give_up` is heard here.
        studies = hosts.together(lambda: studies or _checked(request, trees))
        hosts.together(_check_commit)
        if any(config.runtime.workers > 1 for config, _ in studies):
            environment.share_accelerator()
        if len(studies) > 1:
            _start_jax()
            hosts.together(lambda: _check_all(studies))
        for config, workdir in studies:
            with _start_workers(config, request.hosts) as ready:
                _run(config, workdir, ready)
    except Stopped:
        print(f"Stopped and saved. To go on: {flags.command(argv)}")
        return doors.STOPPED
    except Exception as error:
        if request.hosts != "none":
            _end_all(error)
        raise
    return 0


def _has_own(study: tuple[Tree, Path]) -> bool:
    """Whether a study's config names a function or class of the user's own."""
    values = (value for _, value in leaves(study[0]))
    named = (each if isinstance(each, tuple | list) else (each,) for each in values)
    return any(own.is_own(str(name)) for names in named for name in names)


def _checked(
    request: flags.Request, trees: Sequence[tuple[Tree, Path]]
) -> list[tuple[Config, Path]]:
    """Reads the configs and checks all that needs no data."""
    studies = [(Config.read(tree), workdir) for tree, workdir in trees]
    for config, _ in studies:
        check_measures(config)
        question.check_readable(config)
    configs = [config for config, _ in studies]  # What one of them uses is used.
    new = [config for config, workdir in studies if not _is_begun(config, workdir)]
    idle.refuse_idle(request, configs, grids_alone=len(new) < len(configs))
    if new:
        idle.refuse_switched_off(configs, request, new)
        effects.refuse_late(configs, request, new)
        effects.refuse_unknown(new)
    if not request.dry_run:  # A dry run is one process.
        _check_hosts(request.hosts, [config for config, _ in studies])
    return studies


def _is_begun(config: Config, workdir: Path) -> bool:
    """Whether the folder holds this very study, which goes on as it was begun."""
    if not records.holds_study(workdir):
        return False
    try:
        question.check_same(config, records.read_study_header(workdir), workdir)
    except question.StudyError:
        return False
    return True


def _check_hosts(how: str, configs: Sequence[Config]) -> None:
    for config in configs:
        runtime = config.runtime
        several = runtime.workers > 1 or runtime.together > 1
        if how != "none" and (several or runtime.engine != "local"):
            raise hosts.HostError(
                f"--hosts={how} trains one trial at a time on all processes: it goes with"
                f" config.workers = 1, config.together = 1 and config.engine = 'local', not"
                f" {runtime.workers}, {runtime.together} and {runtime.engine!r}"
            )
        if how != "none" and any(a.settings.pretraining.method != "none" for a in config.arms):
            raise hosts.HostError(
                f"--hosts={how} cannot pre-train: make the stacks in one process first, or set"
                " config.pretraining.method = 'none'"
            )


def _check_commit() -> None:
    """Refuses a process that has another commit than the first one, where both know theirs.

    Each trial compares the user's own functions.
    """
    if hosts.count() == 1:
        return
    mine = provenance.commit()
    first = hosts.tell(mine)
    if mine != first and "unknown" not in (mine, first):
        raise hosts.HostError(
            f"process {hosts.index()} runs the code of commit {mine}, process 0 that of {first};"
            " give every process the same files"
        )


def _end_all(error: Exception) -> None:
    """Says what went wrong on this process and ends it; the others end with it."""
    if (line := doors.explain(error)) is None:
        traceback.print_exception(error)
    else:
        doors.refuse(line)
    sys.stdout.flush()
    sys.stderr.flush()
    hosts.leave(doors.REFUSED)


def _help(argv: Sequence[str], usage: str) -> int:
    """Prints every flag and field, with the values of the named config file or the defaults."""
    rest = [argument for argument in argv if argument not in HELP]
    named = any(re.match("--?config", argument) for argument in rest)
    tree = flags.parse(rest).studies()[0][0] if named else None
    print(usage)
    print("\n".join(flags.help_text(tree)))
    return 0


def _start_workers(
    config: Config, how_hosts: str
) -> AbstractContextManager[local.LocalEngine | None]:
    """Starts worker processes before JAX, where that can be done: they are ready sooner."""
    workers = _workers_on_cpu(config)
    several = workers > 1 and config.runtime.engine == "local" and how_hosts == "none"
    return local.fork_engine(workers) if several else nullcontext()


def _check_all(studies: Sequence[tuple[Config, Path]]) -> None:
    """Looks at the data and the folder of every study, before the first trial of one."""
    dataset: Any = None
    for number, (config, workdir) in enumerate(studies):
        _check_devices(config)
        if not number or config.trial.data != studies[number - 1][0].trial.data:
            dataset = _load(config)
        _check_data(config, dataset)
        if hosts.is_leader():
            _check_folder(config, workdir, dataset, [folder for _, folder in studies[:number]])
        if hosts.is_leader() and records.holds_study(workdir):
            question.check_same(config, records.read_study_header(workdir), workdir)


def _start_jax() -> None:
    environment.start_jax()
    if hosts.count() > 1:
        step.connect()


def _run(config: Config, workdir: Path, ready: local.LocalEngine | None) -> None:
    _start_jax()
    dataset = hosts.together(lambda: _checked_data(config))
    if not hosts.is_leader():
        return runner.follow_study()
    for line in _remarks(config, dataset):
        print(f"note: {line}", flush=True)
    if dataset.name == "procedural":
        config = config.with_data(dataset.name)
    facts: dict[str, Any] = {"dataset": dataset.name, "digest": dataset.digest}
    facts |= {"image_shape": data.image_shape(dataset), "num_classes": dataset.num_classes}
    facts |= provenance.provenance()
    print(f"{workdir}: {dataset.name}, {facts['device']}, jax {facts['jax_version']}", flush=True)
    _check_folder(config, workdir, dataset)
    workers = _workers(config)
    if ready and ready.workers != workers:  # One trial on several devices needs none of them.
        ready.executor.shutdown()
        ready = None
    runner.run_study(config, workdir, facts, workers, ready)
    from src.reports import compose  # noqa: PLC0415  (Matplotlib takes half a second)

    screen = Screen()
    for line in compose.summary(compose.write_report(workdir)).splitlines():
        screen.say(line)
    screen.say(progress_words.where_to_look(workdir))


def _remarks(config: Config, dataset: Any) -> list[str]:
    """What a person should know about the images and epochs of the arms, each line once."""
    trials = [arm.settings for arm in config.arms]
    asked = [
        (t.validation_images, t.train_images, t.labels, t.recipe.order == "file") for t in trials
    ]
    lines = [
        line
        for *counts, in_file_order in dict.fromkeys(asked)
        for line in data.remarks(dataset, *counts, in_file_order=in_file_order)
    ]
    lines += [
        f"config.max_epochs = {t.max_epochs:g} is over before the window of config.window_epochs ="
        f" {t.window_epochs:g} is full: no training error of the window is recorded"
        for t in trials
        if t.max_epochs < t.window_epochs
    ]
    return list(dict.fromkeys(lines))


def _check_folder(config: Config, workdir: Path, dataset: Any, before: Sequence[Path] = ()) -> None:
    """Refuses a study that could not write what it makes, or not begin with the weights it names.

    Args:
        config: The study's config.
        workdir: Its folder.
        dataset: Its data.
        before: Folders of the studies that are run first; weights in them may not be there yet.

    Raises:
        LabError: Naming the file or field.
    """
    files.refuse_unwritable(workdir, "choose another --workdir")
    for folder in (workdir.resolve(), *workdir.resolve().parents):
        if folder.name == records.TRIALS and records.holds_study(folder.parent):
            raise LabError(f"{workdir} lies in the study {folder.parent}; choose another --workdir")
    _refuse_foreign(workdir)
    if records.holds_study(workdir):  # Each trial that begins says the rest by itself.
        return
    settings = [arm.settings for arm in config.arms]
    if config.runtime.stacks_dir and any(each.pretraining.method != "none" for each in settings):
        stacks = local_path(config.runtime.stacks_dir, "config.stacks_dir")
        files.refuse_unwritable(stacks, "give another config.stacks_dir")
    made = [folder.resolve() for folder in before]
    there = []
    for each in settings:
        path = each.start_from.path and local_path(each.start_from.path, *start.PLACE).resolve()
        if not (path and any(path.is_relative_to(folder) for folder in made)):
            there.append(each)
    start.check(there, data.image_shape(dataset), dataset.num_classes)


def _refuse_foreign(workdir: Path) -> None:
    """Refuses a new study whose report would overwrite files that are not its own."""
    if not workdir.is_dir() or records.holds_study(workdir) or not any(workdir.iterdir()):
        return
    from src.reports import compose  # noqa: PLC0415

    compose.refuse_foreign(workdir)


def _checked_data(config: Config) -> Any:
    """Loads the data set, and refuses a config that asks for what it cannot give."""
    _check_devices(config)
    dataset = _load(config)
    _check_data(config, dataset)
    return dataset


def _check_devices(config: Config) -> None:
    if config.runtime.engine == "local":
        for arm in config.arms:
            checks.check_devices(arm.settings, jax.device_count())


def _load(config: Config) -> Any:
    about = config.trial.data
    return data.load(about.name, about.dir, fallback=about.fallback, stream_size=about.stream_size)


def _check_data(config: Config, dataset: Any) -> None:
    """Refuses a config that asks for what the data cannot give."""
    shape, images = data.image_shape(dataset), data.count(dataset.train)
    streamed = isinstance(dataset, data.Stream)
    checks.check_data(config.arms, shape, images, dataset.num_classes, streamed=streamed)


def _workers(config: Config) -> int:
    """Number of trials side by side. On a CPU, one thread each is faster than one trial on all.

    A single trial is trained in this process: another one would take a second to start.
    """
    if config.runtime.workers:
        return config.runtime.workers
    alone = jax.default_backend() != "cpu" or jax.device_count() > 1
    return 1 if alone else _workers_on_cpu(config)


def _workers_on_cpu(config: Config) -> int:
    return config.runtime.workers or min(environment.usable_cores(), config.num_trials)


def _list_trials(config: Config, workdir: Path) -> None:
    finished: tuple[TrialRecord, ...] = ()
    if records.holds_study(workdir):
        environment.start_jax()
        question.check_same(config, records.read_study_header(workdir), workdir)
        finished = records.read_finished(workdir)
    print(f"{workdir}:")
    for line in plan.describe_plan(config, finished, _workers(config) if finished else 1):
        print(line)
