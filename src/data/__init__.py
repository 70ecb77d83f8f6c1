"""Arrays in: the data set of a study, by name."""

import difflib
import functools
import textwrap
from pathlib import Path
from typing import Literal

from src.data import procedural, tfds_folder
from src.data.cache import cached
from src.data.cifar10.load import load_cifar10
from src.data.dataset import DataError, Dataset, Split, check_dataset, digest, say
from src.data.splits import count, image_shape
from src.data.stream import Stream, open_stream

__all__ = ["DataError", "Dataset", "Split", "Stream", "count", "digest", "image_shape", "load"]

NOTICE_WIDTH = 78


def load(
    name: str,
    data_dir: str = "",
    *,
    fallback: Literal["none", "procedural"] = "none",
    stream_size: int = 0,
) -> Dataset | Stream:
    """The data set `name`, checked.

    Args:
        name: "cifar10", "procedural", or a data set prepared by TFDS as ArrayRecord in `data_dir`.
        data_dir: TFDS data directory; "" means $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        fallback: "procedural": where `name` cannot be had, say so and use the built-in data set.
        stream_size: Side of images that stay on disk until they are needed; 0: read all of them.

    Returns:
        Images and labels; `name` of the result says what was found, for instance "cifar10-jpeg".

    Raises:
        DataError: If the data cannot be had or trusted.
    """
    if name == "procedural":
        return _procedural()
    try:
        return _load(name, tfds_folder.default_data_dir(data_dir), stream_size)
    except DataError as error:
        if fallback != "procedural":
            raise
        _notice(name, error)
        return _procedural()


def _load(name: str, data_dir: Path, stream_size: int) -> Dataset | Stream:
    if name == "cifar10" and not stream_size:
        return load_cifar10(data_dir)
    folder = tfds_folder.find_prepared(name, data_dir)
    if folder is None:
        names = ["cifar10", "procedural", *tfds_folder.prepared_names(data_dir)]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        have = ", ".join(sorted(set(names)))
        raise DataError(
            f"no data set {name!r} is prepared in {data_dir}; nearest: {near!r} (there are: {have})"
        )
    if stream_size:
        return open_stream(name, folder, stream_size)
    return cached(tfds_folder.files(folder), functools.partial(_prepared, name, folder))


def _procedural() -> Dataset:
    return cached([Path(procedural.__file__)], procedural.make_procedural)


def _prepared(name: str, folder: Path) -> Dataset:
    say(f"{name}: reading {folder}")
    train, test, names, _ = tfds_folder.read_prepared(folder)
    num_classes = len(names) or int(max(train.labels.max(), test.labels.max())) + 1
    dataset = Dataset(name, train, test, num_classes, names, digest(train, test))
    return check_dataset(dataset, str(folder))


def _notice(name: str, error: DataError) -> None:
    """A box on the terminal, too large to be missed."""
    text = (
        f"THIS IS NOT {name.upper()}: built-in PROCEDURAL images take its place.",
        "The paper's numbers say nothing about them. Every record and figure of",
        "this run says 'procedural'. Why:",
        *textwrap.wrap(str(error), NOTICE_WIDTH - 4, break_long_words=False),
    )
    edge = "#" * NOTICE_WIDTH
    lines = (f"# {line:{NOTICE_WIDTH - 4}} #" for line in ("", *text, ""))
    say("\n".join(("", edge, *lines, edge, "")))
