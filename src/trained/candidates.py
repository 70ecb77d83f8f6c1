"""Networks that can be tested: those of finished trials, and published weights."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float, Int, PyTree

from src import data, environment
from src.data import batches
from src.data.loader import read_batches
from src.data.scaling import SCALE, Input, in_chunks, input_scaling, sum_images
from src.errors import one_line
from src.records.study import find_trial
from src.records.trial import Identity, read_result
from src.trained.network import DIR_FLAG, Trained, load_trained
from src.weights.caffe import read_binaryproto
from src.weights.classes import outputs_of_classes
from src.weights.layouts import GUESSED, Imported, find_layout, import_weights
from src.weights.read import read_weights
from src.weights.tensors import WeightsError, make_tensor, read_bytes, refuse_stand_in

DATA_SETS = {"cifar10": "cifar10", "imagenet": "imagenet2012"}  # Classes -> their data set.


@dataclass(frozen=True)
class Candidate:
    """A network, the scaling of its input, and the images to test it on.

    Attributes:
        name: Name of the trial or file, for reports.
        model: The network.
        variables: Its parameters, and what layers keep beside them.
        shift: What is subtracted from the pixels, in grey levels.
        scale: What the difference is divided by.
        size: Height and width of a view in pixels.
        test: The images to test on, a `Split` in memory or `Rows` on disk.
        dataset: Their data set.
        outputs: [classes] number of the network's output for each class of the data set.
        facts: Entries of its record: its origin, its input, published errors.
        folder: Name of its study, or of the folder that its file lies in.
        identity: What no other network has: its study and trial, or the digests of its files.
    """

    name: str
    model: nn.Module = field(repr=False)
    variables: PyTree = field(repr=False)
    shift: Float[np.ndarray, "1 _ _ C"]
    scale: Float[np.ndarray, "1 _ _ #C"]
    size: tuple[int, int]
    test: Any = field(repr=False)
    dataset: data.Dataset | data.Stream = field(repr=False)
    outputs: Int[np.ndarray, " classes"]
    facts: dict[str, str | float]
    folder: str
    identity: str

    @property
    def views(self) -> tuple[int, int]:
        """Numbers of views that can be averaged: image and mirror, or ten crops."""
        height, width, _ = data.image_shape(self.dataset)
        return (1, 2) if (height, width) == self.size else (1, 10)

    def batches(self, size: int, most: int) -> Iterator[data.Split]:
        """The first `most` test images, or all for 0, in batches of `size`."""
        total = self.count(most)
        if isinstance(self.test, data.Split):
            for at in range(0, total, size):
                end = min(at + size, total)
                yield data.Split(self.test.images[at:end], self.test.labels[at:end])
            return
        rows = batches.evaluation_rows(total, size)
        threads = environment.usable_cores()
        for split in read_batches(
            self.test, lambda n: rows[n], 0, len(rows), processes=0, threads=threads
        ):
            there = split.labels >= 0
            yield data.Split(split.images[there], split.labels[there])

    def count(self, most: int) -> int:
        """The number of test images if at most `most` are used, or all for 0."""
        images = data.count(self.test)
        return min(most or images, images)


def of_trial(trial_dir: Path, data_dir: str, name: str) -> Candidate:
    """The network of a trial's newest checkpoint.

    Args:
        trial_dir: `STUDY/trials/TRIAL`, see `find_trial`.
        data_dir: TFDS data directory.
        name: Name of a data set with the same classes; "" for the trial's own.

    Raises:
        RecordError: If there is no such trial or no sound checkpoint.
        DataError: If the data cannot be had, or has other classes or another size.
    """
    trial_dir = find_trial(trial_dir)
    trained = load_trained(trial_dir, data_dir)
    dataset = trained.dataset
    if name not in ("", dataset.name):
        stream_size = dataset.test.size if isinstance(dataset, data.Stream) else 0
        dataset = data.load(name, data_dir, stream_size=stream_size, dir_flag=DIR_FLAG)
        _check_same_classes(dataset, trained.dataset)
    given = trained.program.data["train"]
    return Candidate(
        trial_dir.name,
        trained.program.model,
        trained.variables,
        np.asarray(given.shift),
        np.asarray(given.scale),
        (trained.program.input_shape[0], trained.program.input_shape[1]),
        dataset.test,
        dataset,
        np.arange(dataset.num_classes),
        {
            "kind": "trial",
            "of": f"{_place(trial_dir)}, {trained.iteration:,} iterations on"
            f" {trained.dataset.name}",
            **_training(trial_dir, trained.of),
            "given": _trial_input(trained),
            "parameters": _count(trained.params),
        },
        trial_dir.parent.parent.name,
        trained.identity,
    )


def of_weights(
    path: Path, data_dir: str, name: str, *, layout: str | None = None, mean: Path | None = None
) -> Candidate:
    """The network of a file of published weights.

    Args:
        path: The file.
        data_dir: TFDS data directory.
        name: Name of the data set; "" for the one that has its classes.
        layout: Name of the network if the file does not tell.
        mean: A mean image to subtract in place of a mean colour, `.binaryproto` or `.npy`.

    Raises:
        WeightsError: If the file cannot be read or fits no known network, or the data set is not
            known to have its classes.
        DataError: If the data cannot be had, or its images are of another size.
    """
    imported = _imported(path, layout)
    about = imported.layout.input
    usual = DATA_SETS[imported.layout.classes]
    name = name or usual
    stream_size = 0 if about.resize == "none" else about.side
    dataset = data.load(name, data_dir, stream_size=stream_size, dir_flag=DIR_FLAG)
    outputs = outputs_of_classes(imported, dataset.name, dataset.label_names)
    _check_size(path, about.side, dataset)
    test: Any = dataset.test
    if isinstance(dataset, data.Stream):
        test = replace(dataset.test, warped=about.resize == "warped")
    shift, scale = _input(imported, dataset, mean)
    side = about.crop or about.side
    sha256 = _sha256(path)
    return Candidate(
        path.name,
        imported.make_model(),
        {"params": imported.params},
        shift,
        scale,
        (side, side),
        test,
        dataset,
        outputs,
        {
            "kind": "weights",
            "of": f"{path.name}: {imported.layout.title}",
            "given": describe_input(imported, mean),
            "parameters": _count(imported.params),
            "sha256": sha256,
            **({"published": imported.layout.published} if dataset.name == usual else {}),
            **({"unused": ", ".join(imported.unused)} if imported.unused else {}),
            **(
                {"guessed": f"{GUESSED}; if it is CaffeNet, --layout=caffenet"}
                if imported.guessed
                else {}
            ),
        },
        path.absolute().parent.name,
        "/".join([sha256, imported.layout.name, *([_sha256(mean)] if mean else [])]),
    )


def _imported(path: Path, layout: str | None) -> Imported:
    """The network of a file; `layout` is one that was asked of this file and of all others."""
    file = read_weights(path)
    if layout is None:
        return import_weights(file)
    asked = find_layout(layout)
    try:
        return import_weights(file, asked)
    except WeightsError as error:
        raise WeightsError(
            f"{error}; --layout={layout} is asked of every file: leave it out, or test files of"
            " other networks apart"
        ) from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def describe_input(imported: Imported, mean: Path | None) -> str:
    """The network's input in words."""
    about = imported.layout.input
    whole = f"whole images of {about.side} x {about.side} pixels"
    resized = {
        "none": whole,
        "shorter": f"the shorter side resized to {about.side} pixels, views of {about.crop}",
        "warped": f"both sides resized to {about.side} pixels, views of {about.crop}",
    }[about.resize]
    if mean or about.mean is None:
        taken = f"the mean image in {mean.name}" if mean else "the mean image of the training set"
    else:
        taken = "the mean colour " + ", ".join(f"{level:.2f}" for level in about.mean)
    divided = (
        ""
        if set(about.deviation) == {1.0}
        else ", divided by " + ", ".join(f"{level:.2f}" for level in about.deviation)
    )
    order = " (kernels turned from blue, green, red)" if imported.layout.blue_first else ""
    return f"{resized}; red, green, blue{order}; grey levels minus {taken}{divided}"


def _place(trial_dir: Path) -> str:
    """STUDY/trials/TRIAL, without the folders above, which differ between machines."""
    return "/".join(trial_dir.parts[-3:])


def _training(trial_dir: Path, of: Identity) -> dict[str, float]:
    """Its training error at the end; nothing if it is not finished."""
    row = read_result(trial_dir, of)
    return {"train_error": row["final_train_error"]} if row else {}


INPUTS: dict[Input, str] = {
    "centered": "minus the mean image",
    "scaled": f"minus the mean image, divided by {SCALE:g}",
    "standardized": "standardized by channel",
}


def _trial_input(trained: Trained) -> str:
    """A trial's input in words; its shift comes from its own training set."""
    height, width, _ = trained.program.input_shape
    scaled = INPUTS[trained.settings.recipe.input]
    return f"views of {height} x {width} pixels, {scaled}, as in its training"


def _input(
    imported: Imported, dataset: data.Dataset | data.Stream, mean: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of the network's input."""
    about = imported.layout.input
    scale = np.asarray(about.deviation, np.float32).reshape(1, 1, 1, -1)
    if mean is not None:
        return _mean_image(mean, imported, data.image_shape(dataset)), scale
    if about.mean is not None:
        return np.asarray(about.mean, np.float32).reshape(1, 1, 1, -1), scale
    if isinstance(dataset, data.Stream):
        raise WeightsError(f"{imported.path} needs the mean of images held in memory")
    return input_scaling(sum_images(in_chunks(dataset.train.images)), "centered")[0], scale


def _mean_image(
    path: Path, imported: Imported, shape: tuple[int, int, int]
) -> Float[np.ndarray, "1 H W 3"]:
    """A mean image [C, H, W] as [1, H, W, C], red first."""
    image = _read_array(path) if path.suffix == ".npy" else read_binaryproto(path)
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    wanted = (shape[2], *shape[:2])
    if image.shape != wanted:
        raise WeightsError(
            f"{path} is a mean image {image.shape}; wanted is {wanted}: channels, height, width"
        )
    turned = image[::-1] if imported.layout.blue_first else image
    return turned.transpose(1, 2, 0)[None].astype(np.float32)


def _read_array(path: Path) -> Float[np.ndarray, "..."]:
    """The array of a .npy file."""
    refuse_stand_in(path)
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # The header is a Python expression, and may fail as one.
        raise WeightsError(f"cannot read {path}: {one_line(error)}") from error
    if array.dtype.kind not in "fiu":
        raise WeightsError(f"{path} holds an array of {array.dtype}, not of grey levels")
    return make_tensor(path, "mean", array, array.shape)


def _check_same_classes(
    dataset: data.Dataset | data.Stream, trained_on: data.Dataset | data.Stream
) -> None:
    if not dataset.label_names or dataset.label_names != trained_on.label_names:
        raise data.DataError(
            f"the classes of {dataset.name} are not known to be those of {trained_on.name}, which"
            " the trial was trained on: its outputs would mean nothing"
        )
    shapes = data.image_shape(dataset), data.image_shape(trained_on)
    if shapes[0] != shapes[1]:
        raise data.DataError(
            f"images of {dataset.name} are {shapes[0]}, the trial was trained on {shapes[1]}"
        )


def _check_size(path: Path, side: int, dataset: data.Dataset | data.Stream) -> None:
    """Refuses images in memory of another size, of which parts would be tested, unresized."""
    shape, wanted = data.image_shape(dataset), (side, side, 3)
    if shape != wanted:
        raise data.DataError(
            f"images of {dataset.name} are {shape}, {path} is tested on {wanted}; resize them"
            " first, or give other --data"
        )


def _count(params: PyTree) -> str:
    return f"{sum(np.size(p) for p in jax.tree.leaves(params)):,}"
