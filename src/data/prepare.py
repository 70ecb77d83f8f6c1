"""CIFAR-10 as TFDS prepares it, without TensorFlow: PNG images in ArrayRecord files.

The folder is what `tfds.builder_from_directory(folder).as_data_source()` reads. Beside TFDS' own
files it holds `original.json`, the digest of the verified arrays it was made from.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from src.data.cifar10_facts import CLASSES
from src.data.dataset import DataError, Split, digest, say

NAME, VERSION = "cifar10", "3.0.2"  # whose features and ids these are
SEAL = "original.json"


def write_prepared(folder: Path, train: Split, test: Split) -> None:
    """Writes both splits into `folder`, which exists and is empty.

    Raises:
        DataError: If the records cannot be written, most often because the disk is full.
    """
    import tensorflow_datasets as tfds  # noqa: PLC0415

    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=train.images.shape[1:]),
            "label": tfds.features.ClassLabel(names=CLASSES),
        }
    )
    identity = tfds.core.DatasetIdentity(
        name=NAME, version=VERSION, data_dir=str(folder), module_name=__name__
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description="CIFAR-10 from its published archive, images as PNG.",
        features=features,
        supervised_keys=("image", "label"),
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    )
    info.set_file_format("array_record")
    splits = []
    for name, split in (("train", train), ("test", test)):
        splits.append(_write_split(folder, name, split, features))
    info.set_splits(tfds.core.SplitDict(splits))
    info.write_to_directory(folder)
    (folder / SEAL).write_text(json.dumps({"digest": digest(train, test)}) + "\n")


def sealed_digest(folder: Path) -> str | None:
    """The digest that `write_prepared` left in its folder; None in a folder of another make."""
    try:
        return json.loads((folder / SEAL).read_bytes())["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_id(split: str, index: int) -> str:
    """As TFDS names the image at `index` of the original files: `train_00017`."""
    return f"{split}_{index:05d}"


def _write_split(folder: Path, name: str, split: Split, features: Any) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415
    from array_record.python import array_record_module  # noqa: PLC0415

    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=NAME,
        split=name,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    )
    path = template.sharded_filepath(shard_index=0, num_shards=1)
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    num_bytes = 0
    try:
        for index, (image, label) in enumerate(zip(*split, strict=True)):
            if index % 10_000 == 0:
                say(f"CIFAR-10: preparing {name} images, {index} of {len(split.labels)}")
            example = {"id": record_id(name, index), "image": _png(image), "label": int(label)}
            record = features.serialize_example(features.encode_example(example))
            writer.write(record)
            num_bytes += len(record)
        writer.close()
    except Exception as error:  # ArrayRecord has no type of its own for a full disk
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"cannot write {path} ({reason}); is the disk full?") from error
    return tfds.core.SplitInfo(
        name=name,
        shard_lengths=[len(split.labels)],
        num_bytes=num_bytes,
        filename_template=template,
    )


def _png(image: np.ndarray) -> bytes:
    from PIL import Image  # noqa: PLC0415

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
