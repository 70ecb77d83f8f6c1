"""Settings that say which data set a study is about, and where it lies."""

from dataclasses import dataclass
from typing import Annotated, Literal

from src.fields import Rule, Within

PRINTABLE = Rule(str.isprintable, "a folder")
NAME = Rule(lambda name: name.strip() and name.isprintable(), "a data set's name")


@dataclass(frozen=True)
class Data:
    """The data set; `dir` and `fallback` change no number and are not part of the question."""

    name: Annotated[
        str,
        NAME,
        "cifar10, procedural, any image data set that TFDS has prepared, or configs.X.load",
    ] = "cifar10"
    dir: Annotated[
        str, PRINTABLE, "TFDS data directory; empty: $TFDS_DATA_DIR, else ~/tensorflow_datasets"
    ] = ""
    stream_size: Annotated[
        int,
        Within(0, 2048, "0 (images held in memory) or a number of pixels"),
        "side of large images that are streamed from disk, 256 in the paper; 0: all in memory",
    ] = 0
    fallback: Annotated[
        Literal["none", "procedural"],
        "procedural: if the data cannot be had, say so and use the built-in set",
    ] = "none"
