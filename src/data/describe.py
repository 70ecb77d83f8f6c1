"""What a prepared data set is: looked at once, in one place, before any of its images is decoded.

Both ways of using a data set, in memory and streamed, begin with `describe`. Nothing in the folder
is trusted: TFDS is shown its files only when they name none but TFDS' own features, for it imports
whatever module they name.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.data.dataset import DataError

FORMAT = "array_record"
TEST_SPLITS = ("test", "validation", "valid", "val")  # the first there is, if it has labels
AGAIN = "copy it again, or prepare it again"


class SplitFiles(NamedTuple):
    """The record files of a split, and where a record keeps what is wanted of it.

    Attributes:
        source: Folder and split, for messages.
        files: Paths, in order.
        sizes: Records in each file.
        image_key: Feature that holds the encoded image.
        label_key: Feature that holds the label.
    """

    source: str
    files: tuple[str, ...]
    sizes: tuple[int, ...]
    image_key: str
    label_key: str


class Description(NamedTuple):
    """A prepared data set, as its folder describes it.

    Attributes:
        folder: Of the version.
        train: Files of the training split.
        test: Files of the split `test`, or of `validation` where that has no labels or is missing.
        shape: Height, width and channels of the images; None where they differ.
        num_classes: 0 where the folder does not say: labels are then any whole numbers.
        label_names: Names of the classes, or none.
        files: Every file that decides what the data set is. Others may lie beside them.
    """

    folder: Path
    train: SplitFiles
    test: SplitFiles
    shape: tuple[int | None, int | None, int]
    num_classes: int
    label_names: tuple[str, ...]
    files: tuple[Path, ...]


def describe(folder: Path) -> Description:
    """The data set prepared in `folder`, by TFDS or as TFDS does.

    Raises:
        DataError: If it cannot be trained on: no image or no class in its records, images of more
            than 8 bits, no training or labelled test split, another format, files missing or
            damaged.
    """
    _check_format(folder)
    _check_features(folder)
    try:
        import tensorflow_datasets as tfds  # noqa: PLC0415  (takes longer than reading a cache)

        info = tfds.builder_from_directory(folder).info
    except Exception as error:  # whatever TFDS makes of damaged descriptions
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(
            f"{folder} cannot be read as a TFDS data set ({reason}); {AGAIN}"
        ) from error
    image_key, label_key = _keys(folder, info)
    shape = _image_shape(folder, image_key, info.features[image_key])
    num_classes, names = _classes(folder, label_key, info.features[label_key])
    found = {
        name: _files(folder, name, split, image_key, label_key)
        for name, split in info.splits.items()
    }
    train, test = _choose_splits(folder, found, num_classes)
    described = [
        folder / "dataset_info.json",
        folder / "features.json",
        _names_file(folder, label_key),
    ]
    files = [path for path in described if path.exists()]
    records = [Path(path) for split in (train, test) for path in split.files]
    return Description(folder, train, test, shape, num_classes, names, (*files, *records))


def _read_json(path: Path) -> Any:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is damaged: {error}"
        raise DataError(f"{path} cannot be read ({reason}); {AGAIN}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it holds no description; {AGAIN}")
    return content


def _check_format(folder: Path) -> None:
    info = _read_json(folder / "dataset_info.json")
    found = info.get("fileFormat") or "tfrecord"
    others = info.get("alternativeFileFormats") or []
    if FORMAT not in (found, *(others if isinstance(others, list) else ())):
        remedy = f"tfds convert_format --dataset_dir={folder} --out_file_format={FORMAT}"
        raise DataError(
            f"{folder} is prepared as {found}, and read is {FORMAT}, which needs no TensorFlow;"
            f" once, where that is installed: {remedy}"
        )


def _check_features(folder: Path) -> None:
    """Refuses features that are not TFDS' own: TFDS would import, and so run, what they name."""
    from tensorflow_datasets import features  # noqa: PLC0415

    path = folder / "features.json"
    kinds = [kind for kind in vars(features).values() if isinstance(kind, type)]
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
    for name in _class_names(_read_json(path)):
        if not isinstance(name, str) or name not in known:
            raise DataError(
                f"{path} names {name!r}, which is no feature of TFDS itself: refused, for reading"
                " it would run code; describe the data set by TFDS' own features"
            )


def _class_names(tree: Any) -> Iterator[Any]:
    """Whatever is named as a feature's class, in today's and in the older form of the file."""
    if isinstance(tree, str) and tree.lstrip().startswith("{"):  # content kept as a text of JSON
        try:
            tree = json.loads(tree)
        except ValueError:
            return
    if isinstance(tree, list):
        for branch in tree:
            yield from _class_names(branch)
    if isinstance(tree, dict):
        for key, branch in tree.items():
            if key in ("pythonClassName", "python_class_name") or (
                key == "type" and isinstance(branch, str) and "content" in tree
            ):
                yield branch
            else:
                yield from _class_names(branch)


def _keys(folder: Path, info: Any) -> tuple[str, str]:
    """The features that hold the image and its class: those TFDS was told, else the only ones."""
    from tensorflow_datasets import features  # noqa: PLC0415

    there = dict(info.features) if hasattr(info.features, "keys") else {}
    told = info.supervised_keys
    named = isinstance(told, tuple) and len(told) == 2 and all(isinstance(k, str) for k in told)
    if named and set(told) <= set(there) and isinstance(there[told[0]], features.Image):
        return told[0], told[1]
    images = [key for key, feature in there.items() if type(feature) is features.Image]
    labels = [key for key, feature in there.items() if isinstance(feature, features.ClassLabel)]
    labels = labels or [key for key in ("label",) if key in there]
    if len(images) == 1 and len(labels) == 1:
        return images[0], labels[0]
    have = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in there.items())
    raise DataError(
        f"{folder} does not say which feature is the image and which its class; it has:"
        f" {have or 'none'}"
    )


def _image_shape(folder: Path, key: str, feature: Any) -> tuple[int | None, int | None, int]:
    kind = np.dtype(feature.np_dtype)
    if kind != np.uint8:
        raise DataError(
            f"{folder}: feature {key!r} has images of {kind}; only those of 8 bits (uint8) are"
            " read: prepare it with its grey levels brought to 0 to 255"
        )
    height, width, channels = feature.shape
    channels = 3 if channels is None else channels
    if channels not in (1, 3, 4):
        raise DataError(
            f"{folder}: feature {key!r} has images of {channels} channels, not 1, 3 or 4"
        )
    return height, width, min(channels, 3)  # transparency is left out


def _classes(folder: Path, key: str, feature: Any) -> tuple[int, tuple[str, ...]]:
    """Number and names of the classes; 0 and none where labels are any whole numbers."""
    from tensorflow_datasets import features  # noqa: PLC0415

    if isinstance(feature, features.ClassLabel):
        _check_names(_names_file(folder, key), feature)
        return feature.num_classes or 0, tuple(feature.names or ())
    kind, shape = np.dtype(feature.np_dtype), tuple(feature.shape or ())
    if not isinstance(feature, features.Tensor) or shape or kind.kind not in "iub":
        raise DataError(
            f"{folder}: feature {key!r} is a {type(feature).__name__} of {kind} {shape}, not one"
            " class of an image; only whole numbers are taken for classes"
        )
    return 0, ()


def _names_file(folder: Path, key: str) -> Path:
    return folder / f"{key}.labels.txt"


def _check_names(path: Path, feature: Any) -> None:
    """TFDS has read the file by now, but passes over one that it cannot open."""
    if not path.exists():
        return
    try:
        names = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if feature.num_classes and len(names) != feature.num_classes:
        raise DataError(f"{path} has {len(names)} names for {feature.num_classes} classes; {AGAIN}")


def _files(folder: Path, name: str, split: Any, image_key: str, label_key: str) -> SplitFiles:
    """The files that TFDS counts to a split; each must be there, and in the folder."""
    template = split.filename_template.replace(filetype_suffix=FORMAT)
    sizes = tuple(int(size) for size in split.shard_lengths)
    paths = [os.fspath(path) for path in template.sharded_filepaths(len(sizes))] if sizes else []
    for path in paths:
        if Path(path).parent != folder:
            raise DataError(f"{folder}: split {name} names a file outside, {path}: refused")
    return SplitFiles(f"{folder}, split {name}", tuple(paths), sizes, image_key, label_key)


def _choose_splits(
    folder: Path, found: dict[str, SplitFiles], num_classes: int
) -> tuple[SplitFiles, SplitFiles]:
    from src.data.records import Records  # noqa: PLC0415

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
