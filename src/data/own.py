"""A data set that a config file makes itself, named by where its function is: `configs.mine.load`.

    from src.data import Dataset, Split, make_dataset

    def load() -> Dataset:
        train = Split(images, labels)  # uint8 [N, H, W, C], int32 [N] from 0
        return make_dataset("mine", train, test, num_classes=10, label_names=("cat", ...))

Names are all that processes and records exchange: each process calls the function again, and it
must give the same images each time.
"""

import inspect
import re

from src import own
from src.data.dataset import DataError, Dataset, check_dataset, make_dataset
from src.errors import one_line

HINT = "the function `load` of configs/NAME.py is named configs.NAME.load"


def load_own(name: str) -> Dataset:
    """Calls the function and checks its data set, which has the function's name in records.

    Raises:
        DataError: If there is no such function, it fails, or returns something else.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){2,}", name):
        raise DataError(f"the data set {name!r} does not name a function; {HINT}")
    try:
        found = own.find(name)
    except ValueError as error:
        raise DataError(f"the data set {name!r} cannot be found: {error}") from error
    if not inspect.isfunction(found) or _needs_arguments(found):
        raise DataError(f"the data set {name!r} is not a function without arguments; {HINT}")
    try:
        dataset = found()
    except (Exception, SystemExit) as error:  # The user's code may raise anything.
        raise DataError(f"{name}() failed: {_said(error)}") from error
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"{name}() returned a {type(dataset).__name__}, not a Dataset; see make_dataset in"
            " src/data/dataset.py"
        )
    _, train, test, num_classes, label_names, _ = dataset
    try:
        again = make_dataset(name, train, test, num_classes, label_names)
        return check_dataset(again, f"{name}()")
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{name}() returned a Dataset of other things than arrays ({_said(error)}); see"
            " Split in src/data/dataset.py"
        ) from error


def _needs_arguments(function: object) -> bool:
    try:
        inspect.signature(function).bind()  # type: ignore[arg-type]
    except TypeError:
        return True
    return False


def _said(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")
