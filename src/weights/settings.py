"""Settings that say where a trial's first weights come from."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class StartFrom:
    """Weights that a trial begins with instead of those of its seed."""

    path: Annotated[
        str, "file of weights, or folder of a finished trial; empty: the seed's random weights"
    ] = ""
    layers: Annotated[tuple[str, ...], "layers taken from there; empty: all but the last"] = ()
    layout: Annotated[str, "the file's network, where it does not tell (caffenet)"] = ""
