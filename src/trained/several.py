"""Networks that are tested together: none twice, each by its own name, all on the same images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from src.data import DataError
from src.errors import LabError
from src.trained.candidates import Candidate
from src.weights.tensors import WeightsError


def told_apart(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The networks; those of equal names are called by the folders that they lie in too.

    Raises:
        LabError: If a network is there twice, or two folders have one name as well.
    """
    _refuse_twice(candidates)
    often = Counter(each.name for each in candidates)
    named = [
        replace(each, name=f"{each.folder}/{each.name}") if often[each.name] > 1 else each
        for each in candidates
    ]
    name, count = Counter(each.name for each in named).most_common(1)[0]
    if count > 1:
        raise LabError(f"{count} networks are called {name}; give their folders different names")
    return named


def _refuse_twice(candidates: Sequence[Candidate]) -> None:
    """An average would count it twice, and be less apart from it than from the others."""
    seen: dict[str, str] = {}
    for each in candidates:
        if each.identity in seen:
            other = seen[each.identity]
            same = "" if other == each.name else f", which is {other},"
            raise LabError(f"{each.name}{same} is given twice; give each network once")
        seen[each.identity] = each.name


def check_alike(candidates: Sequence[Candidate]) -> None:
    """Refuses networks that cannot be averaged, or compared image by image.

    Raises:
        WeightsError: If their outputs differ.
        DataError: If they are tested on different data sets.
    """
    first = candidates[0]
    for other in candidates[1:]:
        if not np.array_equal(other.outputs, first.outputs):
            raise WeightsError(f"{other.name} and {first.name} have other outputs")
        if other.dataset.digest != first.dataset.digest:
            there, here = (f"{d.name} {d.digest[:12]}" for d in (other.dataset, first.dataset))
            raise DataError(
                f"{other.name} is tested on other images than the first: {there}, not {here};"
                " evaluate it alone: networks are tested together on one data set, which all read"
                " at one config.data.stream_size"
            )
