"""The folder of an evaluation: one for each set of networks, and never another one's."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from src.records import files
from src.trained.candidates import Candidate

RECORD, FEATURES = "evaluation.json", "features.npz"
NAMES = ("report.md", "report.html", FEATURES)  # These are written beside the record.
REMEDY = "choose another --out, or remove {out}"
LONGEST = 120  # Bytes of a name before its digest; file systems allow 255.


def default_folder(candidates: Sequence[Candidate]) -> Path:
    """`runs/evaluate/NAME`: readable, of bounded length, and for no other networks or data.

    Trials of one name in two studies differ in its digest alone.
    """
    first, dataset = candidates[0], candidates[0].dataset
    more = f"+{len(candidates) - 1}" if len(candidates) > 1 else ""
    words = f"{first.name}{more}-{dataset.name}".replace("/", "-").encode()[:LONGEST]
    told = "\n".join([dataset.digest, *sorted(each.identity for each in candidates)])
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return Path("runs/evaluate", f"{words.decode(errors='ignore')}-{digest}")


def check_folder(out: Path, candidates: Sequence[Candidate]) -> None:
    """Refuses a folder that cannot take the evaluation, before anything is measured.

    An evaluation of the same networks on the same data may be replaced.

    Raises:
        RecordError: If it cannot be written, or holds another evaluation or files of others.
    """
    files.refuse_unwritable(out)
    files.refuse_foreign(out, RECORD, NAMES)
    if os.path.lexists(out / RECORD):
        _refuse_other(out, candidates)


def refuse_less(
    out: Path, first: Candidate, most: int, views: Sequence[int], layer: str | None
) -> None:
    """Refuses to replace an evaluation by one of less, such as a quick look at a few images.

    Args:
        out: The folder, which has passed `check_folder`.
        first: The first network, whose features may be written.
        most: Number of images that are to be tested at most; 0: all.
        views: Numbers of views that are to be averaged.
        layer: The layer whose features are to be written; None: none are.

    Raises:
        RecordError: If the present one has more images, other views too, or features
            of another layer or network.
    """
    if not os.path.lexists(out / RECORD):
        return
    record = files.read_sealed(out / RECORD, REMEDY.format(out=out))
    seen = {int(number) for network in record["networks"] for number in network["errors"]}
    more = [f"{record['images']:,} images"] if record["images"] > first.count(most) else []
    more += [f"views {number}" for number in sorted(seen - set(views))]
    if kept := record.get("features"):
        older = first.identity if kept["network"] == first.name else ""  # These have names alone.
        same = (kept.get("identity", older), kept["layer"]) == (first.identity, layer)
        more += [] if same else [f"features of {kept['layer']} of {kept['network']}"]
    if more:
        raise files.RecordError(
            f"{out} holds an evaluation with {', '.join(more)}, which this one would replace by"
            f" less; {REMEDY.format(out=out)}"
        )


def _refuse_other(out: Path, candidates: Sequence[Candidate]) -> None:
    remedy = REMEDY.format(out=out)
    record = files.read_sealed(out / RECORD, remedy)
    networks = record.get("networks", [])
    there = sorted(network.get("identity", network["name"]) for network in networks)
    asked = [sorted(each.identity for each in candidates), sorted(each.name for each in candidates)]
    same_data = record.get("digest") == candidates[0].dataset.digest
    if there in asked and same_data:  # Older records have names alone.
        return
    more = f" and {len(networks) - 1} more" if len(networks) > 1 else ""
    what = f"{networks[0]['name']}{more}" if networks else "other networks"
    raise files.RecordError(
        f"{out} holds the evaluation of {what} on {record.get('dataset')}, and this one is of"
        f" other {'networks' if same_data else 'data'}; {remedy}"
    )
