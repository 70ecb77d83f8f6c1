"""The training step, and the only file that places work on devices.

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

from src.data.augment import AugmentFn
from src.data.sources import DeviceSplit, ImageBatch
from src.training import evaluation
from src.training.microbatches import num_microbatches, sum_over_microbatches
from src.training.objective import ApplyFn, MicrobatchErrors, Objective, make_classification

AXIS = "devices"
Parallel = Literal["pmap", "shard_map"]
# This device's images of a step: their rows in a `DeviceSplit`, or the images themselves.
Batch = Int[Array, "*batch"] | ImageBatch
# Learning rate -> optimizer.
MakeOptimizerFn = Callable[[Any], optax.GradientTransformation]


class TrainState(NamedTuple):
    """All that one step hands to the next.

    Attributes:
        step: Optimizer updates done.
        params: The network's parameters.
        opt_state: State of the optimizer.
        model_state: What layers keep beside their parameters, by collection, such as the running
            means of BatchNorm; numbers with a fraction are averaged over devices. It is empty for
            the networks of this project.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: optax.OptState
    model_state: PyTree = {}  # noqa: RUF012

    @property
    def variables(self) -> PyTree:
        """What the network is applied with."""
        return {"params": self.params, **self.model_state}


class StepErrors(NamedTuple):
    """One entry per step, over the global batch.

    Attributes:
        wrong: Number of misclassified images.
        loss: Mean loss of the images.
        seen: Number of images; below the batch size where copies fill up a batch.
    """

    wrong: Int[Array, " steps"]
    loss: Float[Array, " steps"]
    seen: Int[Array, " steps"]


def connect() -> None:
    """Sums over all devices of all processes, so that they are connected before they are busy.

    Gloo, which connects CPUs, waits half a minute for processes that come later, as one does that
    compiles for longer than the others.
    """
    ones = np.ones(jax.local_device_count(), np.float32)
    jax.block_until_ready(jax.pmap(lambda x: lax.psum(x, AXIS), axis_name=AXIS)(ones))


def make_train_steps(
    apply_fn: ApplyFn,
    make_optimizer_fn: MakeOptimizerFn,
    augment_fn: AugmentFn | None = None,
    *,
    ragged: bool = False,
    shared: int = 1,
) -> Callable[..., tuple[TrainState, StepErrors]]:
    """`make_steps` of a classifier, the network `apply_fn`."""
    classification = make_classification(apply_fn, ragged=ragged)
    return make_steps(classification, make_optimizer_fn, augment_fn, ragged=ragged, shared=shared)


def make_steps(
    objective: Objective,
    make_optimizer_fn: MakeOptimizerFn,
    augment_fn: AugmentFn | None = None,
    *,
    ragged: bool = False,
    shared: int = 1,
) -> Callable[..., tuple[TrainState, StepErrors]]:
    """Per-device function of many steps: (state, batches, learning_rate, key, data) -> (state,
    StepErrors).

    `batches` are this device's images of each step, [steps, 1, b], see `Batch`. Random
    numbers derive from the trial's key, the step and the image's place in the global batch, so
    they do not depend on the number of devices.

    Args:
        objective: What is minimized; it returns a mean over images or, with `ragged`, a sum.
        make_optimizer_fn: Learning rate -> optimizer.
        augment_fn: Acts on centred grey levels, see `augment`; None: nothing is augmented.
        ragged: Whether copies may fill up a batch: losses and gradients are then means over
            the other rows.
        shared: Number of consecutive images of the global batch that `augment_fn` may treat alike.
    """
    gradients_fn = _make_gradients_fn(objective, augment_fn, shared)

    def one_step(
        state: TrainState,
        batch: Batch,
        optimizer: optax.GradientTransformation,
        key: Array,
        data: DeviceSplit,
    ) -> tuple[TrainState, StepErrors]:
        count, (grads, errors, model_state) = gradients_fn(state, batch, key, data)
        wrong, seen = lax.psum((errors.wrong, errors.seen), AXIS)
        grads, loss = _mean_over_batch((grads, errors.loss), count, seen, ragged=ragged)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        model_state = jax.tree.map(_mean_over_devices, model_state)
        after = TrainState(state.step + 1, params, opt_state, model_state)
        return after, StepErrors(wrong, loss, seen)

    def train_steps(
        state: TrainState,
        batches: Batch,
        learning_rate: Float[Array, ""],
        key: Array,
        data: DeviceSplit,
    ) -> tuple[TrainState, StepErrors]:
        optimizer = make_optimizer_fn(learning_rate)
        mine = jax.tree.map(lambda x: x.squeeze(1), batches)
        return lax.scan(lambda s, batch: one_step(s, batch, optimizer, key, data), state, mine)

    return train_steps


def _mean_over_devices(kept: Array) -> Array:
    """Whole numbers and keys, such as a count of steps, are taken to be the same everywhere."""
    return lax.pmean(kept, AXIS) if jnp.issubdtype(kept.dtype, jnp.inexact) else kept


def _mean_over_batch(sums: PyTree, count: int, seen: Int[Array, ""], *, ragged: bool) -> PyTree:
    """Means over the images of the global batch.

    Args:
        sums: This device's sums over `count` micro-batches, of their means or, with `ragged`, of
            their sums.
        count: Number of micro-batches.
        seen: Number of images in the global batch.
        ragged: Whether batches may have fewer images than others.
    """
    if ragged:
        return jax.tree.map(lambda x: x / seen, lax.psum(sums, AXIS))
    return lax.pmean(jax.tree.map(lambda x: x / count, sums), AXIS)


def trials_together(
    train_steps: Callable[..., tuple[TrainState, StepErrors]],
) -> Callable[..., tuple[tuple[TrainState, ...], tuple[StepErrors, ...]]]:
    """The same steps for several trials at once, which may differ in state, images, rate and key.

    States come and go as tuples, one entry per trial, and each trial is as if it were alone. Rates
    and keys have a leading axis of trials, batches [steps, 1, b, trials] have it last. Meant for
    accelerators: on a CPU the trials' convolutions become grouped ones, which are slow there.
    """
    all_steps = jax.vmap(train_steps, in_axes=(0, 3, 0, 0, None))

    def steps_together(
        states: tuple[TrainState, ...], batches: Batch, rates: Array, keys: Array, data: DeviceSplit
    ) -> tuple[tuple[TrainState, ...], tuple[StepErrors, ...]]:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        after, errors = all_steps(stacked, batches, rates, keys, data)
        each = [jax.tree.map(lambda x, i=i: x[i], (after, errors)) for i in range(len(states))]
        return tuple(state for state, _ in each), tuple(error for _, error in each)

    return steps_together


def _make_gradients_fn(
    objective: Objective, augment_fn: AugmentFn | None, shared: int
) -> Callable[..., tuple[int, tuple[PyTree, MicrobatchErrors, PyTree]]]:
    """(state, batch, key, data) -> (number of micro-batches, their sums).

    The sums are those of gradients and of errors; the new model_state follows them.
    """

    def gradients(
        state: TrainState, batch: Batch, key: Array, data: DeviceSplit
    ) -> tuple[int, tuple[PyTree, MicrobatchErrors, PyTree]]:
        num_images = jax.tree.leaves(batch)[0].shape[0]
        step_key = jax.random.fold_in(key, state.step)
        keys = _example_keys(step_key, num_images)
        shared_keys = keys if shared == 1 else _example_keys(step_key, num_images, shared)

        def of_microbatch(
            batch: Batch, keys: Array, shared_keys: Array
        ) -> tuple[PyTree, MicrobatchErrors, PyTree]:
            images, labels = _fetch(batch, data)
            centred = images.astype(jnp.float32) - data.shift
            if augment_fn is not None:
                centred = augment_fn(centred, keys, shared_keys, state.step)
            pixels = centred / data.scale

            def loss_fn(params: PyTree) -> tuple[Array, tuple[MicrobatchErrors, PyTree]]:
                return objective(params, state.model_state, pixels, labels, keys)

            found, grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
            _, (errors, model_state) = found
            return grads, errors, model_state

        # BatchNorm and its like need statistics of the whole batch, so it is not split.
        count = 1 if jax.tree.leaves(state.model_state) else num_microbatches(num_images)
        return count, sum_over_microbatches(of_microbatch, count, batch, keys, shared_keys)

    return gradients


def _fetch(batch: Batch, data: DeviceSplit) -> tuple[Any, Any]:
    """Images and labels of a batch; a copy, a row of ~r, has the label -1."""
    if isinstance(batch, ImageBatch):
        return batch.images, batch.labels
    rows = jnp.where(batch < 0, ~batch, batch)
    return data.images[rows], jnp.where(batch < 0, -1, data.labels[rows])


def _example_keys(key: Array, count: int, shared: int = 1) -> Array:
    """[b] keys by the images' places in the global batch; each `shared` in a row have one key."""
    places = (lax.axis_index(AXIS) * count + jnp.arange(count)) // shared * shared
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(places)


def make_count_misses(
    scores_fn: evaluation.LogitsFn,
) -> Callable[[PyTree, Batch, DeviceSplit], Array]:
    """Per-device function: [2] numbers of images that top 1 and top 5 miss in `batches`.

    Parameters are fixed, dropout is off. Of `batches` [batches, 1, b] the last one may be filled up
    with images of label -1, which are not counted.

    Args:
        scores_fn: Variables and images -> scores [B, classes], see `evaluation.make_scores`.
    """

    def count_misses(variables: PyTree, batches: Batch, data: DeviceSplit) -> Int[Array, "2"]:
        def in_microbatch(batch: Batch) -> Int[Array, "2"]:
            images, labels = _fetch(batch, data)
            scores = scores_fn(variables, (images.astype(jnp.float32) - data.shift) / data.scale)
            missed = [evaluation.misses(scores, labels, k) for k in (1, evaluation.TOP)]
            return jnp.stack([jnp.sum(each & (labels >= 0)) for each in missed])

        def one_batch(total: Array, batch: Batch) -> tuple[Array, None]:
            count = num_microbatches(jax.tree.leaves(batch)[0].shape[0])
            missed = sum_over_microbatches(in_microbatch, count, batch)
            return total + lax.psum(missed, AXIS), None

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
    """Compiles a per-device function for several devices.

    Args:
        fn: (state, batches, *rest) -> results, which must be the same on every device.
        parallel: Whether `jax.pmap` or `jax.shard_map` wraps it.
        arguments: Number of arguments of `fn`.
        donate_state: Whether the memory of `state` may be used for the results.
        devices: In the order of the shares of a batch.

    Returns:
        The same function of batches [steps, devices, b], which are split by device; all other
        arguments are replicated.
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
    """Puts `tree` whole on every device, as the compiled step expects it.

    Otherwise the second step would compile again. With several hosts each puts its own copy on its
    own devices; the copies are the same.
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
    """Global batches [steps, B, ...] as [steps, devices, b, ...], each share on its device.

    With several hosts `batches` hold this host's share, and the result spans all hosts.
    """
    sharding = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec(None, AXIS))
    local = len(devices) // jax.process_count()

    def place(array: np.ndarray) -> Array:
        steps, batch, *rest = array.shape
        array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
        shaped = array.reshape(steps, local, batch // local, *rest)
        return jax.make_array_from_process_local_data(sharding, shaped)

    return jax.tree.map(place, batches)
