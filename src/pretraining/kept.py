"""Stacks on disk: made once for each method, network, seed and settings, then read by every trial.

    ROOT/<stack>/stack.json     what the stack is made from, whose digest is in the folder's name,
                                and by: device, versions and commit
    ROOT/<stack>/<layer>.npz    the layer's parameters at the chosen learning rate, and images as it
                                gives them back
    ROOT/<stack>/<layer>.json   that rate, the measures of every rate, what made it, SHA-256 of the
                                .npz file
    ROOT/<stack>/metrics.csv    the measures of all layers and rates
    ROOT/<stack>/checkpoints/   checkpoints of the layer that is being trained

A stack of only the lower layers is the beginning of a longer one, and shares its folder. One that
leaves layers out does so too.
"""

import csv
import hashlib
import io
import json
import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from src.errors import Stopped
from src.pretraining.layers import Layer, layers_to_train
from src.pretraining.measures import Row
from src.pretraining.pictures import Learned, give_back
from src.pretraining.settings import LEARNING_RATES, Pretraining
from src.pretraining.source import Source
from src.pretraining.stack import LayerTrainer, best_rate, file_name, make_unit
from src.pretraining.transfer import LayerParams, transfer
from src.records import files, locks
from src.records.files import RecordError
from src.records.provenance import made_by
from src.records.trial import Identity

# Fields that say what is done with a finished stack; they do not change how it is made.
AFTERWARDS = ("control", "layers")
IN_RECORD = ("of", "layer", "below", "sha256")


@dataclass(frozen=True)
class Stack:
    """What was learned without labels.

    Attributes:
        name: Name of its folder.
        layers: Name of a layer -> its arrays: `kernel` [h, w, J, O]; an RBM has `bias` [O] and
            `visible_bias` [I] as well. `pictures` are what `give_back` returns, and the first layer
            holds the `images` that they reconstruct.
        learning_rates: Name of a layer -> the learning rate chosen for it.
        sha256: SHA-256 over the digests of all layers' .npz files.
    """

    name: str
    layers: dict[str, dict[str, np.ndarray]]
    learning_rates: dict[str, float]
    sha256: str


class Stacks:
    """The stacks of one network and method."""

    def __init__(
        self, root: Path, source: Source, settings: Pretraining, made_from: Mapping[str, Any]
    ):
        """Nothing is read or made yet.

        Args:
            root: Folder of all stacks.
            source: Network and images.
            settings: How a stack is made.
            made_from: All else that decides its numbers, as JSON: network, data, input.

        Raises:
            ConfigError: As `layers_to_train`.
        """
        self.root, self.source, self.settings = root, source, settings
        method = {k: v for k, v in asdict(settings).items() if k not in AFTERWARDS}
        self.made_from = files.json_safe({"pretraining": method, **made_from})
        self.layers = layers_to_train(source.model, source.images.shape[1:], settings)

    def get(
        self,
        seed: int,
        should_stop: Callable[[], bool] = lambda: False,
        on_point: Callable[[Row], None] = lambda row: None,
        on_wait: Callable[[str], None] = lambda line: None,
        on_complaint: Callable[[str], None] = lambda line: None,
    ) -> Stack:
        """The stack of a trial's seed; it is made if it does not exist yet.

        If another process is making it, this one waits for it.

        Args:
            seed: The trial's seed.
            should_stop: Asked before each layer, after every point and while it waits.
            on_point: Told of every point.
            on_wait: Told once, in a line, for whom it waits.
            on_complaint: Told in a line of every damaged checkpoint that was set aside.

        Raises:
            Stopped: If `should_stop` said so.
            RecordError: If one of its files is damaged.
            LabError: If a layer diverges at every learning rate.
        """
        rates = self._rates(seed, should_stop, on_point, on_wait, on_complaint)
        folder = self._folder(seed)
        files.make_folder(folder)
        with locks.locked(folder, math.inf, _patience(should_stop, on_wait)):
            _write_content(folder / "stack.json", self._content(seed))
            params = self.source.init(seed)
            learned: dict[str, dict[str, np.ndarray]] = {}
            chosen: dict[str, float] = {}
            digests: list[str] = []
            below: list[Learned] = []
            for number, layer in enumerate(self.layers):
                place, of = self._place(folder, number, digests)
                if not place.with_suffix(".json").exists():
                    if should_stop():
                        raise Stopped
                    trainer = LayerTrainer(self.source, self.settings, seed, layer, params)
                    ask = (of, should_stop, on_point, on_complaint)
                    best, record = _train(place, trainer, rates[layer.name], *ask)
                    pictures = self._pictures(params, [*below, Learned(layer, trainer.unit, best)])
                    _write(place, _arrays(best) | pictures, {**record, "below": digests})
                arrays, record = _read(place, of, digests)
                below.append(self._learned(layer, arrays, record))
                params = transfer(params, {layer.name: arrays}, "", seed)
                learned[layer.name], chosen[layer.name] = arrays, record["learning_rate"]
                digests.append(record["sha256"])
            _write_metrics(folder)
        return Stack(folder.name, learned, chosen, _sha256("".join(digests).encode()))

    def read(self, seed: int) -> Stack:
        """The stack of a trial's seed, of which nothing is made.

        Raises:
            RecordError: If a layer is missing or one of its files is damaged.
        """
        folder = self._folder(seed)
        learned: dict[str, dict[str, np.ndarray]] = {}
        chosen: dict[str, float] = {}
        digests: list[str] = []
        for number, layer in enumerate(self.layers):
            place, of = self._place(folder, number, digests)
            if not place.with_suffix(".json").exists():
                raise RecordError(f"{place}.json is not there; restore it from a copy")
            learned[layer.name], record = _read(place, of, digests)
            chosen[layer.name] = record["learning_rate"]
            digests.append(record["sha256"])
        return Stack(folder.name, learned, chosen, _sha256("".join(digests).encode()))

    def _place(self, folder: Path, number: int, below: list[str]) -> tuple[Path, Identity]:
        """Where a layer's files lie, without their ending, and whose they are."""
        place = folder / _place(number, [layer.name for layer in self.layers])
        return place, Identity("pretraining", folder.name, place.name, "".join(below))

    def _learned(self, layer: Layer, arrays: LayerParams, record: Mapping[str, Any]) -> Learned:
        """A pre-trained layer, rebuilt from the arrays and the record on disk."""
        unit = make_unit(self.settings, layer, self.source.activation, record["deviation"])
        params: dict[str, Any] = {k: arrays[k] for k in ("kernel", "bias") if k in arrays}
        if "visible_bias" in arrays:
            params["visible"] = {"bias": arrays["visible_bias"]}
        return Learned(layer, unit, params)

    def _pictures(self, network: PyTree, stack: list[Learned]) -> dict[str, Any]:
        """The arrays that a layer's file holds for the figures."""
        found = give_back(self.source, network, stack)
        if found is None:
            return {}
        images = {} if len(stack) > 1 else {"images": self.source.held_out[: len(found)]}
        return {"pictures": found, **images}

    def _rates(self, seed: int, *ask: Any) -> dict[str, tuple[float, ...]]:
        """The learning rates to try, by layer: the grid for `rate_seed`, its choice for others."""
        grid = self.settings.learning_rates or LEARNING_RATES[self.settings.method]
        if seed == self.settings.rate_seed or len(grid) == 1:
            return {layer.name: grid for layer in self.layers}
        chosen = self.get(self.settings.rate_seed, *ask).learning_rates
        return {name: (rate,) for name, rate in chosen.items()}

    def _content(self, seed: int) -> dict[str, Any]:
        """All that a seed's stack is made from."""
        return {**self.made_from, "seed": seed}

    def _folder(self, seed: int) -> Path:
        """The folder of a seed's stack, which is named after all that it is made from."""
        digest = _sha256(json.dumps(self._content(seed), sort_keys=True).encode())[:10]
        return self.root / f"{self.settings.method}-{self.source.activation}-s{seed}-{digest}"


def _write_content(path: Path, content: Mapping[str, Any]) -> None:
    """Writes what a stack is made from, before any layer, or checks that it is there."""
    if not path.exists():
        files.write_sealed(path, {**content, "made_by": made_by()})
    remedy = f"restore it from a copy, or move {path.parent} away, to pre-train again"
    there = files.json_safe(files.read_sealed(path, remedy))
    there.pop("made_by", None)  # Another process may have begun it; older stacks do not say.
    if there != content:
        raise RecordError(f"{path} is of another stack; {remedy}")


def _patience(
    should_stop: Callable[[], bool], on_wait: Callable[[str], None]
) -> Callable[[locks.InUseError], None]:
    """What is done again and again while another process makes a stack."""
    told = False

    def meanwhile(in_use: locks.InUseError) -> None:
        nonlocal told
        if should_stop():
            raise Stopped
        if not told:
            on_wait(f"waiting for a stack: {in_use}")
        told = True

    return meanwhile


def _write_metrics(folder: Path) -> None:
    """Writes a line per point of every layer, with floats that read back exactly.

    These are also of the layers of other stacks in the same folder: longer ones, or such that leave
    layers out. One that is damaged is refused where it is used.
    """
    rows: list[Row] = []
    for record in _places(folder):
        with suppress(RecordError):
            rows += files.read_sealed(record, "")["rows"]
    path, text = folder / "metrics.csv", io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if not path.exists() or files.read_text(path) != text.getvalue():
        files.write_atomic(path, text.getvalue())


def _train(
    place: Path,
    trainer: LayerTrainer,
    grid: tuple[float, ...],
    of: Identity,
    *ask: Callable[..., Any],
) -> tuple[PyTree, dict[str, Any]]:
    """Trains a layer at every rate of its grid: parameters at the best rate, and the record.

    `ask` is what `LayerTrainer.train` asks and tells.
    """
    folder = _checkpoints(place)
    found = {rate: trainer.train(rate, folder, of, *ask) for rate in grid}
    rate = best_rate([rows[-1] for _, rows in found.values()])
    return found[rate][0], {
        "of": asdict(of),
        "layer": trainer.layer.name,
        "learning_rate": rate,
        "deviation": trainer.deviation,
        "rows": [row for _, rows in found.values() for row in rows],
        "made_by": made_by(),
    }


def _write(place: Path, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Writes both files of a layer, the record last, and removes its checkpoints."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write_atomic(place.with_suffix(".npz"), content.getvalue())
    sha256 = _sha256(content.getvalue())
    files.write_sealed(place.with_suffix(".json"), {**record, "sha256": sha256})
    shutil.rmtree(_checkpoints(place), ignore_errors=True)


def _checkpoints(place: Path) -> Path:
    return place.parent / "checkpoints" / place.name


def _arrays(params: PyTree) -> dict[str, Any]:
    """A layer's parameters by their names in its .npz file."""
    visible = {"visible_bias": params["visible"]["bias"]} if "visible" in params else {}
    return {name: params[name] for name in ("kernel", "bias") if name in params} | visible


def read_layers(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Reads the arrays of each layer of a stack from its folder, first layer first.

    Args:
        folder: `ROOT/<stack>`. Of several stacks in it, which leave out layers, it is the first of
            the longest.

    Returns:
        Name of a layer -> its arrays, as in `Stack.layers`.

    Raises:
        RecordError: If a file is damaged, or there is none.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    digests: list[str] = []
    for path in _longest(folder):
        of = Identity("pretraining", folder.name, path.stem, "".join(digests))
        arrays, record = _read(path.with_suffix(""), of, digests)
        found[record["layer"]] = arrays
        digests.append(record["sha256"])
    if not found:
        raise RecordError(f"{folder} holds no layer of a stack")
    return found


def _places(folder: Path) -> list[Path]:
    """The records of all layers in a folder of stacks, lower ones first."""
    return sorted(folder.glob("[0-9][0-9]-*.json"))


def _longest(folder: Path) -> list[Path]:
    """The records of the longest stack in a folder, first layer first."""
    remedy = f"restore it from a copy, or move {folder} away, to pre-train again"
    records = {path: files.read_sealed(path, remedy) for path in _places(folder)}
    places = {record.get("sha256"): path for path, record in records.items()}
    below = [record.get("below", []) for record in records.values()]
    most = max(map(len, below), default=0)
    last = next(
        (path for path, them in zip(records, below, strict=True) if len(them) == most), None
    )
    if last is None:
        return []
    return [*(places.get(each, last) for each in records[last].get("below", [])), last]


def _read(
    place: Path, of: Identity, below: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A layer's arrays and its record.

    Raises:
        RecordError: If a file has changed, belongs to another stack, or was trained on top of other
            layers than those with the digests `below`.
    """
    remedy = f"restore it from a copy, or move {place.parent} away, to pre-train again"
    record = files.read_sealed(place.with_suffix(".json"), remedy)
    if missing := [name for name in IN_RECORD if name not in record]:
        raise RecordError(f"{place}.json is no record of a layer: no {missing[0]}; {remedy}")
    content = files.read_bytes(place.with_suffix(".npz"))
    if _sha256(content) != record["sha256"]:
        raise RecordError(f"{place.with_suffix('.npz')} is not as it was written; {remedy}")
    differing = of.differences(record["of"])
    if differing and record["below"] == below:
        raise RecordError(f"{place}.json is another stack's: {differing}; {remedy}")
    if record["below"] != below:
        raise RecordError(f"{place}.json was trained on other layers than those below; {remedy}")
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays), record


def _place(number: int, names: list[str]) -> str:
    """File name of a layer; it depends on the layers below, which may differ between stacks."""
    chain = _sha256("+".join(names[: number + 1]).encode())[:4]
    return f"{number:02d}-{file_name(names[number])}-{chain}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
