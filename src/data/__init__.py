"""Data sets by name; this module loads the one that a study asks for."""

import textwrap
from pathlib import Path
from typing import Literal

from src.data import procedural, tfds_folder
from src.data.cache import cached
from src.data.cifar10.load import load_cifar10, stream_cifar10
from src.data.dataset import (
    DataError,
    Dataset,
    Split,
    check_dataset,
    digest,
    make_dataset,
    say,
)
from src.data.describe import Description
from src.data.own import load_own
from src.data.splits import count, image_shape, remarks
from src.data.stream import Stream, look_through, read_whole
from src.own import is_own

__all__ = [
    "DataError",
    "Dataset",
    "Split",
    "Stream",
    "count",
    "digest",
    "image_shape",
    "load",
    "make_dataset",
    "remarks",
]

NOTICE_WIDTH = 78


def load(
    name: str,
    data_dir: str = "",
    *,
    fallback: Literal["none", "procedural"] = "none",
    stream_size: int = 0,
    dir_flag: str = "config.data.dir",
) -> Dataset | Stream:
    """Loads the data set `name` and checks it.

    Args:
        name: "cifar10", "procedural", a data set prepared by TFDS as ArrayRecord in `data_dir` with
            or without a version (`cifar100:3.0.2`), or a function of a config file that returns
            one (`configs.mine.load`).
        data_dir: TFDS data directory; "" means $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        fallback: "procedural": if `name` cannot be had, say so and use the built-in data set.
        stream_size: Side of images that stay on disk until they are needed; 0: read all of them.
        dir_flag: What the command calls `data_dir`, for messages.

    Returns:
        Images and labels; `name` of the result says what was found, for instance "cifar10-jpeg".

    Raises:
        DataError: If the data cannot be had or trusted.
    """
    if name == "procedural":
        return _procedural()
    if is_own(name):
        return load_own(name)
    try:
        folder = tfds_folder.default_data_dir(data_dir, dir_flag)
        return _load(tfds_folder.parse_name(name), folder, stream_size)
    except DataError as error:
        if fallback != "procedural":
            raise
        _notice(name, error)
        return _procedural()


def _load(name: tfds_folder.Name, folder: Path, stream_size: int) -> Dataset | Stream:
    if name.base == "cifar10" and stream_size:
        return stream_cifar10(folder, stream_size, version=name.version)
    if name.base == "cifar10":
        return load_cifar10(folder, version=name.version)
    found = tfds_folder.find_prepared(name, folder)
    if found is None:
        raise tfds_folder.not_found(name, folder)
    recorded = name.base if name.version is None else f"{name.base}:{name.version}"
    if stream_size:
        return look_through(recorded, found, stream_size).stream
    return cached(found.files, lambda: _whole(recorded, found))._replace(name=recorded)


def _whole(name: str, found: Description) -> Dataset:
    return check_dataset(read_whole(look_through(name, found, 0).stream), str(found.folder))


def _procedural() -> Dataset:
    return cached([Path(procedural.__file__)], procedural.make_procedural)


def _notice(name: str, error: DataError) -> None:
    """Prints a box on the terminal that is too large to be missed."""
    text = (
        f"THIS IS NOT {name.upper()}: built-in PROCEDURAL images take its place.",
        "The paper's numbers say nothing about them. Every record and figure of",
        "this run says 'procedural'. Why:",
        *textwrap.wrap(str(error), NOTICE_WIDTH - 4, break_long_words=False),
    )
    edge = "#" * NOTICE_WIDTH
    lines = (f"# {line:{NOTICE_WIDTH - 4}} #" for line in ("", *text, ""))
    say("\n".join(("", edge, *lines, edge, "")))
