"""Writes data sets as TFDS prepares them, without TensorFlow: encoded images in ArrayRecord files.

The folder is what `tfds.builder_from_directory(folder).as_data_source()` reads.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.data.cifar10.facts import CLASSES
from src.data.dataset import DataError, Split, say
from src.data.workplace import put, refuse_foreign, workplace
from src.errors import one_line

NAME, VERSION = "cifar10", "3.0.2"  # TFDS' data set with the same features and ids.


class DatasetInfo(NamedTuple):
    """What TFDS keeps of a data set beside its records.

    Attributes:
        name: Its name in studies.
        version: Three numbers, such as 1.0.0.
        text: A sentence that describes it.
        homepage: Address where it is published; may be empty.
        shape: Height, width and channels of the images; height and width are None if they differ.
        label_names: Names of the classes, in the order of their numbers.
    """

    name: str
    version: str
    text: str
    homepage: str
    shape: tuple[int | None, int | None, int]
    label_names: Sequence[str]


class Example(NamedTuple):
    """An image, encoded as PNG or JPEG, with its label and a name of its own."""

    id: str
    image: bytes
    label: int


def write_prepared(folder: Path, train: Split, test: Split) -> None:
    """Writes CIFAR-10 into `folder`, which exists and is empty.

    Raises:
        DataError: If the records cannot be written, most often because the disk is full.
    """
    cifar10 = DatasetInfo(
        NAME,
        VERSION,
        "CIFAR-10 from its published archive, images as PNG.",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        train.images.shape[1:],
        CLASSES,
    )
    splits = {"train": train, "test": test}
    write_folder(folder, cifar10, {name: _examples(name, split) for name, split in splits.items()})


def record_id(split: str, index: int) -> str:
    """TFDS' name for the image at `index` of the original files, such as `train_00017`."""
    return f"{split}_{index:05d}"


def put_dataset(
    target: Path, description: DatasetInfo, splits: Mapping[str, Iterable[Example]]
) -> None:
    """Writes a data set to `target`, `<data_dir>/<name>/<version>`, whole or not at all.

    Raises:
        DataError: If `target` exists, another process writes there, or the disk fails.
    """
    refuse_existing(target)
    try:
        with workplace(_place(target)) as place:
            folder = place / target.name
            folder.mkdir()
            write_folder(folder, description, splits)
            put(folder, target)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror or error}") from error


def refuse_existing(target: Path) -> None:
    """Refuses to write a data set where one is, or where somebody's files are in the way.

    Raises:
        DataError: If `target` exists, or the folder in which it is made is not ours.
    """
    if target.exists():
        raise DataError(f"{target} is there already; choose another --version, or another name")
    refuse_foreign(_place(target))


def _place(target: Path) -> Path:
    """The folder in which a data set is made."""
    return target.parent / "incomplete"


def write_folder(
    folder: Path, description: DatasetInfo, splits: Mapping[str, Iterable[Example]]
) -> None:
    """Writes a data set into `folder`, which exists and is empty.

    Raises:
        DataError: If the records cannot be written, most often because the disk is full.
    """
    import tensorflow_datasets as tfds  # noqa: PLC0415

    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=description.shape),
            "label": tfds.features.ClassLabel(names=description.label_names),
        }
    )
    identity = tfds.core.DatasetIdentity(
        name=description.name,
        version=description.version,
        data_dir=str(folder),
        module_name=__name__,
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=description.text,
        features=features,
        supervised_keys=("image", "label"),
        homepage=description.homepage,
    )
    info.set_file_format("array_record")
    written = [
        _write_split(folder, description.name, split, examples, features)
        for split, examples in splits.items()
    ]
    info.set_splits(tfds.core.SplitDict(written))
    info.write_to_directory(folder)


def _write_split(
    folder: Path, name: str, split: str, examples: Iterable[Example], features: Any
) -> Any:
    import tensorflow_datasets as tfds  # noqa: PLC0415
    from array_record.python import array_record_module  # noqa: PLC0415

    template = tfds.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=name,
        split=split,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    )
    path = template.sharded_filepath(shard_index=0, num_shards=1)
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    count = num_bytes = 0
    try:
        for example in examples:
            record = features.serialize_example(features.encode_example(example._asdict()))
            writer.write(record)
            count, num_bytes = count + 1, num_bytes + len(record)
        writer.close()
    except Exception as error:  # ArrayRecord has no error of its own for a full disk.
        raise DataError(f"cannot write {path} ({one_line(error)}); is the disk full?") from error
    return tfds.core.SplitInfo(
        name=split, shard_lengths=[count], num_bytes=num_bytes, filename_template=template
    )


def _examples(name: str, split: Split) -> Iterator[Example]:
    for index, (image, label) in enumerate(zip(*split, strict=True)):
        if index % 10_000 == 0:
            say(f"CIFAR-10: preparing {name} images, {index} of {len(split.labels)}")
        yield Example(record_id(name, index), png(image), int(label))


def png(image: np.ndarray) -> bytes:
    """An image [H, W, C] of bytes as a PNG file."""
    from PIL import Image  # noqa: PLC0415

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()
