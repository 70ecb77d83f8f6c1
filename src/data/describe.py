"""The description of a prepared data set, read and checked before any image is decoded.

Both ways of using a data set, in memory and streamed, begin with `describe`.
"""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from src.data import cache
from src.data.dataset import DataError
from src.data.features import (
    AGAIN,
    check_features,
    find_classes,
    find_keys,
    find_shape,
    names_file,
    read_json,
)
from src.data.records import Records, SplitFiles
from src.errors import one_line

FORMAT = "array_record"
TEST_SPLITS = ("test", "validation", "valid", "val")  # The first with labels is tested on.


class Description(NamedTuple):
    """A prepared data set, as its folder describes it.

    Attributes:
        folder: Folder of the version.
        train: Files of the training split.
        test: Files of the first of `TEST_SPLITS` that has labels.
        shape: Height, width and channels of the images; height and width are None if they differ.
        num_classes: Number of classes; 0 if the folder does not say, and labels are any whole
            numbers.
        label_names: Names of the classes, or none.
        files: Every file that decides the content of the data set. Others may lie beside them.
    """

    folder: Path
    train: SplitFiles
    test: SplitFiles
    shape: tuple[int | None, int | None, int]
    num_classes: int
    label_names: tuple[str, ...]
    files: tuple[Path, ...]


def describe(folder: Path) -> Description:
    """Describes the data set in `folder`, prepared by TFDS or as TFDS does; the result is cached.

    Raises:
        DataError: If it cannot be trained on: its records lack an image or a class, images have
            more than 8 bits, the training split or a labelled test split is missing, or files have
            another format, are missing or damaged.
    """
    told = [folder / "dataset_info.json", folder / "features.json"]
    if not all(path.is_file() for path in told):
        return _describe(folder)  # This raises, naming the missing file.
    told += sorted(folder.glob("*.labels.txt"))
    head = cache.kept("description", told, lambda: cache.Kept(_packed(_describe(folder)), [])).head
    found = _unpacked(folder, head)
    for split in (found.train, found.test):
        _check_files(split)
    return found


def _packed(found: Description) -> dict[str, Any]:
    """The description for the cache: in values of JSON, and without the folder's path."""
    splits = [
        split._replace(source=split.source.rpartition(" ")[2], files=_names(split.files))
        for split in (found.train, found.test)
    ]
    about = {"shape": found.shape, "num_classes": found.num_classes, "names": found.label_names}
    return {**about, "splits": splits, "files": _names(found.files)}


def _unpacked(folder: Path, head: dict[str, Any]) -> Description:
    splits = [
        SplitFiles(
            f"{folder}, split {name}",
            tuple(str(folder / file) for file in files),
            tuple(sizes),
            *keys,
        )
        for name, files, sizes, *keys in head["splits"]
    ]
    height, width, channels = head["shape"]
    return Description(
        folder,
        splits[0],
        splits[1],
        (height, width, channels),
        head["num_classes"],
        tuple(head["names"]),
        tuple(folder / name for name in head["files"]),
    )


def _names(paths: Iterable[str | Path]) -> tuple[str, ...]:
    return tuple(Path(path).name for path in paths)


def _describe(folder: Path) -> Description:
    _check_format(folder)
    check_features(folder)
    try:
        import tensorflow_datasets as tfds  # noqa: PLC0415  (takes longer than reading a cache)

        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints a banner on TensorFlow.
            info = tfds.builder_from_directory(folder).info
    except ModuleNotFoundError as error:
        raise DataError(
            f"{folder} has a feature that cannot be read without {error.name}, a video say; prepare"
            " the data set with an Image and a ClassLabel alone"
        ) from error
    except Exception as error:  # TFDS raises almost anything on damaged descriptions.
        reason = one_line(f"{type(error).__name__}: {error}")
        raise DataError(
            f"{folder} cannot be read as a TFDS data set ({reason}); {AGAIN}"
        ) from error
    image_key, label_key = find_keys(folder, info)
    shape = find_shape(folder, image_key, info.features[image_key])
    num_classes, names = find_classes(folder, label_key, info.features[label_key])
    found = {
        name: _files(folder, name, split, image_key, label_key)
        for name, split in info.splits.items()
    }
    train, test = _choose_splits(folder, found, num_classes)
    described = [
        folder / "dataset_info.json",
        folder / "features.json",
        names_file(folder, label_key),
    ]
    files = [path for path in described if path.exists()]
    records = [Path(path) for split in (train, test) for path in split.files]
    return Description(folder, train, test, shape, num_classes, names, (*files, *records))


def _check_format(folder: Path) -> None:
    info = read_json(folder / "dataset_info.json")
    found = info.get("fileFormat") or "tfrecord"
    others = info.get("alternativeFileFormats") or []
    if FORMAT not in (found, *(others if isinstance(others, list) else ())):
        remedy = f"tfds convert_format --dataset_dir={folder} --out_file_format={FORMAT}"
        raise DataError(
            f"{folder} is prepared as {found}; only {FORMAT} can be read, which needs no"
            f" TensorFlow: convert it once, where TensorFlow is installed: {remedy}"
        )


def _files(folder: Path, name: str, split: Any, image_key: str, label_key: str) -> SplitFiles:
    """The record files of a split, refused if one lies outside the folder."""
    template = split.filename_template.replace(filetype_suffix=FORMAT)
    sizes = tuple(int(size) for size in split.shard_lengths)
    shards = range(len(sizes))
    try:
        files = [template.relative_filepath(shard_index=n, num_shards=len(sizes)) for n in shards]
    except ValueError as error:  # a pattern of names with a field that there is not
        raise DataError(f"{folder}: split {name}: {one_line(error)}; {AGAIN}") from error
    for file in files:
        if Path(file).name != file:
            raise DataError(f"{folder}: split {name} names a file outside, {file}: refused")
    paths = tuple(str(folder / file) for file in files)
    return SplitFiles(f"{folder}, split {name}", paths, sizes, image_key, label_key)


def _choose_splits(
    folder: Path, found: dict[str, SplitFiles], num_classes: int
) -> tuple[SplitFiles, SplitFiles]:
    have = ", ".join(found) or "none"
    if "train" not in found:
        raise DataError(f"{folder} has no split 'train'; it has: {have}")
    _check_files(found["train"])
    for name in TEST_SPLITS:
        if name in found and sum(found[name].sizes) > 0:
            _check_files(found[name])
            # ImageNet's "test" has the label -1 throughout.
            if not num_classes or Records(found[name]).read(0).label >= 0:
                return found["train"], found[name]
    raise DataError(
        f"{folder} has no split {' or '.join(map(repr, TEST_SPLITS))} with labels, to test on; it"
        f" has: {have}"
    )


def _check_files(split: SplitFiles) -> None:
    if sum(split.sizes) == 0:
        raise DataError(f"{split.source} is empty")
    for path in split.files:
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise DataError(
                f"{split.source}: cannot read {path} ({error.strerror}); {AGAIN}"
            ) from error
        if not size:
            raise DataError(f"{split.source}: {path} is empty; {AGAIN}")
