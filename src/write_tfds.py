"""Prepares your own images as a data set for studies, without TensorFlow.

    python -m src.write_tfds NAME FOLDER_OR_FILE [--data_dir=DIR]

FOLDER holds a folder of images (PNG, JPEG, BMP, GIF) for each class, named after it; or `train` and
`test` (else `validation`, `valid` or `val`), which hold such folders. An image of another kind, or
in no folder of a class, is refused. FILE is a .npz file with uint8 arrays train_images and
test_images and whole numbers train_labels and test_labels (or x_train ..., or images and labels);
an array class_names names the labels 0, 1, ... Then:

    python -m src.main --config=... --config.data.name=NAME [--config.data.dir=DIR]

Images of many sizes need --config.data.stream_size=SIDE; all are brought to that side, in pixels.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence

from src import doors


def main(arguments: Sequence[str]) -> int:
    """Writes the data set that the command line names."""
    from src.data import describe, own_images, tfds_folder  # noqa: PLC0415
    from src.paths import local_path  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="python -m src.write_tfds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="letters, digits and _, a letter first")
    parser.add_argument("source", metavar="FOLDER_OR_FILE")
    parser.add_argument("--data_dir", default="", help="default: as for studies, config.data.dir")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument(
        "--test_fraction", type=float, default=0.2, help="share to test on if there is no test set"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the order and the test split")
    given = parser.parse_args(arguments)
    if not re.fullmatch(r"[A-Za-z]\w*", given.name, re.ASCII) or given.name in tfds_folder.BUILT_IN:
        return doors.refuse(
            f"NAME = {given.name!r} should be letters, digits and _, a letter first, and none of"
            f" {', '.join(tfds_folder.BUILT_IN)}"
        )
    if not tfds_folder.VERSION.fullmatch(given.version):
        return doors.refuse(
            f"--version={given.version} must be three numbers without zeros before them, such as"
            " 1.0.0"
        )
    if not 0 < given.test_fraction < 1:
        return doors.refuse(f"--test_fraction={given.test_fraction} must lie between 0 and 1")
    source = local_path(given.source, "FOLDER_OR_FILE", "folder or file")
    data_dir = tfds_folder.default_data_dir(given.data_dir, "--data_dir")
    target = own_images.write_own(
        given.name, given.version, source, data_dir, given.test_fraction, given.seed % 2**32
    )
    found = describe.describe(target)  # A study will read it in the same way.
    sizes = f"{sum(found.train.sizes)} images to train on, {sum(found.test.sizes)} to test on"
    used = tfds_folder.find_prepared(tfds_folder.Name(given.name, None), data_dir)
    hidden = used is not None and used.folder != target  # A higher version is there.
    flags = [f"--config.data.name={given.name}" + (f":{given.version}" if hidden else "")]
    flags += [f"--config.data.dir={given.data_dir}"] if given.data_dir else []
    print(f"{target}: {sizes}, {found.num_classes} classes; {shlex.join(flags)}")
    if used is not None and hidden:
        print(f"note: {given.name} without a version is {used.folder.name}, the highest there")
    return 0


if __name__ == "__main__":
    sys.exit(doors.run(main, sys.argv[1:]))
