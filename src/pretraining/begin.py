"""The first state of a trial that begins with a pre-trained stack."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from src import own
from src.data import Split
from src.data.splits import first_rows, is_grouped, last_rows, take
from src.fields import plain
from src.pretraining.kept import Stack, Stacks
from src.pretraining.measures import Row
from src.pretraining.source import Source
from src.pretraining.transfer import transfer
from src.training.program import Program
from src.training.settings import Trial, TrialSettings
from src.training.step import TrainState


def with_stack(
    program: Program,
    trial: Trial,
    state: TrainState,
    root: Path,
    data_digest: str,
    should_stop: Callable[[], bool] = lambda: False,
    on_point: Callable[[Row], None] = lambda row: None,
    on_wait: Callable[[str], None] = lambda line: None,
    on_complaint: Callable[[str], None] = lambda line: None,
) -> tuple[TrainState, dict[str, Any]]:
    """A trial's state before its first step, with its stack if the settings ask for one.

    Args:
        program: Made with the trial's settings.
        trial: The trial.
        state: The state with which it would begin otherwise.
        root: Folder of all stacks; it is made if need be.
        data_digest: Digest of the data set.
        should_stop: Asked while a stack is made, here or by another process.
        on_point: Told of every point of a stack that is made.
        on_wait: Told in a line that another process makes it, which one, and where.
        on_complaint: Told in a line of every damaged checkpoint that was set aside.

    Returns:
        The state, and columns of the trial's row, none without pre-training.

    Raises:
        Stopped: If `should_stop` said so.
        RecordError: If the stack is damaged.
        LabError: If a layer cannot be pre-trained.
    """
    how = trial.settings.pretraining
    if how.method == "none":
        return state, {}
    stack = make_stacks(program, trial.settings, root, data_digest).get(
        trial.seed, should_stop, on_point, on_wait, on_complaint
    )
    return _begun(state, stack, trial)


def with_finished_stack(
    program: Program, trial: Trial, state: TrainState, root: Path, data_digest: str
) -> tuple[TrainState, dict[str, Any]]:
    """The same as `with_stack` for a trial with a stack, of which nothing is made.

    Raises:
        RecordError: If a layer is missing or damaged.
    """
    stack = make_stacks(program, trial.settings, root, data_digest).read(trial.seed)
    return _begun(state, stack, trial)


def _begun(state: TrainState, stack: Stack, trial: Trial) -> tuple[TrainState, dict[str, Any]]:
    control = trial.settings.pretraining.control
    params = transfer(state.params, stack.layers, control, trial.seed)
    return state._replace(params=params), {"stack": stack.name, "stack_sha256": stack.sha256}


def make_stacks(program: Program, settings: TrialSettings, root: Path, data_digest: str) -> Stacks:
    """The stacks of a trial's network and method, one per seed.

    Of a training set that is sorted by class, each class gives as many images; see `make_splits`.

    Raises:
        ConfigError: If there are too few images, or the network lacks a layer.
    """
    how, unlabelled = settings.pretraining, program.source.unlabelled
    assert isinstance(unlabelled, Split)  # Streamed images are refused before a study.
    labels = unlabelled.labels
    how.check_images(len(labels))
    by_class = is_grouped(labels)
    rows = first_rows(labels, how.images or len(labels), by_class)
    last = last_rows(labels[rows], how.held_out, by_class)
    train: Any = take(unlabelled, np.delete(rows, last))
    held_out: Any = take(unlabelled, rows[last])
    shift, scale = program.scaling
    source = Source(
        program.model,
        settings.model.activation,
        lambda seed: program.start(seed).params,
        train.images,
        held_out.images,
        shift,
        scale,
        program.devices,
        program.parallel,
    )
    made_from = {
        "model": plain(settings.model),
        "input": settings.recipe.input,
        "init": settings.recipe.init,
        "unlabelled": len(rows),
        "data": data_digest,
    }
    if settings.train_images or settings.validation_images or by_class:
        # Images of the same number may be others then, or have another scaling.
        made_from["pixels"] = _digest(source)
    if code := {name: own.digest(name) for name in settings.model.names if own.is_own(name)}:
        made_from["own_code"] = code
    return Stacks(root, source, replace(how, control=""), made_from)


def _digest(source: Source) -> str:
    """SHA-256 over the images, in order, and the scaling of the network's input."""
    sums = hashlib.sha256()
    for array in (source.images, source.held_out, source.shift, source.scale):
        sums.update(np.ascontiguousarray(array).data)
    return sums.hexdigest()
