"""Matches the outputs of a published network with the classes of a data set.

A wrong order of classes gives an error of 99.9% and no other sign, so an unknown order is refused.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from src.data.cifar10.facts import CLASSES
from src.weights.layouts import Imported
from src.weights.tensors import WeightsError

WNID = re.compile(r"n\d{8}")  # WordNet's name of a class of ImageNet
# The places of imagenette's classes among the 1,000 of ILSVRC, whose wnids are sorted.
IMAGENETTE = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}


def outputs_of_classes(
    imported: Imported, dataset: str, names: Sequence[str]
) -> Int[np.ndarray, " classes"]:
    """The output of each class of a data set.

    Args:
        imported: The network.
        dataset: Name of the data set, for the message.
        names: Names of the data set's classes, in the order of its labels.

    Raises:
        WeightsError: If the network has classes of its own, or the data set is not known to have
            the network's.
    """
    wanted = {"cifar10": len(CLASSES), "imagenet": 1000}[imported.layout.classes]
    if imported.num_classes != wanted:
        raise WeightsError(
            f"{imported.path} has {imported.num_classes} outputs, and nobody says what they are;"
            " start a training from it instead"
        )
    if imported.layout.classes == "cifar10" and tuple(names) == CLASSES:
        return np.arange(len(CLASSES))
    if imported.layout.classes == "imagenet":
        if len(names) == wanted and list(names) == sorted(set(names)) and all(map(_wnid, names)):
            return np.arange(wanted)
        if names and set(names) <= IMAGENETTE.keys():
            return np.array([IMAGENETTE[name] for name in names])
    raise WeightsError(
        f"the order of {dataset}'s classes ({', '.join(list(names)[:3]) or 'unnamed'}, ...) is not"
        f" that of {imported.path} ({imported.layout.classes}): its outputs would mean nothing"
    )


def _wnid(name: str) -> bool:
    return WNID.fullmatch(name) is not None
