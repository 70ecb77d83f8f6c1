"""A trained network, read back from the folder of its trial."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from src import data
from src.errors import LabError
from src.models.alexnet import AlexNet
from src.models.params import get_layer, weights_name
from src.pretraining.begin import with_finished_stack
from src.records import trial
from src.records.files import RecordError
from src.trained.kernels import Kernels
from src.training import evaluation
from src.training.finished import read_kept
from src.training.layers import call_layers
from src.training.program import Program, images_at_once
from src.training.settings import Trial, TrialSettings
from src.weights.start import begin

DIR_FLAG = "--data_dir"  # The data directory, as commands that test or draw networks call it.


class Outputs(NamedTuple):
    """The network's outputs for images.

    Attributes:
        features: Inputs of its last layer: the activities of the last hidden layer.
        probabilities: Softmax of its logits.
    """

    features: Float[np.ndarray, "images features"]
    probabilities: Float[np.ndarray, "images classes"]


@dataclass(frozen=True)
class Trained:
    """The network of a trial's newest checkpoint, and its data.

    Attributes:
        trial_dir: Folder of the trial.
        settings: Its settings.
        dataset: The study's data set.
        program: The trial's compiled functions.
        variables: Its parameters, and what layers keep beside them.
        iteration: Optimizer updates done.
        seed: Its seed.
        of: Its identity.
    """

    trial_dir: Path
    settings: TrialSettings
    dataset: data.Dataset | data.Stream
    program: Program
    variables: PyTree
    iteration: int
    seed: int
    of: trial.Identity

    @property
    def identity(self) -> str:
        """What no other network has: its study, which drew a random word, and its trial."""
        return f"{self.of.study}/{self.of.trial}"

    @property
    def params(self) -> PyTree:
        """Its parameters alone."""
        return self.variables["params"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the data set's classes, or their numbers if they have none."""
        numbers = tuple(str(label) for label in range(self.dataset.num_classes))
        return self.dataset.label_names or numbers

    @property
    def towers(self) -> int:
        """Number of towers that share the first layer's kernels; only an AlexNet has several."""
        model = self.program.model
        return model.towers if isinstance(model, AlexNet) else 1

    def images(self, part: Literal["train", "test"], most: int) -> data.Split:
        """At most `most` images, the first of the training or of the test images."""
        found = self.program.source.splits[part]
        if isinstance(found, data.Split):
            return data.Split(found.images[:most], found.labels[:most])
        return found.load(np.arange(min(most, len(found))))

    def outputs(self, images: UInt8[np.ndarray, "N H W C"]) -> Outputs:
        """Features and probabilities, dropout off; of the central crop if it trained on crops."""
        _, _, shift, scale = self.program.data["train"]

        @jax.jit
        def on_batch(variables: PyTree, batch: Array) -> tuple[Array, Array]:
            pixels = (batch.astype(jnp.float32) - shift) / scale
            pixels = evaluation.central_crop(pixels, *self.program.input_shape[:2])
            logits, layers = call_layers(self.program.model, variables, pixels, "input")
            name, hidden = layers[-1]
            if hidden is None:
                where = f"the last layer, {name}, is given cannot be seen: it stands in a"
                where += " transformation such as nn.vmap, or holds other layers"
                if not name:
                    where = f"its weights, {weights_name(self.params)}, are given cannot be seen:"
                    where += " they are those of the network itself, in no layer"
                raise LabError(f"{self.trial_dir}: what {where}; give a trial of another network")
            features = hidden.reshape(len(batch), -1)
            return features, jax.nn.softmax(logits)

        size = images_at_once(math.prod(self.program.input_shape[:2]))
        batches = range(0, len(images), size)
        found = [on_batch(self.variables, images[at : at + size]) for at in batches]
        return Outputs(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def layer_names(self) -> list[str]:
        """Names of the layers with weights, in the order in which an image passes them."""
        names: list[str] = []

        def note(variables: PyTree) -> None:
            image = jnp.zeros((1, *self.program.input_shape))
            layers = call_layers(self.program.model, variables, image, "input")[1]
            names.extend(name for name, _ in layers if name)

        jax.eval_shape(note, self.variables)
        return names

    def first_kernels(self) -> Kernels:
        """The first layer's kernels, now and before the first training step.

        Raises:
            LabError: If they are no kernels of several pixels, or it began with weights or a stack
                that can no longer be read.
        """
        first = next(iter(self.layer_names()), "")
        own = weights_name(get_layer(self.params, first))
        shape: tuple[int, ...] = get_layer(self.params, first)[own].shape if first else ()
        channels = (1, self.program.input_shape[-1])  # One where the channels are in groups.
        if len(shape) != 4 or shape[2] not in channels or shape[:2] == (1, 1):
            raise LabError(
                f"{self.trial_dir}: the kernel of the first layer ({first or 'there is none'}) is"
                f" {list(shape)}; give a network that begins with a convolution of several pixels"
            )
        trees = (self.params, self.started())
        return Kernels(*(np.asarray(get_layer(tree, first)[own]) for tree in trees))

    def started(self) -> PyTree:
        """Its parameters before the first step, made from its seed, or given to it.

        Raises:
            LabError: If it was given weights or a stack that can no longer be read.
            RecordError: If they have changed since.
        """
        name = trial.parse_trial_name(self.of.trial)
        own = Trial(self.of.trial, name.arm, "fresh", float(name.rate), self.seed, self.settings)
        row = trial.read_result(self.trial_dir, self.of) or {}
        state, given, _ = begin(self.program, own)
        if self.settings.pretraining.method != "none":
            stacks = self._stacks(row.get("stack", ""))
            state, given = with_finished_stack(self.program, own, state, stacks, self.of.data)
        for column, value in given.items():
            if row.get(column, value) != value:
                raise RecordError(
                    f"{self.trial_dir} began with other weights than there are now: {column} was"
                    f" {row[column]}, is {value}; restore them from a copy"
                )
        return state.params

    def _stacks(self, name: str) -> Path:
        """The folder that holds its stack: the study's, or one that neighbouring studies share."""
        study_dir = self.trial_dir.parent.parent
        own = study_dir / "pretraining"
        for folder in (own, study_dir.parent / "stacks"):
            if name and (folder / name).is_dir():
                return folder
        raise RecordError(
            f"{self.trial_dir} began with a stack that is not in {own}: finish the trial,"
            f" or copy {name or 'the stack'} there"
        )


def load_trained(trial_dir: Path, data_dir: str = "") -> Trained:
    """Reads the newest checkpoint of a trial, and the data set of its study.

    Args:
        trial_dir: `STUDY/trials/TRIAL`.
        data_dir: TFDS data directory, as `config.data.dir`.

    Raises:
        RecordError: If there is no trial, or no sound checkpoint that fits it.
        DataError: If the data set cannot be had, or is not the study's.
        InUseError: If the trial is being trained.
        CodeError: If its own network or activation has changed since.
    """
    settings, state, iteration, header, of = read_kept(trial_dir, finished=False)
    about = settings.data
    dataset = data.load(about.name, data_dir, stream_size=about.stream_size, dir_flag=DIR_FLAG)
    if dataset.digest != header["digest"]:
        raise data.DataError(
            f"{dataset.name} in {data_dir or 'the usual place'} is not the data set that"
            f" {trial_dir} was trained on; name the folder that holds that one with {DIR_FLAG}, or"
            " restore it from a copy"
        )
    seed = trial.parse_trial_name(trial_dir.name).seed
    program = Program(settings, dataset)
    return Trained(trial_dir, settings, dataset, program, state.variables, iteration, seed, of)
