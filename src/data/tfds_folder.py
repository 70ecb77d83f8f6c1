"""Finds prepared data sets: `<data_dir>/<name>/<version>`, as TensorFlow Datasets lays them out.

`<name>` may hold a config, as in `cifar10_corrupted/fog_1`.
"""

import difflib
import os
import re
from pathlib import Path
from typing import NamedTuple

from src.data.dataset import DataError, say
from src.data.describe import Description, describe
from src.paths import PathError, local_path

BUILT_IN = ("cifar10", "procedural")  # The first is downloaded, the second is drawn by code.
VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", re.ASCII)  # TFDS reads no other.


class Name(NamedTuple):
    """What was asked for: a data set, and its version where one was named."""

    base: str
    version: str | None


def parse_name(name: str) -> Name:
    """`cifar100:1.0.0` and `cifar100/1.0.0` name a version; `cifar100` leaves it open."""
    base, _, version = name.rpartition(":" if ":" in name else "/")
    return Name(base, version) if base and VERSION.fullmatch(version) else Name(name, None)


def default_data_dir(data_dir: str, flag: str) -> Path:
    """The folder of data sets: the one given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Args:
        data_dir: The folder as it was typed, or "".
        flag: What the command calls it, for the message.

    Raises:
        DataError: If it is no folder of this machine, or that of a single data set.
    """
    variable = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    name, text = (flag, data_dir) if data_dir else ("TFDS_DATA_DIR", variable)
    try:
        folder = local_path(text, name)
    except PathError as error:
        raise DataError(str(error)) from error
    if parent := _folder_above(folder):
        raise DataError(f"{name} = {text!r} is that of one data set; give its parent, {parent}")
    return folder


def _folder_above(folder: Path) -> Path | None:
    """The folder of all data sets if `folder` is that of a single one, or of one version of it."""
    if (folder / "dataset_info.json").is_file():
        return folder.parent.parent
    versions = (path.parent.name for path in folder.glob("*/dataset_info.json"))
    return folder.parent if any(map(VERSION.fullmatch, versions)) else None


def find_prepared(name: Name, data_dir: Path) -> Description | None:
    """Describes the named version of a data set, else the highest version that can be read.

    Returns:
        None if there is no such version.

    Raises:
        DataError: If none of the versions can be read; it says what is wrong with the highest.
    """
    versions = _versions(name.base, data_dir)
    if name.version is not None:
        versions = [folder for folder in versions if folder.name == name.version]
    faults: list[DataError] = []
    for folder in versions:
        try:
            found = describe(folder)
        except DataError as error:
            faults.append(error)
            continue
        for fault in faults:
            say(f"{name.base}: version {folder.name} is used, for a higher one cannot be: {fault}")
        return found
    if faults:
        raise faults[0]
    return None


def not_found(name: Name, data_dir: Path) -> DataError:
    """The error that says that nothing was found, with the nearest name or the versions there."""
    versions = [folder.name for folder in _versions(name.base, data_dir)]
    if name.version is not None and versions:
        have = f"of {name.base} there are the versions {', '.join(versions)}"
        return DataError(
            f"no version {name.version!r} is prepared in {data_dir / name.base}; {have}"
        )
    prepared = prepared_names(data_dir)
    near = difflib.get_close_matches(name.base, {*prepared, *BUILT_IN}, n=1, cutoff=0.0)[0]
    have = (
        f"prepared there: {', '.join(prepared) or 'none'}; always to be had: {', '.join(BUILT_IN)}"
    )
    return DataError(
        f"no data set {name.base!r} is prepared in {data_dir}; nearest: {near!r} ({have})"
    )


def prepared_names(data_dir: Path) -> list[str]:
    """Names of all data sets in the folder that look prepared."""
    files = [*data_dir.glob("*/*/dataset_info.json"), *data_dir.glob("*/*/*/dataset_info.json")]
    folders = {file.parent for file in files if VERSION.fullmatch(file.parent.name)}
    return sorted({str(folder.parent.relative_to(data_dir)) for folder in folders})


def _versions(name: str, data_dir: Path) -> list[Path]:
    """Folders of all prepared versions, the highest first."""
    parts = Path(name).parts
    if (
        not name
        or "/".join(parts) != name
        or Path(name).is_absolute()
        or ".." in parts
        or "\0" in name
    ):
        return []  # Such a path would give one data set two names in records.
    found = (path.parent for path in (data_dir / name).glob("*/dataset_info.json"))
    versions = [folder for folder in found if VERSION.fullmatch(folder.name)]
    return sorted(versions, key=lambda path: [int(n) for n in path.name.split(".")], reverse=True)
