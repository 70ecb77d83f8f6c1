"""The features of a prepared data set's records: which one is the image, and which its class.

The descriptions are not trusted: TFDS imports whatever module they name. They are given to it only
if they name no features but TFDS' own.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from src.data.dataset import DataError

AGAIN = "copy it again, or prepare it again"


def read_json(path: Path) -> Any:
    """Reads a description, a JSON object.

    Raises:
        DataError: If it cannot be read, or holds anything but a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is damaged: {error}"
        raise DataError(f"{path} cannot be read ({reason}); {AGAIN}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it holds no description; {AGAIN}")
    return content


def check_features(folder: Path) -> None:
    """Refuses features that are not TFDS' own, since TFDS would import and so run what they name.

    Raises:
        DataError: Naming the file and the feature.
    """
    from tensorflow_datasets import features  # noqa: PLC0415

    kinds = [kind for kind in vars(features).values() if isinstance(kind, type)]
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
    for path in (folder / "features.json", folder / "dataset_info.json"):
        for name in _class_names(read_json(path)):
            if not isinstance(name, str) or name not in known:
                raise DataError(
                    f"{path} names {name!r}, which is not one of TFDS' own features: refused,"
                    " since reading it would run code; describe the data set by TFDS' own features"
                )


def _class_names(tree: Any) -> Iterator[Any]:
    """Every class named for a feature, in the present and in the older form of the file."""
    if isinstance(tree, str) and tree.lstrip().startswith("{"):  # Some content is a text of JSON.
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


def find_keys(folder: Path, info: Any) -> tuple[str, str]:
    """The features that hold the image and its class: the supervised keys, else the only ones.

    Raises:
        DataError: If the description leaves it open.
    """
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


def find_shape(folder: Path, key: str, feature: Any) -> tuple[int | None, int | None, int]:
    """Height, width and channels, 1 or 3; height and width are None if images differ.

    Raises:
        DataError: If images do not have 8 bits, or have another number of channels.
    """
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
    return height, width, min(channels, 3)  # Transparency is left out.


def find_classes(folder: Path, key: str, feature: Any) -> tuple[int, tuple[str, ...]]:
    """Number and names of the classes; 0 and none if labels are any whole numbers.

    Raises:
        DataError: If the feature is not one whole number per image.
    """
    from tensorflow_datasets import features  # noqa: PLC0415

    if isinstance(feature, features.ClassLabel):
        if (feature.num_classes or 0) < 0:
            raise DataError(f"{folder}: {key!r} has {feature.num_classes} classes; {AGAIN}")
        return feature.num_classes or 0, _names(names_file(folder, key), feature)
    kind, shape = np.dtype(feature.np_dtype), tuple(feature.shape or ())
    if not isinstance(feature, features.Tensor) or shape or kind.kind not in "iub":
        raise DataError(
            f"{folder}: feature {key!r} is a {type(feature).__name__} of {kind} {shape}, not one"
            " class of an image; only whole numbers are taken for classes"
        )
    return 0, ()


def names_file(folder: Path, key: str) -> Path:
    """The file in which TFDS keeps the names of the classes."""
    return folder / f"{key}.labels.txt"


def _names(path: Path, feature: Any) -> tuple[str, ...]:
    """Names of the classes; none if the file is missing.

    TFDS itself would then make up a name for each class, and run out of memory on a list of ids.
    """
    if not path.exists():
        return ()
    try:
        names = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if feature.num_classes and len(names) != feature.num_classes:
        raise DataError(f"{path} has {len(names)} names for {feature.num_classes} classes; {AGAIN}")
    return tuple(names)
