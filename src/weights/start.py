"""Starts a trial from weights of a file or of a finished trial, instead of those of its seed.

So did those of the paper's nets that were trained on another ImageNet first (section 6): layers are
taken over, but for the last one, which has other classes and begins anew.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from src.models import model_options
from src.models.options import decided
from src.models.params import Calls
from src.models.registry import get_network
from src.paths import local_path
from src.records.study import is_study
from src.training.finished import read_kept
from src.training.program import Program
from src.training.settings import Trial, TrialSettings
from src.training.step import TrainState
from src.weights.layouts import GUESSED, Imported, find_layout, import_weights
from src.weights.read import read_weights
from src.weights.settings import StartFrom
from src.weights.tensors import WeightsError, read_bytes

# Options that change what weights mean without changing their shapes.
PLACE = ("config.start_from.path", "file or folder")  # What leads to the weights.
MEANINGS = ("lrn", "border", "pooling", "dropout_scale", "linear")
OF_NORMALIZATION = (
    "order",
    "lrn_per_tower",
    "within_map",
)  # Without `lrn` they change little or nothing.


class Origin(NamedTuple):
    """Weights to start from.

    Attributes:
        variables: Collection -> layer -> its values, in our order of axes: `params`, and what
            layers keep beside them, such as running means.
        sha256: SHA-256 of the file, or of the checkpoint's parameters.
        meaning: What they mean in the network that they were trained in, see `meaning_of`.
        input: The input that they were trained on, as `recipe.input` names it.
        guessed: Whether the file does not say if it is AlexNet or CaffeNet, and is taken for the
            former.
    """

    variables: PyTree
    sha256: str
    meaning: Mapping[str, Any]
    input: str
    guessed: bool = False


class Started(NamedTuple):
    """The variables of a network that starts from others.

    Attributes:
        variables: All of them, as in `Origin`.
        taken: Names of the layers that were taken over.
    """

    variables: PyTree
    taken: tuple[str, ...]


def begin(program: Program, trial: Trial) -> tuple[TrainState, dict[str, str], list[str]]:
    """A trial's state before its first step, with the weights that its settings name.

    Returns:
        The state; columns of the trial's row, none if it begins with its seed's weights; and
        remarks to print.

    Raises:
        WeightsError: If the weights cannot be read or do not fit.
        RecordError: If they belong to a trial that is not finished or not sound.
    """
    state, start = program.start(trial.seed), trial.settings.start_from
    if not start.path:
        return state, {}, []
    origin = read_origin(start)
    last = "" if start.layers else last_layer(program.model, program.input_shape)
    found = take(state.variables, origin.variables, start.layers, last, start.path)
    kept = {name: layers for name, layers in found.variables.items() if name != "params"}
    state = state._replace(params=found.variables["params"], model_state=kept)
    meaning = _meaning_in(trial.settings)
    columns = {"start_layers": "+".join(found.taken), "start_sha256": origin.sha256}
    said = remarks(origin, meaning, trial.settings.recipe.input)
    return state, columns, said


def check(settings: Iterable[TrialSettings], shape: tuple[int, int, int], num_classes: int) -> None:
    """Refuses first weights that do not fit their network, before anything is trained.

    Args:
        settings: The settings of each arm of a study.
        shape: Height, width and channels of the data set's images.
        num_classes: Number of classes in the data set.

    Raises:
        WeightsError: If weights cannot be read or do not fit.
        RecordError: If they belong to a trial that is not finished or not sound.
    """
    asked = {
        (each.start_from, each.model, each.recipe.init, each.augment.taken(shape))
        for each in settings
    }
    origins = {start: read_origin(start) for start, *_ in asked if start.path}
    for start, model, init, taken in asked:
        if start.path:
            made = model.make(init, num_classes)
            variables = jax.eval_shape(made.init, jax.random.key(0), jnp.zeros((1, *taken)))
            last = "" if start.layers else last_layer(made, taken)
            take(variables, origins[start].variables, start.layers, last, start.path)


def read_origin(start: StartFrom) -> Origin:
    """Reads the weights that a trial is to start from.

    Raises:
        WeightsError: If the file cannot be read or holds no known network.
        RecordError: If the trial is not finished, or its checkpoint is not sound.
    """
    path = local_path(start.path, *PLACE)
    if is_study(path) or not path.exists():
        what = "that is a study" if path.exists() else "there is no such folder or file"
        raise WeightsError(
            f"config.start_from.path = {start.path!r}: {what}; give the folder of a trial,"
            " STUDY/trials/TRIAL, or a file of weights"
        )
    if path.is_dir():
        if start.layout:
            raise WeightsError(
                f"config.start_from.layout = {start.layout!r} is for files of weights, and"
                f" config.start_from.path = {start.path!r} is a trial; leave layout out"
            )
        settings, state, *_ = read_kept(path, finished=True)
        meaning, given = _meaning_in(settings), settings.recipe.input
        return Origin(state.variables, _digest(state.params), meaning, given)
    imported = import_weights(
        read_weights(path), find_layout(start.layout) if start.layout else None
    )
    sha256 = hashlib.sha256(read_bytes(path)).hexdigest()
    made = imported.make_model()
    options = _options(imported.layout.model, dict(imported.layout.options))
    meaning = meaning_of(options, made.activation, made.init_scheme)
    params = {"params": imported.params}
    return Origin(params, sha256, meaning, _input(imported), imported.guessed)


def take(ours: PyTree, origin: PyTree, layers: tuple[str, ...], last: str, path: str) -> Started:
    """Replaces layers of a network by those of other weights, with all that they keep.

    Args:
        ours: The network's variables as the seed makes them, as in `Origin`.
        origin: The variables to take.
        layers: Names of the layers to take; empty: all that both have, but for the last.
        last: Name of the network's last layer, which matters only where `layers` is empty.
        path: Where the weights come from, for messages.

    Raises:
        WeightsError: If a layer is missing, or has other shapes.
    """
    theirs, known = _names(origin), _names(ours)
    chosen = layers or tuple(name for name in known if name in theirs and name != last)
    if not chosen and last in theirs:
        raise WeightsError(
            f"{path} shares one layer with the network, {last}, which is or holds the last one and"
            f" begins anew unless it is named; config.start_from.layers = {(last,)} takes it whole"
        )
    if not chosen:
        raise WeightsError(
            f"{path} shares no layer with the network: it has {', '.join(theirs)},"
            f" the network {', '.join(known)}"
        )
    for name in chosen:
        for where, names in ((f"in {path}", theirs), ("in the network", known)):
            if name not in names:
                raise WeightsError(
                    f"config.start_from.layers: no layer {name!r} {where}; there are"
                    f" {', '.join(names)}"
                )
        for collection in {**ours, **origin}:
            mine, other = (tree.get(collection, {}).get(name, {}) for tree in (ours, origin))
            _check_shapes(name, mine, other, path, layers)
    found = {
        collection: {
            name: jax.tree.map(jnp.asarray, origin[collection][name]) if name in chosen else values
            for name, values in layers.items()
        }
        for collection, layers in ours.items()
    }
    return Started(found, tuple(chosen))


def _names(variables: PyTree) -> list[str]:
    """The layers of a network, whatever they keep."""
    return list(dict.fromkeys(name for layers in variables.values() for name in layers))


def last_layer(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """The layer that a network calls last, for images of that shape; "" if it has none.

    Where the network itself is the last one, it is its parameter.
    """
    calls = Calls()
    with nn.intercept_methods(calls):  # A new function, since JAX would not call a known one again.
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *shape))))
    path, weights = calls.layers[-1] if calls.layers else ("", "")
    return path.split("/")[0] or weights


def meaning_of(options: Mapping[str, Any], activation: str, init: str) -> dict[str, Any]:
    """What a network's weights mean beside their shapes: its activation, and options by name.

    Args:
        options: Option of the network -> its value.
        activation: Name of the function behind its hidden layers.
        init: Name of the scheme by which its weights begin.
    """
    names = MEANINGS if options.get("lrn") == "none" else (*MEANINGS, *OF_NORMALIZATION)
    found = {"activation": activation, **{n: options[n] for n in names if n in options}}
    if "dropout_scale" in found:
        found["dropout_scale"] = decided("dropout_scale", found["dropout_scale"], init)
        if found["dropout_scale"] == "testing" and "dropout" in options:
            found["dropout"] = options["dropout"]  # Activities are multiplied by 1 - dropout.
    if not options.get("hidden", 1):
        found.pop("linear", None)  # It says what is behind the hidden layer.
    return found


def _options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All that a network's name and its options say of it."""
    return {**get_network(name).fixed, **model_options(name), **options}


def remarks(origin: Origin, meaning: Mapping[str, Any], given: str) -> list[str]:
    """Remarks about differences from the network that the weights were trained in.

    Args:
        origin: The weights.
        meaning: What weights mean in this network, see `meaning_of`.
        given: Its input, as `recipe.input` names it.
    """
    found = [
        f"start_from: the weights were trained with {name} = {value},"
        f" this network has {meaning[name]}"
        for name, value in origin.meaning.items()
        if name in meaning and meaning[name] != value and not (origin.guessed and name == "order")
    ]
    if origin.guessed and "order" in meaning:
        found.append(f"start_from: {GUESSED}; if it is CaffeNet, config.start_from.layout=caffenet")
    if origin.input != given:
        found.append(
            f"start_from: the weights were trained on {origin.input} images, this network is given"
            f" {given} ones"
        )
    return found


def _meaning_in(settings: TrialSettings) -> dict[str, Any]:
    model = settings.model
    options = _options(model.name, dict(model.options))
    return meaning_of(options, model.activation, settings.recipe.init)


def _check_shapes(
    name: str, ours: PyTree, theirs: PyTree, path: str, layers: tuple[str, ...]
) -> None:
    wanted, found = (
        {jax.tree_util.keystr(k, simple=True, separator="/"): np.shape(v) for k, v in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (ours, theirs))
    )
    if wanted != found:
        without = f"leave {name} out of config.start_from.layers"
        if not layers:
            without = f"list the layers to take, without {name}, in config.start_from.layers"
        differs = next(k for k in {**wanted, **found} if wanted.get(k) != found.get(k))
        raise WeightsError(
            f"{name}/{differs} in {path} is {found.get(differs, 'not there')}, the network's is"
            f" {wanted.get(differs, 'not there')}; {without}, or give the network that layer's"
            " shape"
        )


def _input(imported: Imported) -> str:
    about = imported.layout.input
    return "centered" if set(about.deviation) == {1.0} else "standardized"


def _digest(params: PyTree) -> str:
    """SHA-256 over all parameters, by the names of their layers."""
    sums = hashlib.sha256()
    for path, value in sorted(jax.tree_util.tree_leaves_with_path(params), key=lambda x: str(x[0])):
        sums.update(str(path).encode())
        sums.update(np.ascontiguousarray(value).tobytes())
    return sums.hexdigest()
