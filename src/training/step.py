"""The training step, and the only file that knows of devices.

`train_steps` and `count_misses` are pure per-device functions: they see this device's share of
each batch and meet the other devices in `lax.pmean`/`lax.psum` over `AXIS`. `across_devices`
wraps either one in `jax.pmap` or in `jax.shard_map`; both place the same program on the same
devices.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from src.data.sources import Images, Pixels
from src.training import evaluation

AXIS = "devices"
Parallel = Literal["pmap", "shard_map"]
# A batch in training: (params, model_state, pixels [B, H, W, C] float, example keys [B]) -> logits
# [B, classes] and the new model_state; with auxiliary classifiers a tuple of logits, theirs last.
ApplyFn = Callable[..., Any]
IMAGES_IN_CACHE = 16  # at once, on a CPU; experiments/speed has the numbers
AUXILIARY_WEIGHT = 0.3  # Szegedy et al. (2015), section 5


class TrainState(NamedTuple):
    """All that one step hands to the next.

    Attributes:
        step: Optimizer updates done.
        params: What is trained.
        opt_state: Of the optimizer.
        model_state: What layers keep beside their parameters, by collection: the running means of
            BatchNorm. Empty for the networks of this project.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: optax.OptState
    model_state: PyTree = {}  # noqa: RUF012

    @property
    def variables(self) -> PyTree:
        """What the network is applied with."""
        return {"params": self.params, **self.model_state}


Batch = Int[Array, "*batch"] | Pixels


class StepErrors(NamedTuple):
    """One entry per step, over the global batch.

    Attributes:
        wrong: Misclassified images.
        loss: Mean over the images.
        seen: Images; fewer than the batch size where rows of -1 fill up a batch.
    """

    wrong: Int[Array, " steps"]
    loss: Float[Array, " steps"]
    seen: Int[Array, " steps"]


class PartErrors(NamedTuple):
    """Of a micro-batch: mean loss, or its sum where batches are ragged; misclassified; images."""

    loss: Float[Array, ""]
    wrong: Int[Array, ""]
    seen: Int[Array, ""]


# (params, model_state, pixels, labels, keys) -> what is minimized; and what is recorded, with the
# new model_state.
Objective = Callable[..., tuple[Array, tuple[PartErrors, PyTree]]]


def make_train_steps(
    apply_fn: ApplyFn,
    make_optimizer_fn: Callable[[Any], optax.GradientTransformation],
    augment_fn: Callable[[Array, Array, Array, Array], Array] | None = None,
    *,
    ragged: bool = False,
    shared: int = 1,
) -> Callable[..., tuple[TrainState, StepErrors]]:
    """`make_steps` of a classifier, the network `apply_fn`."""

    def classify(
        params: PyTree, model_state: PyTree, pixels: Array, labels: Array, keys: Array
    ) -> tuple[Array, tuple[PartErrors, PyTree]]:
        outputs, model_state = apply_fn(params, model_state, pixels, keys)
        total, (loss, logits) = losses(outputs, labels, ragged=ragged)
        wrong = jnp.argmax(logits, axis=-1) != labels
        seen = jnp.sum(labels >= 0) if ragged else jnp.int32(len(labels))
        missed = jnp.sum(wrong & (labels >= 0)) if ragged else jnp.sum(wrong)
        return total, (PartErrors(loss, missed, seen), model_state)

    return make_steps(classify, make_optimizer_fn, augment_fn, ragged=ragged, shared=shared)


def make_steps(
    objective: Objective,
    make_optimizer_fn: Callable[[Any], optax.GradientTransformation],
    augment_fn: Callable[[Array, Array, Array, Array], Array] | None = None,
    *,
    ragged: bool = False,
    shared: int = 1,
) -> Callable[..., tuple[TrainState, StepErrors]]:
    """Per-device function of many steps: (state, batches, learning_rate, key, data) -> (state,
    StepErrors).

    `batches` are this device's images of each step, [steps, 1, b], see `Batch`. Random
    numbers derive from the trial's key, the step and the image's place in the global batch, so
    they do not depend on the devices.

    Args:
        objective: What is minimized: its mean over the images, or with `ragged` its sum.
        make_optimizer_fn: From a learning rate to the optimizer.
        augment_fn: Acts on centred grey levels, see `augment`.
        ragged: Whether rows of -1 may fill up a batch: losses and gradients are then means over
            the images that are there.
        shared: So many consecutive images of the global batch share what `augment_fn` lets them.
    """

    def one_step(
        state: TrainState,
        batch: Batch,
        optimizer: optax.GradientTransformation,
        key: Array,
        data: Images,
    ) -> tuple[TrainState, StepErrors]:
        count = jax.tree.leaves(batch)[0].shape[0]
        step_key = jax.random.fold_in(key, state.step)
        keys = _example_keys(step_key, count)
        shared_keys = keys if shared == 1 else _example_keys(step_key, count, shared)

        def one_part(
            batch: Batch, keys: Array, shared_keys: Array
        ) -> tuple[PyTree, PartErrors, PyTree]:
            images, labels = _fetch(batch, data)
            centred = images.astype(jnp.float32) - data.shift
            if augment_fn is not None:
                centred = augment_fn(centred, keys, shared_keys, state.step)
            pixels = centred / data.scale

            def loss_fn(params: PyTree) -> tuple[Array, tuple[PartErrors, PyTree]]:
                return objective(params, state.model_state, pixels, labels, keys)

            found, grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
            _, (errors, model_state) = found
            return grads, errors, model_state

        # What a layer keeps is a statistic of the whole batch, so that is not taken in parts.
        parts = 1 if jax.tree.leaves(state.model_state) else _parts(count)
        grads, errors, model_state = _sum_over_parts(one_part, parts, batch, keys, shared_keys)
        wrong, seen = lax.psum((errors.wrong, errors.seen), AXIS)
        if ragged:
            grads, loss = jax.tree.map(lambda x: x / seen, lax.psum((grads, errors.loss), AXIS))
        else:
            means = jax.tree.map(lambda x: x / parts, (grads, errors.loss))
            grads, loss = lax.pmean(means, AXIS)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        model_state = lax.pmean(model_state, AXIS) if jax.tree.leaves(model_state) else model_state
        after = TrainState(state.step + 1, params, opt_state, model_state)
        return after, StepErrors(wrong, loss, seen)

    def train_steps(
        state: TrainState,
        batches: Batch,
        learning_rate: Float[Array, ""],
        key: Array,
        data: Images,
    ) -> tuple[TrainState, StepErrors]:
        optimizer = make_optimizer_fn(learning_rate)
        mine = jax.tree.map(lambda x: x.squeeze(1), batches)
        return lax.scan(lambda s, batch: one_step(s, batch, optimizer, key, data), state, mine)

    return train_steps


def _parts(images: int) -> int:
    """How many equal parts a device takes its share of a batch in, one after another.

    On a CPU each is small enough that what it leaves for the gradients stays in the caches.
    """
    if jax.default_backend() != "cpu":
        return 1
    most, least = IMAGES_IN_CACHE, IMAGES_IN_CACHE // 2
    sizes = [size for size in range(most, least - 1, -1) if images % size == 0]
    return images // sizes[0] if sizes else 1


def _sum_over_parts(fn: Callable[..., PyTree], parts: int, *arrays: PyTree) -> PyTree:
    """Sum of `fn` over `parts` equal parts of the leading axis of all `arrays`."""
    if parts == 1:
        return fn(*arrays)
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), arrays)
    shapes = jax.eval_shape(fn, *jax.tree.map(lambda x: x[0], split))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    add = lambda total, part: (jax.tree.map(jnp.add, total, fn(*part)), None)  # noqa: E731
    return lax.scan(add, zeros, split)[0]


def losses(
    outputs: Any, labels: Int[Array, " b"], *, ragged: bool = False
) -> tuple[Array, tuple[Array, Array]]:
    """What is minimized; and what is recorded, loss and logits of the main classifier.

    Args:
        outputs: Logits [b, classes], or a tuple with those of auxiliary classifiers after them.
        labels: -1 where there is no image.
        ragged: Whether to sum over the images that are there instead of averaging over all.
    """
    logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    loss, *others = [_cross_entropy(each, labels, ragged) for each in (logits, *auxiliary)]
    return loss + AUXILIARY_WEIGHT * sum(others), (loss, logits)


def _cross_entropy(logits: Array, labels: Array, ragged: bool) -> Array:
    if not ragged:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return jnp.sum(jnp.where(labels >= 0, each, 0.0))


def _fetch(batch: Batch, data: Images) -> tuple[Any, Any]:
    """Images and labels of a batch; a row of -1 has the label -1."""
    if isinstance(batch, Pixels):
        return batch.images, batch.labels
    return data.images[batch], jnp.where(batch >= 0, data.labels[batch], -1)


def _example_keys(key: Array, count: int, shared: int = 1) -> Array:
    """[b] keys by the images' places in the global batch, one for every `shared` of them."""
    places = (lax.axis_index(AXIS) * count + jnp.arange(count)) // shared * shared
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(places)


def make_count_misses(
    scores_fn: evaluation.LogitsFn,
) -> Callable[[PyTree, Batch, Images], Array]:
    """Per-device function: images that top 1 and top 5 miss, [2], parameters fixed, dropout off.

    `batches` [batches, 1, b] fill up the last one with images of label -1, which do not count.
    """

    def count_misses(variables: PyTree, batches: Batch, data: Images) -> Int[Array, "2"]:
        def one_part(batch: Batch) -> Int[Array, "2"]:
            images, labels = _fetch(batch, data)
            scores = scores_fn(variables, (images.astype(jnp.float32) - data.shift) / data.scale)
            missed = [evaluation.misses(scores, labels, k) for k in (1, evaluation.TOP)]
            return jnp.stack([jnp.sum(each & (labels >= 0)) for each in missed])

        def one_batch(total: Array, batch: Batch) -> tuple[Array, None]:
            parts = _parts(jax.tree.leaves(batch)[0].shape[0])
            return total + lax.psum(_sum_over_parts(one_part, parts, batch), AXIS), None

        mine = jax.tree.map(lambda x: x.squeeze(1), batches)
        return lax.scan(one_batch, jnp.zeros(2, jnp.int32), mine)[0]

    return count_misses


def across_devices(
    fn: Callable[..., Any],
    parallel: Parallel,
    arguments: int,
    *,
    donate_state: bool,
    devices: Sequence[jax.Device],
) -> Any:
    """`fn(state, batches, *rest)` over `devices`: batches [steps, devices, b] split by device, all
    else replicated.
    """
    donate = (0,) if donate_state else ()
    if parallel == "pmap":
        in_axes = (None, 1, *(None,) * (arguments - 2))
        keep = lambda state, batches, *rest: fn(  # noqa: E731
            state, jax.tree.map(lambda x: x[:, None], batches), *rest
        )
        return jax.pmap(
            keep, AXIS, in_axes=in_axes, out_axes=None, devices=devices, donate_argnums=donate
        )
    everywhere, split = PartitionSpec(), PartitionSpec(None, AXIS)
    in_specs = (everywhere, split, *(everywhere,) * (arguments - 2))
    mesh = Mesh(np.asarray(devices), (AXIS,))
    sharded = jax.shard_map(fn, mesh=mesh, in_specs=in_specs, out_specs=everywhere, check_vma=False)
    return jax.jit(sharded, donate_argnums=donate)


def replicate(tree: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Puts `tree` whole on every device, where the compiled step expects it: later steps then
    compile no more.

    With several hosts each puts its own copy on its own devices; these copies are the same.
    """
    everywhere = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(tree, everywhere)
    mine = [device for device in devices if device.process_index == jax.process_index()]

    def place(leaf: Any) -> Array:
        there = {s.device: s.data for s in getattr(leaf, "addressable_shards", ())}
        whole = next(iter(there.values()), leaf)
        copies = [there[d] if d in there else jax.device_put(whole, d) for d in mine]
        return jax.make_array_from_single_device_arrays(np.shape(leaf), everywhere, copies)

    return jax.tree.map(place, tree)


def split_batches(batches: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Global batches [steps, B, ...] as [steps, devices, b, ...], each device's share placed on it.

    With several hosts `batches` hold this host's share, and the result is of all hosts.
    """
    sharding = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec(None, AXIS))
    local = len(devices) // jax.process_count()

    def place(array: np.ndarray) -> Array:
        steps, batch, *rest = array.shape
        array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
        shaped = array.reshape(steps, local, batch // local, *rest)
        return jax.make_array_from_process_local_data(sharding, shaped)

    return jax.tree.map(place, batches)
