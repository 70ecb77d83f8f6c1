"""Small data sets prepared in TFDS' form, and both ways of reading them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from src import data
from src.data.write_tfds import DatasetInfo, Example, png, write_folder

WAYS = {"in memory": 0, "streamed": 8}
SIDE, NAMES = 8, ("a", "b", "c")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, 3), np.uint8)


def examples(images: Any = IMAGES, labels: Any = None, prefix: str = "x") -> list[Example]:
    given = np.arange(len(images)) % 3 if labels is None else labels
    encoded = [image if isinstance(image, bytes) else png(image) for image in images]
    return [
        Example(f"{prefix}_{n}", image, int(label))
        for n, (image, label) in enumerate(zip(encoded, given, strict=True))
    ]


def write(
    data_dir: Path, name: str = "small", version: str = "1.0.0", **splits: list[Example]
) -> Path:
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    shape = (None, None, 3)
    splits = splits or {"train": examples(), "test": examples(IMAGES[:6])}
    write_folder(folder, DatasetInfo(name, version, "", "", shape, NAMES), splits)
    return folder


def change(path: Path, function: Any) -> None:
    """Rewrites a JSON file; `function` changes what it holds in place."""
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def load(data_dir: Path, way: str, name: str = "small") -> Any:
    return data.load(name, str(data_dir), stream_size=WAYS[way])


def splits_of(dataset: Any) -> tuple[data.Split, data.Split]:
    """Images and labels of either kind of data set."""
    if isinstance(dataset, data.Stream):
        return tuple(rows.load(np.arange(len(rows))) for rows in (dataset.train, dataset.test))
    return dataset.train, dataset.test


each_way = pytest.mark.parametrize("way", WAYS)


def write_numbers(monkeypatch: Any, data_dir: Path, labels: Any) -> None:
    """A set with plain numbers for labels, and no list of classes."""
    with monkeypatch.context() as patch:
        patch.setattr(tfds.features, "ClassLabel", lambda names: tfds.features.Scalar(np.int64))
        write(data_dir, train=examples(IMAGES, labels), test=examples(IMAGES, labels))


def label_as(feature: dict[str, Any]) -> Any:
    return lambda content: content["featuresDict"]["features"].update(label=feature)


CORE = "tensorflow_datasets.core.features"
